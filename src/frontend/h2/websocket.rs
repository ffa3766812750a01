//! The keys of a websocket handshake that is made on behalf of an HTTP/2 client (RFC 8441 section 5.1, RFC 6455 4.1).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a server appends to the key before it proves that it has understood it.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A `Sec-WebSocket-Key`.
pub type Key = [u8; 24];

/// A key that nobody has used before.
pub fn key(rng: &mut fastrand::Rng) -> Key {
    let mut bytes = [0u8; 16];
    rng.fill(&mut bytes);
    let mut key = [0u8; 24];
    // Sixteen bytes are twenty-four characters, always.
    let _ = STANDARD.encode_slice(bytes, &mut key);
    key
}

/// Whether `answer` is what a server that understood `key` says in `Sec-WebSocket-Accept`.
pub fn is_accepted(key: &Key, answer: &[u8]) -> bool {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(SALT);
    let mut expected = [0u8; 28];
    matches!(STANDARD.encode_slice(context.finish().as_ref(), &mut expected), Ok(28)) && expected == answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_its_answer() {
        assert!(is_accepted(b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!is_accepted(b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
        assert!(!is_accepted(b"dGhlIHNhbXBsZSBub25jZQ==", b""));
    }

    #[test]
    fn keys_are_sixteen_bytes_and_differ() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (one, other) = (key(&mut rng), key(&mut rng));
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one).unwrap().len(), 16);
    }
}
