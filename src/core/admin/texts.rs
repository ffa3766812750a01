//! Sentences that tools compare letter by letter (HAProxy 2.8), each once.

/// The connection's level is too low.
pub const PERMISSION_DENIED: &str = "Permission denied";
/// The line does not fit.
pub const TOO_BIG: &str = "The command is too big for the buffer size. Please change tune.bufsize in the configuration \
                           to use a bigger command.";
/// `show stat`, `show errors`
pub const NO_SUCH_PROXY: &str = "No such proxy.";
/// `show stat domain …`
pub const BAD_DOMAIN: &str = "Invalid statistics domain.";
/// Everything that takes `B/S`.
pub const SERVER_REQUIRED: &str = "Require 'backend/server'.";
/// Everything that takes `B/S` or `B`.
pub const NO_SUCH_BACKEND: &str = "No such backend.";
/// Everything that takes `B/S`.
pub const NO_SUCH_SERVER: &str = "No such server.";
/// `show servers …`
pub const CANNOT_FIND_BACKEND: &str = "Can't find backend.";
/// `set server B/S state`
pub const STATE_EXPECTED: &str = "'set server <srv> state' expects 'ready', 'drain' and 'maint'.";
/// `set server B/S health`
pub const HEALTH_EXPECTED: &str = "'set server <srv> health' expects 'up', 'stopping', or 'down'.";
/// `set server B/S health` of a server with `track`
pub const TRACKING: &str = "cannot change health on a tracking server.";
/// `set server B/S agent`
pub const AGENT_EXPECTED: &str = "'set server <srv> agent' expects 'up' or 'down'.";
/// `set server B/S agent-addr`
pub const AGENT_ADDRESS_REQUIRED: &str = "set server <b>/<s> agent-addr requires an address and optionally a port.";
/// `set server B/S agent-port`
pub const AGENT_PORT_REQUIRED: &str = "set server <b>/<s> agent-port requires a port.";
/// `set server B/S check-addr`
pub const CHECK_ADDRESS_REQUIRED: &str = "set server <b>/<s> check-addr requires an address and optionally a port.";
/// `set server B/S check-port`
pub const CHECK_PORT_REQUIRED: &str = "set server <b>/<s> check-port requires a port.";
/// `set server B/S check-addr|check-port` while it is not checked
pub const CHECKS_NOT_ENABLED: &str = "health checks are not enabled on this server";
/// `set server B/S check-port x`
pub const PORT_NO_INTEGER: &str = "provided port is not an integer";
/// `set server B/S check-port 70000`
pub const PORT_INVALID: &str = "provided port is invalid";
/// `set server B/S fqdn`
pub const NAME_REQUIRED: &str = "set server <b>/<s> fqdn requires a FQDN.";
/// `set server B/S agent`
pub const NO_AGENT: &str = "agent checks are not enabled on this server.";
/// `enable agent B/S`
pub const AGENT_NOT_CONFIGURED: &str = "Agent was not configured on this server, cannot enable.";
/// `enable health B/S`
pub const CHECKS_NOT_CONFIGURED: &str = "Health checks are not configured on this server, cannot enable.";
/// `set server B/S addr`
pub const ADDRESS_REQUIRED: &str = "set server <b>/<s> addr requires an address and optionally a port.";
/// `set server B/S fqdn`
pub const NO_RESOLUTION: &str = "set server <b>/<s> fqdn failed because no resolution is configured.";
/// `set server B/S ssl`
pub const NO_SERVER_TLS: &str = "'set server <srv> ssl' cannot be set.  default-server should define ssl settings";
/// `set server B/S ssl` of a server that was added at run time.
pub const TLS_OF_DYNAMIC_SERVER: &str = "'set server <srv> ssl' not supported on dynamic servers";
/// `set server B/S ssl` with another word, or none.
pub const SERVER_TLS_EXPECTED: &str = "'set server <srv> ssl' expects 'on' or 'off'.";
/// `set server B/S ssl on|off`
pub const SERVER_TLS_UPDATED: &str = "server ssl setting updated.";
/// `set server B/S` with another word, or none.
pub const SET_SERVER_USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | \
                                    agent-send | check-addr | check-port | fqdn | health | ssl | state | weight";
/// `set weight B/S`
pub const WEIGHT_REQUIRED: &str = "Require <weight> or <weight%>.";
/// `set weight B/S x`
pub const WEIGHT_GARBAGE: &str = "Empty weight string empty or preceded by garbage";
/// `set weight B/S 5x`
pub const WEIGHT_TRAILING: &str = "Trailing garbage in weight string";
/// `set weight B/S 257`
pub const WEIGHT_RANGE: &str = "Absolute weight can only be between 0 and 256 inclusive.";
/// `set weight B/S -5%`
pub const WEIGHT_NEGATIVE: &str = "Relative weight must be positive.";
/// `set maxconn server B/S`
pub const MAXCONN_REQUIRED: &str = "Require <maxconn>.";
/// `set maxconn server B/S x`
pub const MAXCONN_GARBAGE: &str = "maxconn string empty or preceded by garbage";
/// `set maxconn server B/S 5x`
pub const MAXCONN_TRAILING: &str = "Trailing garbage in maxconn string";
/// `set maxconn server B/S -5`
pub const OUT_OF_RANGE: &str = "Value out of range.";
/// `set maxconn frontend F`
pub const INTEGER_EXPECTED: &str = "Integer value expected.";
/// `set maxconn global`, `set rate-limit … global`
pub const EXPECTS_INTEGER: &str = "Expects an integer value.";
/// Everything that takes a frontend.
pub const FRONTEND_EXPECTED: &str = "A frontend name is expected.";
/// Everything that takes a frontend.
pub const NO_SUCH_FRONTEND: &str = "No such frontend.";
/// `set rate-limit` with other words.
pub const RATE_LIMIT_USAGE: &str = "'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s";
/// `add server`
pub const SERVER_REGISTERED: &str = "New server registered.";
/// `del server`
pub const SERVER_DELETED: &str = "Server deleted.";
/// `set timeout …`
pub const TIMEOUT_ONLY_CLI: &str = "'set timeout' only supports 'cli'.";
/// `set timeout cli x`
pub const BAD_TIMEOUT: &str = "Invalid timeout value.";
/// `show sess X`
pub const SESSION_NOT_FOUND: &str = "Session not found.";
/// `shutdown session X`
pub const NO_SUCH_SESSION: &str = "No such session (use 'show sess').";
/// `shutdown session`
pub const SESSION_EXPECTED: &str = "Session pointer expected (use 'show sess').";
/// `show table`, `clear table`
pub const NO_SUCH_TABLE: &str = "No such table";
/// `show table T key`
pub const KEY_EXPECTED: &str = "Key value expected";
/// `set table T x`
pub const SET_TABLE_USAGE: &str = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*";
/// `set table T data.X`
pub const SET_TABLE_BY_KEY: &str = "content-based lookup is only supported with the \"show\" and \"clear\" actions";
/// `set table T key x`
pub const INVALID_KEY: &str = "Invalid key";
/// `set table T key K x`
pub const DATA_EXPECTED: &str = "\"data.<type>\" followed by a value expected";
/// `set table T key K data.x`
pub const UNKNOWN_DATA_TYPE: &str = "Unknown data type";
/// `set table T key K data.gpc1`
pub const DATA_NOT_STORED: &str = "Data type not stored in this table";
/// `set table T key K data.gpc0 x`
pub const STORED_INTEGER_REQUIRED: &str = "Require a valid integer value to store";
/// `clear table T key`
pub const ENTRY_IN_USE: &str = "Entry currently in use, cannot remove";
/// `show table T x`
pub const SHOW_TABLE_USAGE: &str =
    "Optional argument only supports \"data.<store_data_type>\" <operator> <value> and key <key>";
/// `clear table T x`
pub const CLEAR_TABLE_USAGE: &str =
    "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>";
/// `set severity-output x`
pub const SEVERITY_EXPECTED: &str = "one of 'none', 'number', 'string' is a required argument";
/// `set ssl cert` without a name or a payload (the missing quote is HAProxy's).
pub const SET_CERT_USAGE: &str = "'set ssl cert expects a filename and a certificate as a payload";
/// `commit ssl cert`
pub const COMMIT_CERT_USAGE: &str = "'commit ssl cert expects a filename";
/// `abort ssl cert`
pub const ABORT_CERT_USAGE: &str = "'abort ssl cert' expects a filename";
/// `new ssl cert`
pub const NEW_CERT_USAGE: &str = "'new ssl cert' expects a filename";
/// `del ssl cert`
pub const DEL_CERT_USAGE: &str = "'del ssl cert' expects a certificate name";
/// `show ssl crt-list -n`
pub const SHOW_CRT_LIST: &str = "didn't find the specified filename";
/// `add ssl crt-list L`
pub const ADD_CRT_LIST_USAGE: &str = "'add ssl crtlist' expects a filename and a certificate name";
/// `del ssl crt-list L`
pub const DEL_CRT_LIST_USAGE: &str = "'del ssl crtlist' expects a filename and a certificate name";
/// `show env X`
pub const NO_VARIABLE: &str = "Variable not found";
/// `show events X`
pub const NO_SINK: &str = "No such event sink";
/// `show resolvers X`
pub const NO_RESOLVERS: &str = "Can't find that resolvers section";
/// `show peers X`
pub const NO_PEERS: &str = "No such peers";
/// `show trace X`
pub const NO_TRACE_SOURCE: &str = "No such trace source";
/// `show tls-keys X`
pub const NO_TLS_KEYS: &str = "'show tls-keys' unable to locate referenced filename";
/// `set backend B maintenance` (lockgate's own).
pub const MAINTENANCE_EXPECTED: &str = "'set backend <backend> maintenance' expects 'on' or 'off'.";
/// `set backend B` with another word, or none (lockgate's own).
pub const SET_BACKEND_USAGE: &str = "usage: set backend <backend> maintenance on | off";

/// How the refusal of `new ssl cert F` ends: its beginning is that of replies that say `deleted!`.
const ALREADY_EXISTS: &str = "' already exists!";

/// How replies to refused commands begin.
const REFUSALS: &[&str] = &[
    "Unknown command: ",
    PERMISSION_DENIED,
    TOO_BIG,
    NO_SUCH_PROXY,
    BAD_DOMAIN,
    SERVER_REQUIRED,
    NO_SUCH_BACKEND,
    NO_SUCH_SERVER,
    CANNOT_FIND_BACKEND,
    STATE_EXPECTED,
    HEALTH_EXPECTED,
    TRACKING,
    AGENT_EXPECTED,
    AGENT_ADDRESS_REQUIRED,
    AGENT_PORT_REQUIRED,
    CHECK_ADDRESS_REQUIRED,
    CHECK_PORT_REQUIRED,
    CHECKS_NOT_ENABLED,
    PORT_NO_INTEGER,
    NAME_REQUIRED,
    "invalid addr ",
    "invalid fqdn ",
    "agent checks are not enabled on this server",
    AGENT_NOT_CONFIGURED,
    CHECKS_NOT_CONFIGURED,
    ADDRESS_REQUIRED,
    NO_RESOLUTION,
    NO_SERVER_TLS,
    TLS_OF_DYNAMIC_SERVER,
    SERVER_TLS_EXPECTED,
    SERVER_TLS_UPDATED,
    SET_SERVER_USAGE,
    WEIGHT_REQUIRED,
    WEIGHT_GARBAGE,
    WEIGHT_TRAILING,
    WEIGHT_RANGE,
    WEIGHT_NEGATIVE,
    MAXCONN_REQUIRED,
    MAXCONN_GARBAGE,
    MAXCONN_TRAILING,
    OUT_OF_RANGE,
    INTEGER_EXPECTED,
    EXPECTS_INTEGER,
    FRONTEND_EXPECTED,
    NO_SUCH_FRONTEND,
    // Every sentence that begins with the word it is about.
    "'",
    "All sockets are already ",
    "Frontend was ",
    "Already exists a server with the same ",
    "Only servers in maintenance mode can be deleted.",
    "This server cannot be removed at runtime ",
    "unable to ",
    "Server still has connections attached to it, cannot remove it.",
    "unknown keyword '",
    "character '",
    "A backend has at most ",
    "A unix socket is checked at ",
    "The backend checks certificates",
    TIMEOUT_ONLY_CLI,
    BAD_TIMEOUT,
    SESSION_NOT_FOUND,
    NO_SUCH_SESSION,
    SESSION_EXPECTED,
    NO_SUCH_TABLE,
    KEY_EXPECTED,
    ENTRY_IN_USE,
    SHOW_TABLE_USAGE,
    CLEAR_TABLE_USAGE,
    SET_TABLE_USAGE,
    SET_TABLE_BY_KEY,
    INVALID_KEY,
    DATA_EXPECTED,
    UNKNOWN_DATA_TYPE,
    DATA_NOT_STORED,
    STORED_INTEGER_REQUIRED,
    SEVERITY_EXPECTED,
    SET_CERT_USAGE,
    COMMIT_CERT_USAGE,
    ABORT_CERT_USAGE,
    NEW_CERT_USAGE,
    DEL_CERT_USAGE,
    SHOW_CRT_LIST,
    ADD_CRT_LIST_USAGE,
    DEL_CRT_LIST_USAGE,
    NO_VARIABLE,
    NO_SINK,
    NO_RESOLVERS,
    NO_PEERS,
    NO_TRACE_SOURCE,
    NO_TLS_KEYS,
    "unable to load certificate from file '",
    "unable to load private key from file '",
    "inconsistencies between private key and certificate loaded '",
    "Can't replace a certificate which is not referenced by the configuration!",
    "Can't display the certificate: ",
    "Can't remove the certificate: ",
    "Can't edit the crt-list: ",
    "Can't delete the entry: ",
    "No ongoing transaction!",
    "The ongoing transaction is about '",
    "The transaction must contain at least a certificate and a private key!",
    MAINTENANCE_EXPECTED,
    SET_BACKEND_USAGE,
    "a key ",
    "content-based lookup ",
    "entry not found.",
    "Filter entry #",
    "Invalid addr ",
    "Invalid port ",
    "Key not found.",
    "Malformed identifier.",
    "Missing ACL identifier",
    "Missing map identifier",
    "Missing value for key ",
    "Missing version number.",
    "The list is full",
    "Too many versions ",
    "This command expects two parameters: ",
    "Unknown ACL identifier.",
    "Unknown map identifier.",
    "Version number ",
    "problem converting string ",
    "provided port is invalid",
    "The server '",
];

/// Whether one of the replies in this text says that a command was refused. Replies are parted by empty lines.
pub fn is_refusal(reply: &str) -> bool {
    let mut begins = true;
    for line in reply.lines() {
        if begins && (REFUSALS.iter().any(|text| line.starts_with(text)) || line.ends_with(ALREADY_EXISTS)) {
            return true;
        }
        begins = line.is_empty();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_answers() {
        for text in REFUSALS {
            assert!(is_refusal(&format!("{text}\n\n")), "{text}");
            assert!(is_refusal(&format!("2.8.0\n\n{text}\n\n")), "{text} as the second reply");
            assert!(is_refusal(&format!("\n{text}\n\n")), "{text} after a silent command");
        }
        assert!(is_refusal("Certificate 'a.pem' already exists!\n\n"));
        for text in [
            "\n",
            "Certificate 'a.pem' deleted!\n\n",
            "10 (initial 10)\n\n",
            "IP changed from '1.1.1.1' to '2.2.2.2' by 'stats socket command'\n\n",
            "# table: No such table, type: ip\n",
            "a\nNo such server.\n",
        ] {
            assert!(!is_refusal(text), "{text:?}");
        }
    }
}
