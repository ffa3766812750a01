//! Writing where a redirect leads.
//!
//! Whatever the request holds, the result is one URL on one line, and leads to a host the operator named or the request
//! was for: a target such as `//evil.example` never becomes the host.

use super::{Redirect, RedirectTarget};
use crate::core::filter::{Template, TemplateContext, TemplatePiece};

/// Writes the `Location` value of a redirect to the end of `out`. Bytes that no URL holds are percent-encoded.
pub fn render_redirect(redirect: &Redirect, context: &TemplateContext<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    match &redirect.to {
        RedirectTarget::Prefix(template) => {
            render_url(template, context, out);
            push_encoded(target(context), false, out);
        }
        RedirectTarget::Location(template) => render_url(template, context, out),
        RedirectTarget::Scheme { scheme, port } => {
            // Without a host (HTTP/1.0 may come without) there is only the path to go by.
            if !context.host.is_empty() {
                out.extend_from_slice(scheme.as_bytes());
                out.extend_from_slice(b"://");
                push_encoded(context.host.as_bytes(), false, out);
                if let Some(port) = port {
                    out.push(b':');
                    out.extend_from_slice(itoa::Buffer::new().format(*port).as_bytes());
                }
            }
            push_encoded(target(context), false, out);
        }
    }
    if !names_a_host(&redirect.to) {
        keep_one_slash(start, out);
    }
}

/// The path and query to go to; `*` has none.
fn target<'a>(context: &TemplateContext<'a>) -> &'a [u8] {
    let target = context.request.forward_target();
    if target.starts_with(b"/") { target } else { b"/" }
}

fn render_url(template: &Template, context: &TemplateContext<'_>, out: &mut Vec<u8>) {
    template.each_part(context, |part, is_literal| push_encoded(part, is_literal, out));
}

/// Whether the operator wrote the host, or at least the `//` in front of it.
fn names_a_host(to: &RedirectTarget) -> bool {
    match to {
        RedirectTarget::Prefix(template) | RedirectTarget::Location(template) => {
            matches!(template.pieces.first(), Some(TemplatePiece::Literal(text)) if text.starts_with("//"))
        }
        RedirectTarget::Scheme { .. } => false,
    }
}

/// Browsers take what follows two slashes for a host.
fn keep_one_slash(start: usize, out: &mut Vec<u8>) {
    let slashes = out.iter().skip(start).take_while(|&&b| b == b'/').count();
    if slashes > 1 {
        out.drain(start..start + slashes - 1);
    }
}

/// Percent-encodes what no URL holds: controls, spaces, bytes beyond ASCII, backslashes, quotes and angle brackets, and
/// `#` unless the operator wrote it.
fn push_encoded(text: &[u8], keep_fragment: bool, out: &mut Vec<u8>) {
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    for &b in text {
        let plain =
            b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'`') && (b != b'#' || keep_fragment);
        if plain {
            out.push(b);
        } else {
            out.extend_from_slice(&[b'%', UPPER[usize::from(b >> 4)], UPPER[usize::from(b & 15)]]);
        }
    }
}
