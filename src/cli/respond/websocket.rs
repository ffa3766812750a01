//! Enough of RFC 6455 to be a tunnel's far end: the handshake, then every byte sent back as it came.

use aws_lc_rs::digest;
use hyper::Request;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::health::hyper_io::HyperIo;

/// The `Sec-WebSocket-Accept` for a request that asks for a websocket (RFC 6455 section 4.2.2).
pub(super) fn accept_value<B>(request: &Request<B>) -> Option<HeaderValue> {
    let fields = request.headers();
    let upgrade = fields.get(header::UPGRADE)?.to_str().ok()?;
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return None;
    }
    let key = fields.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::from_str(&accept(key.as_bytes())).ok()
}

fn accept(key: &[u8]) -> String {
    let salted = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    base64(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &salted).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let padded = [group.first(), group.get(1), group.get(2)].map(|byte| u32::from(byte.copied().unwrap_or(0)));
        let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
        for position in 0..4 {
            if position <= group.len() {
                let index = (bits >> (18 - 6 * position)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Sends back what comes, until it ends.
pub(super) async fn echo(upgraded: Upgraded) -> io::Result<()> {
    let Ok(parts) = upgraded.downcast::<HyperIo<TcpStream>>() else {
        return Ok(());
    };
    let mut stream = parts.io.into_inner();
    stream.write_all(&parts.read_buf).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            length => stream.write_all(buffer.get(..length).unwrap_or_default()).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_gives_its_answer() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
