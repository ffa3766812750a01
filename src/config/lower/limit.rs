//! `rate_limits`.

use std::sync::Arc;
use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::limit::Action;
use crate::config::raw::{At, limit as raw};
use crate::config::shape::shorten;
use crate::core::limit::{KeyPart, LimitAction, RateLimitSpec};

/// How long an untouched key is kept when nothing is said.
const EXPIRE_DEFAULT: Duration = Duration::from_secs(600);

impl Lowering<'_> {
    pub fn rate_limits(&mut self, written: Option<&Vec<At<raw::RateLimit>>>) -> Vec<Arc<RateLimitSpec>> {
        written.into_iter().flatten().filter_map(|limit| self.rate_limit(limit)).map(Arc::new).collect()
    }

    fn rate_limit(&mut self, written: &At<raw::RateLimit>) -> Option<RateLimitSpec> {
        let rate = written.rate.as_ref().and_then(|rate| self.rate(rate));
        let concurrent = written.concurrent.as_deref().copied();
        if written.rate.is_none() && concurrent.is_none() {
            self.missing(written.id(), "this limit limits nothing")
                .help("add `rate: 100/s`, `concurrent: 20`, or both");
        }
        if let (Some(burst), None) = (&written.burst, &written.rate) {
            self.error(burst.id(), "a burst belongs to a `rate`").help("add `rate`, or remove `burst`");
        }
        let except = self.networks(written.except.as_ref());
        let key = self.limit_key(written);
        let period = rate.map_or(Duration::ZERO, |rate| rate.period);
        let expire = written.expire.as_ref().and_then(|e| self.duration_in(e, Duration::from_secs(1), DURATION_MAX));
        if let (Some(expire), Some(at)) = (expire.filter(|e| *e < period), &written.expire) {
            self.error(at.id(), "keys would be forgotten before the interval of `rate` is over")
                .help(format!("keep them for at least {}", crate::core::units::render_duration(period)));
            let _ = expire;
        }
        let Some(name) = &written.name else {
            self.missing(written.id(), "this limit has no `name`").help("`show table` and the log call it by its name");
            return None;
        };
        let checked = self.name(name.id(), name.as_ref(), "limit");
        match self.limits.get(name.as_ref()).copied() {
            Some(first) => {
                self.error(name.id(), format!("there are two limits called `{}`", name.as_ref()))
                    .related(first, "first here")
                    .help("each is a table of its own: give it its own name");
            }
            None => {
                self.limits.insert(name.as_ref().to_owned(), name.id());
            }
        }
        Some(RateLimitSpec {
            name: checked,
            key,
            rate,
            burst: written.burst.as_deref().copied().or(rate.map(|r| r.count)).unwrap_or(0),
            concurrent,
            action: match written.action.as_deref() {
                None | Some(Action::Deny) => LimitAction::Deny,
                Some(Action::Tarpit) => LimitAction::Tarpit,
                Some(Action::Log) => LimitAction::LogOnly,
            },
            except,
            table_size: written.table_size.as_deref().map_or(100_000, |n| *n as usize),
            expire: expire.unwrap_or(EXPIRE_DEFAULT.max(period)),
        })
    }

    fn limit_key(&mut self, written: &raw::RateLimit) -> Vec<KeyPart> {
        let ipv6_prefix = written.ipv6_prefix.as_deref().copied().unwrap_or(64);
        let Some(key) = &written.key else { return vec![KeyPart::ClientIp { ipv6_prefix }] };
        let mut parts = Vec::new();
        for (at, part) in key.items() {
            let Some(part) = self.key_part(at, part.as_ref(), ipv6_prefix) else { continue };
            if parts.contains(&part) {
                self.error(at, "this part of the key stands twice").help("remove one");
                continue;
            }
            parts.push(part);
        }
        if key.items().is_empty() {
            self.missing(key.id(), "a key has at least one part").help("add `client_ip`");
        }
        let by_address = parts.iter().any(|part| matches!(part, KeyPart::ClientIp { .. }));
        if let (Some(prefix), false) = (&written.ipv6_prefix, by_address) {
            self.error(prefix.id(), "`ipv6_prefix` belongs to a key with `client_ip`").help("remove it");
        }
        parts
    }

    fn key_part(&mut self, at: NodeId, written: &str, ipv6_prefix: u8) -> Option<KeyPart> {
        match written {
            "client_ip" => return Some(KeyPart::ClientIp { ipv6_prefix }),
            "host" => return Some(KeyPart::Host),
            "path" => return Some(KeyPart::Path),
            _ => {}
        }
        if let Some(name) = written.strip_prefix("header(").and_then(|rest| rest.strip_suffix(')')) {
            return self.field_name(at, name).map(KeyPart::Header);
        }
        self.error(at, format!("`{}` is not a part of a key", shorten(written)))
            .did_you_mean(written, ["client_ip", "host", "path"])
            .help("parts: `client_ip`, `host`, `path`, `header(NAME)`");
        None
    }
}
