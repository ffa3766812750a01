//! Rows of `option httplog`, read back field by field.
//!
//! Written from HAProxy's configuration manual (8.2.3), not from the code that renders them.

/// One request as logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Priority, `134` for local0.info; `None` when there was no envelope.
    pub priority: Option<u16>,
    /// `127.0.0.1:40000`
    pub client: String,
    /// `21/Nov/2026:19:46:18.187`
    pub accepted: String,
    /// With its `~` when TLS.
    pub frontend: String,
    pub backend: String,
    pub server: String,
    /// TR, Tw, Tc, Tr, Ta in milliseconds.
    pub timers: [i64; 5],
    pub status: i32,
    pub bytes: u64,
    pub request_cookie: String,
    pub response_cookie: String,
    /// Four letters.
    pub termination: String,
    /// actconn, feconn, beconn, srvconn.
    pub connections: [u32; 4],
    pub retries: u32,
    pub redispatched: bool,
    pub server_queue: u32,
    pub backend_queue: u32,
    /// Request captures; `None` when the block is absent.
    pub request_captures: Option<Vec<String>>,
    /// Response captures; `None` when the block is absent.
    pub response_captures: Option<Vec<String>>,
    /// Between the quotes.
    pub request: String,
}

impl Row {
    /// Reads a line with or without a syslog envelope; `None` for lines that are not of requests.
    pub fn parse(line: &str) -> Option<Row> {
        let line = line.trim_end_matches('\n');
        let priority = line.strip_prefix('<').and_then(|l| l.split_once('>')).and_then(|(p, _)| p.parse().ok());
        let message = match line.find("]: ") {
            Some(at) if line.starts_with('<') => &line[at + 3..],
            _ => line,
        };
        let (head, request) = message.split_once(" \"")?;
        let request = request.strip_suffix('"')?.to_owned();

        let (client, rest) = head.split_once(" [")?;
        let (accepted, rest) = rest.split_once("] ")?;
        let (rest, captures) = match rest.find(" {") {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        let words: Vec<&str> = rest.split(' ').collect();
        let [frontend, place, timers, status, bytes, request_cookie, response_cookie, termination, connections, queues] =
            words[..].try_into().ok()?;
        let (backend, server) = place.split_once('/')?;
        let timers: Vec<i64> =
            timers.split('/').map(|t| t.trim_start_matches('+').parse().ok()).collect::<Option<_>>()?;
        let mut connections: Vec<&str> = connections.split('/').collect();
        let retries = connections.pop()?;
        let connections: Vec<u32> = connections.iter().map(|c| c.parse().ok()).collect::<Option<_>>()?;
        let (server_queue, backend_queue) = queues.split_once('/')?;
        let mut blocks = blocks(captures)?.into_iter();
        Some(Row {
            priority,
            client: client.to_owned(),
            accepted: accepted.to_owned(),
            frontend: frontend.to_owned(),
            backend: backend.to_owned(),
            server: server.to_owned(),
            timers: timers.try_into().ok()?,
            status: status.parse().ok()?,
            bytes: bytes.trim_start_matches('+').parse().ok()?,
            request_cookie: request_cookie.to_owned(),
            response_cookie: response_cookie.to_owned(),
            termination: termination.to_owned(),
            connections: connections.try_into().ok()?,
            retries: retries.trim_start_matches('+').parse().ok()?,
            redispatched: retries.starts_with('+'),
            server_queue: server_queue.parse().ok()?,
            backend_queue: backend_queue.parse().ok()?,
            request_captures: blocks.next(),
            response_captures: blocks.next(),
            request,
        })
    }

    /// `be/srv`
    pub fn place(&self) -> String {
        format!("{}/{}", self.backend, self.server)
    }

    /// The target of the logged request line.
    pub fn target(&self) -> &str {
        self.request.split(' ').nth(1).unwrap_or_default()
    }

    /// Which of TR, Tw, Tc, Tr were reached, as `+` and `-`; Ta always is.
    pub fn reached(&self) -> String {
        self.timers[..4].iter().map(|&t| if t < 0 { '-' } else { '+' }).collect()
    }
}

fn blocks(text: &str) -> Option<Vec<Vec<String>>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split("} {")
        .map(|block| block.trim_start_matches('{').trim_end_matches('}'))
        .map(|block| Some(block.split('|').map(str::to_owned).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_full_row() {
        let row = Row::parse(
            "<134>Nov 21 19:46:18 haproxy[6775]: 127.0.0.1:39766 [21/Nov/2026:19:46:18.538] fe~ be/web1 0/1/2/3/6 200 165 \
             - - --VN 1/1/0/0/+2 3/4 {www|Mozilla/5.0 (X11|} {1||12} \"GET /q HTTP/1.1\"",
        )
        .unwrap();
        assert_eq!((row.priority, row.client.as_str(), row.frontend.as_str()), (Some(134), "127.0.0.1:39766", "fe~"));
        assert_eq!((row.place(), row.timers, row.status, row.bytes), ("be/web1".into(), [0, 1, 2, 3, 6], 200, 165));
        assert_eq!((row.retries, row.redispatched, row.server_queue, row.backend_queue), (2, true, 3, 4));
        assert_eq!(row.request_captures.unwrap(), ["www", "Mozilla/5.0 (X11", ""]);
        assert_eq!(row.response_captures.unwrap(), ["1", "", "12"]);
        assert_eq!(row.request, "GET /q HTTP/1.1");
    }

    #[test]
    fn no_row() {
        assert_eq!(Row::parse("<133>Nov 21 19:46:18 haproxy[6775]: Server be/web1 is DOWN."), None);
    }
}
