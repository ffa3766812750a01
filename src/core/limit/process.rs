//! Limits of the whole process that can be changed at run time, as values. Who enforces them is the workers' business.

/// Limits of the process. HAProxy: `global.maxconn`, `maxconnrate`, `maxsessrate`, `maxsslrate`, `maxcomprate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessLimits {
    /// Client connections at once (`Maxconn`).
    pub maxconn: u32,
    /// The highest `maxconn` may be set to: what it was at the start (`Hard_maxconn`).
    pub maxconn_highest: u32,
    /// Connections accepted per second, 0 for any number (`ConnRateLimit`).
    pub connection_rate: u32,
    /// Sessions begun per second, 0 for any number (`SessRateLimit`).
    pub session_rate: u32,
    /// TLS handshakes begun per second, 0 for any number (`SslRateLimit`).
    pub tls_rate: u32,
    /// Bytes per second given to compression, 0 for any number (`CompressBpsRateLim`).
    pub compression_rate: u32,
}

/// Which limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProcessLimit {
    /// [`ProcessLimits::maxconn`]
    Maxconn,
    /// [`ProcessLimits::connection_rate`]
    ConnectionRate,
    /// [`ProcessLimits::session_rate`]
    SessionRate,
    /// [`ProcessLimits::tls_rate`]
    TlsRate,
    /// [`ProcessLimits::compression_rate`]
    CompressionRate,
}

/// A value that a limit cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Value out of range.")]
pub struct OutOfRange;

impl ProcessLimits {
    /// Sets one limit and returns what it is now. `maxconn` 0 is its start value, and it cannot go beyond that: what
    /// depends on it was made at the start.
    pub fn set(&mut self, limit: ProcessLimit, to: u32) -> Result<u32, OutOfRange> {
        let place = match limit {
            ProcessLimit::Maxconn if to > self.maxconn_highest => return Err(OutOfRange),
            ProcessLimit::Maxconn => {
                self.maxconn = if to == 0 { self.maxconn_highest } else { to };
                return Ok(self.maxconn);
            }
            ProcessLimit::ConnectionRate => &mut self.connection_rate,
            ProcessLimit::SessionRate => &mut self.session_rate,
            ProcessLimit::TlsRate => &mut self.tls_rate,
            ProcessLimit::CompressionRate => &mut self.compression_rate,
        };
        *place = to;
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxconn_has_a_top_and_a_way_back() {
        let mut limits = ProcessLimits { maxconn: 100, maxconn_highest: 100, ..ProcessLimits::default() };
        for (to, expected) in [(10, Ok(10)), (101, Err(OutOfRange)), (100, Ok(100)), (1, Ok(1)), (0, Ok(100))] {
            assert_eq!(limits.set(ProcessLimit::Maxconn, to), expected, "{to}");
        }
        assert_eq!(limits.maxconn, 100);
        assert_eq!(limits.set(ProcessLimit::TlsRate, 7), Ok(7));
        assert_eq!((limits.tls_rate, limits.session_rate), (7, 0));
    }
}
