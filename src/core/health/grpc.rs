//! gRPC's health service as bytes: the one message that asks and the one that answers.
//!
//! `grpc.health.v1.Health/Check` of the gRPC health checking protocol. Both messages have one field, so protocol buffers
//! are written and read by hand here. The call itself is `crate::health`'s.

/// Longest answer that is looked at; the one that is due has two bytes.
pub const ANSWER_MAX_BYTES: usize = 4096;

/// What the health service says of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// `UNKNOWN`
    Unknown,
    /// `SERVING`: the only one that passes.
    Serving,
    /// `NOT_SERVING`
    NotServing,
    /// `SERVICE_UNKNOWN`: said by `Watch` only, and understood all the same.
    ServiceUnknown,
}

impl Serving {
    /// The protocol's word.
    pub fn word(self) -> &'static str {
        match self {
            Serving::Unknown => "UNKNOWN",
            Serving::Serving => "SERVING",
            Serving::NotServing => "NOT_SERVING",
            Serving::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

/// A `HealthCheckRequest` for that service, in gRPC's framing: a flag byte, four bytes of length, the message.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 4);
    if !service.is_empty() {
        message.push(FIELD_1_BYTES);
        write_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// Reads a `HealthCheckResponse` in gRPC's framing. `None` when it is none.
pub fn answer(framed: &[u8]) -> Option<Serving> {
    let (&[compressed, a, b, c, d], message) = framed.split_first_chunk::<5>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    if compressed != 0 || length != message.len() {
        return None;
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let tag = read_varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = read_varint(&mut rest)?;
                if tag == FIELD_1_VARINT {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(read_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(match status {
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        _ => Serving::Unknown,
    })
}

const FIELD_1_BYTES: u8 = 1 << 3 | 2;
const FIELD_1_VARINT: u64 = 1 << 3;

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The name of a `grpc-status`.
pub fn status_name(code: u64) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("not a status of gRPC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_asked_for_by_name() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_a_whole_answer_is_believed() {
        let rows: [(&[u8], Option<Serving>); 12] = [
            (&[0, 0, 0, 0, 2, 8, 1], Some(Serving::Serving)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(Serving::NotServing)),
            (&[0, 0, 0, 0, 2, 8, 3], Some(Serving::ServiceUnknown)),
            (&[0, 0, 0, 0, 0], Some(Serving::Unknown)),
            // A field of a later version is passed over.
            (&[0, 0, 0, 0, 7, 0x12, 3, b'a', b'b', b'c', 8, 1], Some(Serving::Serving)),
            (&[0, 0, 0, 0, 3, 8, 0x81, 0], Some(Serving::Serving)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8, 1, 8], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0, 0, 0, 3, 0x12, 9, 1], None),
            (&[], None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(answer(bytes), expected, "{bytes:?}");
        }
        let endless = [&[0, 0, 0, 0, 12, 8][..], &[0xff; 11]].concat();
        assert_eq!(answer(&endless), None);
    }

    #[test]
    fn statuses_have_names() {
        assert_eq!((status_name(0), status_name(12), status_name(99)), ("OK", "UNIMPLEMENTED", "not a status of gRPC"));
    }
}
