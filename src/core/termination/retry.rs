//! Whether a failed attempt may be made again, and where. HAProxy: `retries`, `option redispatch`, `retry-on`.

use crate::core::fleet::spec::RetryOn;

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, timed out. Nothing was sent.
    Connect,
    /// A kept connection was found dead before a byte of answer came.
    DeadReused,
    /// A fresh connection ended before a byte of answer came.
    EmptyResponse,
    /// The server answered 503 (a refused answer).
    Status503,
    /// HTTP/2: the server refused the request unread (REFUSED_STREAM; RFC 9113 section 8.7).
    Refused,
    /// HTTP/2: the connection was on its way out, and the server has not looked at the request (GOAWAY).
    Closing,
}

/// What is known of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The method may be repeated (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// Bytes of its body have left the client's buffer, so it cannot be sent again.
    pub body_consumed: bool,
    /// Something may have reached the server.
    pub sent: bool,
    /// Retries made so far, not counting replacements of dead kept connections.
    pub retries: u32,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ends.
    GiveUp,
    /// Again at once on a fresh connection to the same server; not counted, the client must not notice.
    Replace,
    /// Again, counted as a retry.
    Retry,
}

/// The table.
pub fn decide(failure: Failure, attempt: Attempt, retries_max: u32, retry_on: RetryOn) -> Verdict {
    let replayable = !attempt.body_consumed && (attempt.idempotent || !attempt.sent);
    let left = attempt.retries < retries_max;
    match failure {
        Failure::Connect if left && !attempt.body_consumed => Verdict::Retry,
        Failure::DeadReused if replayable => Verdict::Replace,
        Failure::EmptyResponse if left && replayable && retry_on.empty_response => Verdict::Retry,
        // Nobody has acted on it, so even what must not be repeated may be sent again.
        Failure::Refused if left && !attempt.body_consumed => Verdict::Retry,
        Failure::Closing if !attempt.body_consumed => Verdict::Replace,
        Failure::Status503 if left && replayable && retry_on.status_503 => Verdict::Retry,
        _ => Verdict::GiveUp,
    }
}

/// Whether a method may be repeated without harm (RFC 9110, 9.2.2).
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_repeated_is_repeated() {
        let all = RetryOn { empty_response: true, status_503: true };
        let none = RetryOn { empty_response: false, status_503: false };
        let get = Attempt { idempotent: true, body_consumed: false, sent: true, retries: 0 };
        let post = Attempt { idempotent: false, ..get };
        let unsent_post = Attempt { sent: false, ..post };
        let streamed_put = Attempt { body_consumed: true, ..get };
        assert_eq!(decide(Failure::Connect, unsent_post, 3, none), Verdict::Retry);
        assert_eq!(decide(Failure::Connect, Attempt { retries: 3, ..get }, 3, none), Verdict::GiveUp);
        assert_eq!(decide(Failure::Connect, streamed_put, 3, all), Verdict::GiveUp);
        assert_eq!(decide(Failure::DeadReused, get, 0, none), Verdict::Replace);
        assert_eq!(decide(Failure::DeadReused, post, 3, all), Verdict::GiveUp);
        assert_eq!(decide(Failure::DeadReused, unsent_post, 3, all), Verdict::Replace);
        assert_eq!(decide(Failure::EmptyResponse, get, 3, none), Verdict::GiveUp);
        assert_eq!(decide(Failure::EmptyResponse, get, 3, all), Verdict::Retry);
        assert_eq!(decide(Failure::EmptyResponse, post, 3, all), Verdict::GiveUp);
        assert_eq!(decide(Failure::Status503, get, 3, all), Verdict::Retry);
        assert_eq!(decide(Failure::Status503, get, 3, none), Verdict::GiveUp);
        assert_eq!(decide(Failure::Refused, post, 3, none), Verdict::Retry);
        assert_eq!(decide(Failure::Refused, Attempt { retries: 3, ..get }, 3, none), Verdict::GiveUp);
        assert_eq!(decide(Failure::Refused, streamed_put, 3, none), Verdict::GiveUp);
        assert_eq!(decide(Failure::Closing, post, 0, none), Verdict::Replace);
        assert_eq!(decide(Failure::Closing, streamed_put, 3, none), Verdict::GiveUp);
    }
}
