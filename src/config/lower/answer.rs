//! Answers lockgate makes itself: `respond`, `no_route`, `maintenance_page`.

use std::sync::Arc;
use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::backend::PageChoice;
use crate::config::raw::{At, frontend as raw, text};
use crate::core::route::FixedAnswer;

/// The longest body held in memory for an answer.
const BODY_MAX_BYTES: usize = 1024 * 1024;
const MAINTENANCE_TEXT: &str = "This service is down for maintenance. Please try again in a moment.\n";

impl Lowering<'_> {
    pub fn answer(&mut self, written: Option<&At<raw::Answer>>, default_status: u16) -> FixedAnswer {
        let status = written.and_then(|w| w.status.as_deref()).copied().unwrap_or(default_status);
        let mut headers = Vec::new();
        for (name, value) in written.and_then(|w| w.headers.as_ref()).iter().flat_map(|h| h.0.iter()) {
            let Some(field) = self.field_name(name.id(), name) else { continue };
            if super::rule::is_framing(&field) || field.eq_ignore_ascii_case("date") {
                self.error(name.id(), format!("`{field}` is written by lockgate")).help("remove it");
                continue;
            }
            if let Some(value) = self.field_value(value.id(), (**value).as_ref()) {
                headers.push((field, value));
            }
        }
        let body = written.and_then(|w| self.body(w.body.as_ref(), w.file.as_ref()));
        let bodyless = is_bodyless(status);
        let body = match body {
            Some((at, _)) if bodyless => {
                self.error(at, format!("an answer of status {status} has no body"))
                    .help("remove the body, or change the status");
                Vec::new()
            }
            Some((_, body)) => body,
            None if bodyless => Vec::new(),
            None => reason_line(status).into_bytes(),
        };
        let given = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = written.and_then(|w| w.content_type.as_ref());
        if let (true, Some(content_type)) = (given, content_type) {
            self.error(content_type.id(), "the content type stands in `headers` already").help("keep one of them");
        }
        if !body.is_empty() && !given {
            let file = written.and_then(|w| w.file.as_ref());
            headers.push(("Content-Type".into(), self.content_type(content_type, file, "text/plain; charset=utf-8")));
        }
        FixedAnswer { status, headers, body: Arc::from(body) }
    }

    pub fn maintenance_answer(&mut self, written: Option<&At<PageChoice>>) -> FixedAnswer {
        let empty = crate::config::raw::backend::Page::default();
        let (page, file) = match written.map(|w| (w.id(), &**w)) {
            None => (&empty, None),
            Some((at, PageChoice::File(path))) => (&empty, Some((at, path))),
            Some((_, PageChoice::Full(page))) => (page, page.file.as_ref().map(|f| (f.id(), &**f))),
        };
        let body = match (file, &page.body) {
            (Some((at, _)), Some(body)) => {
                self.error(at, "a page has either `file` or `body`").related(body.id(), "and here is the other");
                None
            }
            (Some((at, path)), None) => self.page_file(at, path.as_ref()),
            (None, Some(body)) => Some(body.as_ref().as_bytes().to_vec()),
            (None, None) => None,
        };
        let content_type = match (&page.content_type, file, &page.body) {
            (Some(written), ..) => self.field_value(written.id(), written.as_ref()).unwrap_or_default(),
            (None, Some((_, path)), _) => by_ending(path.as_ref()).unwrap_or("text/html; charset=utf-8").into(),
            (None, None, Some(_)) => "text/html; charset=utf-8".into(),
            (None, None, None) => "text/plain; charset=utf-8".into(),
        };
        if let Some(status) = page.status.as_ref().filter(|status| is_bodyless(***status)) {
            self.error(status.id(), format!("an answer of status {} has no body, and a page is one", **status))
                .help("503 tells browsers and crawlers to come back later");
        }
        let retry_after =
            self.duration(page.retry_after.as_ref(), Duration::from_secs(30), Duration::ZERO, DURATION_MAX);
        let mut headers = vec![("Content-Type".into(), content_type), ("Cache-Control".into(), "no-store".into())];
        if retry_after.as_millis() > 0 {
            headers.push(("Retry-After".into(), retry_after.as_millis().div_ceil(1000).to_string().into()));
        }
        FixedAnswer {
            status: page.status.as_deref().copied().unwrap_or(503),
            headers,
            body: Arc::from(body.unwrap_or_else(|| MAINTENANCE_TEXT.into())),
        }
    }

    fn body(&mut self, text: Option<&At<text::Text>>, file: Option<&At<text::FilePath>>) -> Option<(NodeId, Vec<u8>)> {
        match (text, file) {
            (Some(text), Some(file)) => {
                self.error(file.id(), "an answer has either `body` or `file`")
                    .related(text.id(), "and here is the other");
                None
            }
            (Some(text), None) => Some((text.id(), text.as_ref().as_bytes().to_vec())),
            (None, Some(file)) => Some((file.id(), self.page_file(file.id(), file.as_ref())?)),
            (None, None) => None,
        }
    }

    /// Reads a page that is held in memory.
    fn page_file(&mut self, at: NodeId, written: &str) -> Option<Vec<u8>> {
        let bytes = self.read(at, written)?;
        if bytes.len() > BODY_MAX_BYTES {
            self.error(at, format!("`{written}` is {} bytes long", bytes.len()))
                .help("pages are held in memory: 1 MiB at most; serve larger ones from a server");
            return None;
        }
        Some(bytes)
    }

    fn content_type(
        &mut self,
        written: Option<&At<text::Text>>,
        file: Option<&At<text::FilePath>>,
        default: &str,
    ) -> Box<str> {
        match written {
            Some(written) => self.field_value(written.id(), written.as_ref()).unwrap_or_default(),
            None => file.and_then(|f| by_ending(f.as_ref())).unwrap_or(default).into(),
        }
    }
}

/// Statuses whose answers end with their head: a body behind it would be read as the next answer
/// (RFC 9112, section 6.3).
fn is_bodyless(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

fn by_ending(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "html" | "htm" => Some("text/html; charset=utf-8"),
        "txt" => Some("text/plain; charset=utf-8"),
        "json" => Some("application/json"),
        "xml" => Some("application/xml"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// `404 Not Found`
fn reason_line(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    match reason {
        Some(reason) => format!("{status} {reason}\n"),
        None => format!("{status}\n"),
    }
}
