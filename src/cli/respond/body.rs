//! Bodies of any size that are never held: pieces of one pattern, sent until enough.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

const PIECE_BYTES: usize = 64 * 1024;

/// Lines of 64 bytes.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let line = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n";
    line.iter().copied().cycle().take(PIECE_BYTES).collect::<Vec<u8>>().into()
});

/// The body of an answer.
#[derive(Debug)]
pub(super) struct ReplyBody {
    piece: Bytes,
    left: u64,
    chunked: bool,
}

impl ReplyBody {
    pub(super) fn empty() -> ReplyBody {
        ReplyBody { piece: Bytes::new(), left: 0, chunked: false }
    }

    pub(super) fn text(text: Bytes, chunked: bool) -> ReplyBody {
        ReplyBody { left: text.len() as u64, piece: text, chunked }
    }

    pub(super) fn generated(size: u64, chunked: bool) -> ReplyBody {
        ReplyBody { piece: PATTERN.clone(), left: size, chunked }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.left == 0 || this.piece.is_empty() {
            return Poll::Ready(None);
        }
        let length = usize::try_from(this.left).unwrap_or(usize::MAX).min(this.piece.len());
        this.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(this.piece.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        // A chunked body is told as such even when it is empty.
        self.left == 0 && !self.chunked
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked { SizeHint::new() } else { SizeHint::with_exact(self.left) }
    }
}
