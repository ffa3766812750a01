//! The variables of format strings, and the flags that change how they are written.

use crate::core::proxy_protocol::Sample;
use crate::core::tls::TlsSample;

/// What stands for a value in a format string, by HAProxy's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table below gives each its name and the manual its meaning")]
pub enum Variable {
    ClientIp,
    ClientPort,
    FrontendIp,
    FrontendPort,
    SourceIp,
    SourcePort,
    ServerIp,
    ServerPort,
    Frontend,
    FrontendTransport,
    Backend,
    Server,
    AcceptDate,
    AcceptDateGmt,
    AcceptDateLocal,
    AcceptSeconds,
    AcceptMillis,
    RequestDate,
    RequestDateGmt,
    RequestDateLocal,
    TimeHandshake,
    TimeIdle,
    TimeRequest,
    TimeBeforeRequest,
    TimeQueue,
    TimeConnect,
    TimeResponse,
    TimeData,
    TimeActive,
    TimeTotal,
    TimeUser,
    Status,
    BytesOut,
    BytesIn,
    RequestCookie,
    ResponseCookie,
    TerminationShort,
    Termination,
    ProcessConnections,
    FrontendConnections,
    BackendConnections,
    ServerConnections,
    Retries,
    ServerQueue,
    BackendQueue,
    RequestCaptures,
    ResponseCaptures,
    RequestCaptureList,
    ResponseCaptureList,
    RequestLine,
    Method,
    Uri,
    UriPath,
    Path,
    Query,
    Version,
    RequestId,
    Hostname,
    ProcessId,
    RequestCounter,
    LogCounter,
    TlsVersion,
    TlsCipher,
    /// `%[fc_err]`
    ConnectionError,
    /// `%[ssl_fc_err,hex]`
    TlsError,
    /// `%[ssl_c_err]`
    ClientCertificateError,
    /// `%[ssl_c_ca_err]`: what went wrong is told of the whole chain here, by `ssl_c_err`.
    IssuerCertificateError,
    /// `%[ssl_fc_is_resumed]`
    TlsResumed,
    /// `%[ssl_fc_sni]`
    TlsServerName,
    /// `%[fc_pp_authority]` and others
    Announced(Sample),
    /// `%[ssl_c_s_dn]`, `%[ja4]`, …
    Tls(TlsSample),
}

/// Every variable by its name.
pub const VARIABLES: [(&str, Variable); 63] = {
    use Variable::*;
    [
        ("ac", ProcessConnections),
        ("b", Backend),
        ("B", BytesOut),
        ("bc", BackendConnections),
        ("bi", SourceIp),
        ("bp", SourcePort),
        ("bq", BackendQueue),
        ("CC", RequestCookie),
        ("ci", ClientIp),
        ("cp", ClientPort),
        ("CS", ResponseCookie),
        ("f", Frontend),
        ("fc", FrontendConnections),
        ("fi", FrontendIp),
        ("fp", FrontendPort),
        ("ft", FrontendTransport),
        ("H", Hostname),
        ("HM", Method),
        ("HP", UriPath),
        ("HPO", Path),
        ("HQ", Query),
        ("hr", RequestCaptures),
        ("hrl", RequestCaptureList),
        ("hs", ResponseCaptures),
        ("hsl", ResponseCaptureList),
        ("HU", Uri),
        ("HV", Version),
        ("ID", RequestId),
        ("lc", LogCounter),
        ("ms", AcceptMillis),
        ("pid", ProcessId),
        ("r", RequestLine),
        ("rc", Retries),
        ("rt", RequestCounter),
        ("s", Server),
        ("sc", ServerConnections),
        ("si", ServerIp),
        ("sp", ServerPort),
        ("sq", ServerQueue),
        ("sslc", TlsCipher),
        ("sslv", TlsVersion),
        ("ST", Status),
        ("t", AcceptDate),
        ("T", AcceptDateGmt),
        ("Ta", TimeActive),
        ("Tc", TimeConnect),
        ("Td", TimeData),
        ("Th", TimeHandshake),
        ("Ti", TimeIdle),
        ("Tl", AcceptDateLocal),
        ("Tq", TimeBeforeRequest),
        ("Tr", TimeResponse),
        ("TR", TimeRequest),
        ("tr", RequestDate),
        ("trg", RequestDateGmt),
        ("trl", RequestDateLocal),
        ("ts", TerminationShort),
        ("Ts", AcceptSeconds),
        ("tsc", Termination),
        ("Tt", TimeTotal),
        ("Tu", TimeUser),
        ("Tw", TimeQueue),
        ("U", BytesIn),
    ]
};

/// The sample expressions that are known besides those of [`TlsSample`]: what HAProxy's `option httpslog` is made of.
pub const EXPRESSIONS: [(&str, Variable); 6] = [
    ("fc_err", Variable::ConnectionError),
    ("ssl_fc_err,hex", Variable::TlsError),
    ("ssl_c_err", Variable::ClientCertificateError),
    ("ssl_c_ca_err", Variable::IssuerCertificateError),
    ("ssl_fc_is_resumed", Variable::TlsResumed),
    ("ssl_fc_sni", Variable::TlsServerName),
];

/// How a variable is written (`%{+Q,+E,+X}name`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `Q`: texts stand in quotes, and an absent one shows `""` instead of `-`.
    pub quote: bool,
    /// `E`: `"`, `\` and `]` in texts get a backslash (RFC 5424, 6.3.3).
    pub escape: bool,
    /// `X`: addresses, ports and counters are hexadecimal.
    pub hex: bool,
}

/// What a format shows that costs something to find out: done only for formats that ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// Version, cipher, server name of the client's TLS.
    pub tls: bool,
    /// Our address and the server's, of the connection to the server.
    pub server_side: bool,
    /// The address the client connected to.
    pub frontend_address: bool,
    /// The number of this request in the process.
    pub request_counter: bool,
    /// The number of this line in the frontend.
    pub log_counter: bool,
}

impl Wants {
    /// Everything that either wants.
    pub fn or(self, other: Wants) -> Wants {
        Wants {
            tls: self.tls || other.tls,
            server_side: self.server_side || other.server_side,
            frontend_address: self.frontend_address || other.frontend_address,
            request_counter: self.request_counter || other.request_counter,
            log_counter: self.log_counter || other.log_counter,
        }
    }
}

impl Variable {
    /// What it costs.
    pub fn wants(self) -> Wants {
        use Variable::*;
        let none = Wants::default();
        match self {
            TlsVersion
            | TlsCipher
            | TlsError
            | ClientCertificateError
            | IssuerCertificateError
            | TlsResumed
            | TlsServerName
            | Tls(_) => Wants { tls: true, ..none },
            SourceIp | SourcePort | ServerIp | ServerPort => Wants { server_side: true, ..none },
            FrontendIp | FrontendPort => Wants { frontend_address: true, ..none },
            RequestCounter => Wants { request_counter: true, ..none },
            LogCounter => Wants { log_counter: true, ..none },
            _ => none,
        }
    }
}
