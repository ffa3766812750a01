//! `show servers checks`: what each server's last health check found and how long ago, lockgate's own. HAProxy tells
//! the result in `show stat`, but not its age.

use std::fmt::Write as _;
use std::time::Instant;

use super::texts;
use crate::core::fleet::{Fleet, Refusal};

/// The columns. `-` is none; the text stands last because it may hold blanks.
const HEADER: &str = "# bkname/svname status code duration_ms age_ms running text\n";

/// The reply: one line per server that was checked at least once.
///
/// # Errors
/// No such backend.
pub fn checks(fleet: &Fleet, backend: Option<&str>, now: Instant) -> Result<String, Refusal> {
    let backends = match backend {
        None => fleet.backends(),
        Some(name) => {
            let found = fleet.find_backend(name).and_then(|index| fleet.backend(index));
            std::slice::from_ref(found.ok_or_else(|| Refusal(texts::CANNOT_FIND_BACKEND.to_owned()))?)
        }
    };
    let mut out = HEADER.to_owned();
    for (backend, server) in backends.iter().flat_map(|b| b.servers.iter().map(move |s| (b, s))) {
        let Some(last) = &server.last_check else { continue };
        let outcome = &last.outcome;
        let code = outcome.code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        let age = now.saturating_duration_since(last.at).as_millis();
        let text = outcome.text.replace(['\n', '\r'], " ");
        writeln!(
            out,
            "{}/{} {} {code} {} {age} {} {}",
            backend.spec.name,
            server.spec.name,
            outcome.status.word(),
            outcome.duration.as_millis(),
            u8::from(server.check_running),
            if text.is_empty() { "-" } else { &text },
        )
        .expect("writing to a String cannot fail");
    }
    Ok(out)
}
