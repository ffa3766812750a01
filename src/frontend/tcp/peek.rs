//! Which server a client wants, by the name in its ClientHello. The bytes stay where they are, for the server to read.

use std::task::Poll;

use super::{End, Session};
use crate::core::stats::counters::Counter;
use crate::core::termination::{Cause, Phase};
use crate::core::tls::{ClientHello, HelloError, HelloReader};
use crate::runtime::buffer::LARGE_BUFFER_BYTES;
use crate::runtime::clock;

/// What the first bytes of a client came to.
enum Heard {
    /// A ClientHello.
    Hello(Box<ClientHello>),
    /// Something else, or nothing in time, or nothing at all before the client ended: there is no name.
    NoName,
}

impl Session {
    /// The server name the client asks for, in lower case and without a final dot; empty when it asks for none, speaks no
    /// TLS or says nothing in time. The client is heard only if some route goes by the name.
    ///
    /// # Errors
    /// It left without a word, or its ClientHello is broken.
    pub(super) async fn wanted_name(&mut self) -> Result<String, End> {
        if self.connection.io.is_tls() {
            // Its TLS ends here: the name was asked for in the handshake.
            let facts = self.connection.io.tls_facts();
            let asked = facts.as_deref().and_then(|tls| tls.server_name.as_deref());
            return Ok(asked.map(normalised).unwrap_or_default());
        }
        if let Some(asked) = self.connection.tlvs().filter(|_| self.connection.is_secure()).and_then(|t| t.authority())
        {
            // Its TLS ended at the proxy that told of it, and this is the name it told.
            return Ok(std::str::from_utf8(asked).map(normalised).unwrap_or_default());
        }
        let snapshot = self.books.snapshot.clone();
        let spec = &snapshot.frontends[self.books.frontend].spec;
        if spec.routes.iter().all(|route| route.hosts.is_empty()) {
            return Ok(String::new());
        }
        let within = spec.tcp.map_or(std::time::Duration::ZERO, |tcp| tcp.hello);
        let name = match self.hear(within).await? {
            Heard::Hello(hello) => hello.server_name().map(normalised).unwrap_or_default(),
            Heard::NoName => String::new(),
        };
        Ok(name)
    }

    /// Reads the ClientHello.
    async fn hear(&mut self, within: std::time::Duration) -> Result<Heard, End> {
        let due = clock::now() + within;
        let connection = &mut self.connection;
        let shelf = &self.worker.shelf;
        connection.deadline.set(due);
        connection.place.entry.expires(true, due);
        let mut reader = HelloReader::default();
        let heard = std::future::poll_fn(|cx| {
            loop {
                if let Some(cause) = connection.place.entry.kill.get() {
                    return Poll::Ready(Err(cause));
                }
                match reader.read(connection.buffer.filled()) {
                    Ok(Some(hello)) => return Poll::Ready(Ok(Heard::Hello(Box::new(hello)))),
                    Ok(None) => {}
                    Err(HelloError::NotTls) => return Poll::Ready(Ok(Heard::NoName)),
                    Err(HelloError::Malformed(_) | HelloError::TooLong) => {
                        return Poll::Ready(Err(Cause::BadRequest(400)));
                    }
                }
                if connection.client_ended {
                    let silent = connection.buffer.is_empty();
                    return Poll::Ready(if silent { Err(Cause::ClientClosed) } else { Ok(Heard::NoName) });
                }
                shelf.equip(&mut connection.buffer);
                if connection.buffer.room().is_empty() {
                    // The reader gives up long before this is full.
                    shelf.equip_large(&mut connection.buffer);
                }
                if connection.buffer.len() >= LARGE_BUFFER_BYTES {
                    return Poll::Ready(Err(Cause::BadRequest(400)));
                }
                match connection.io.poll_read(cx, connection.buffer.room()) {
                    Poll::Ready(Ok(0)) => connection.client_ended = true,
                    Poll::Ready(Ok(n)) => connection.buffer.filled_by(n),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Cause::ClientReset)),
                    Poll::Pending => {
                        shelf.shelve(&mut connection.buffer);
                        return connection.deadline.poll_passed(cx).map(|()| Ok(Heard::NoName));
                    }
                }
            }
        })
        .await;
        if let Err(Cause::BadRequest(_)) = heard {
            self.connection.bind.count(&self.books.frontend().live, self.worker.shard, Counter::Ereq);
        }
        heard.map_err(|cause| End::new(cause, Phase::Request))
    }
}

/// A name as routes know it.
fn normalised(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
