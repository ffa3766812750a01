//! `rate_limits`.

use std::sync::Arc;
use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::limit::Action;
use crate::config::raw::{At, limit as raw};
use crate::config::shape::shorten;
use crate::core::limit::{DataType, KeyPart, LimitAction, RateLimitSpec, Stored, Threshold};
use crate::core::tls::TlsSample;
use crate::core::units::parse_duration;

/// How long an untouched key is kept when nothing is said.
const EXPIRE_DEFAULT: Duration = Duration::from_secs(600);

impl Lowering<'_> {
    pub fn rate_limits(&mut self, written: Option<&Vec<At<raw::RateLimit>>>) -> Vec<Arc<RateLimitSpec>> {
        written.into_iter().flatten().filter_map(|limit| self.rate_limit(limit)).map(Arc::new).collect()
    }

    fn rate_limit(&mut self, written: &At<raw::RateLimit>) -> Option<RateLimitSpec> {
        let rate = written.rate.as_ref().and_then(|rate| self.rate(rate));
        let concurrent = written.concurrent.as_deref().copied();
        let track = matches!(written.action.as_deref(), Some(Action::Track));
        let unlimited = written.rate.is_none() && concurrent.is_none();
        if unlimited && !track && written.deny_if.is_none() {
            self.missing(written.id(), "this limit limits nothing")
                .help("add `rate: 100/s`, `concurrent: 20`, or both; `action: track` only keeps numbers");
        }
        if let (Some(action), true, false) = (&written.action, track, unlimited) {
            self.error(action.id(), "`track` limits nothing")
                .help("remove `rate` and `concurrent`, or say `log` for a dry run");
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
        let limit = RateLimitSpec {
            name: checked,
            key,
            rate,
            burst: written.burst.as_deref().copied().or(rate.map(|r| r.count)).unwrap_or(0),
            concurrent,
            action: match written.action.as_deref() {
                None | Some(Action::Deny) => LimitAction::Deny,
                Some(Action::Tarpit) => LimitAction::Tarpit,
                Some(Action::Log) => LimitAction::LogOnly,
                Some(Action::Track) => LimitAction::Track,
            },
            except,
            table_size: written.table_size.as_deref().map_or(100_000, |n| *n as usize),
            expire: expire.unwrap_or(EXPIRE_DEFAULT.max(period)),
            store: self.store(written).into(),
            deny_if: Vec::new(),
            deny_status: written.deny_status.as_deref().copied().unwrap_or(403),
        };
        if let (Some(status), None) = (&written.deny_status, &written.deny_if) {
            self.error(status.id(), "`deny_status` belongs to `deny_if`").help("add `deny_if`, or remove it");
        }
        let deny_if = self.thresholds(written, &limit);
        Some(RateLimitSpec { deny_if, ..limit })
    }

    /// `store`, in the order in which it is shown.
    fn store(&mut self, written: &raw::RateLimit) -> Vec<Stored> {
        let mut stored: Vec<Stored> = Vec::new();
        for (at, text) in written.store.iter().flat_map(|store| store.items()) {
            let Some(one) = self.stored(at, text.as_ref()) else { continue };
            if stored.iter().any(|other| other.what == one.what) {
                self.error(at, format!("`{}` is stored twice", one.what.word())).help("remove one");
                continue;
            }
            stored.push(one);
        }
        if let Some(store) = written.store.as_ref().filter(|store| store.items().is_empty()) {
            self.missing(store.id(), "nothing is stored").help("remove the key for what every limit keeps");
        }
        stored.sort_by_key(|stored| stored.what);
        stored
    }

    /// `gpc0` or `conn_rate(10s)`
    fn stored(&mut self, at: NodeId, text: &str) -> Option<Stored> {
        let (word, period) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((word, period)) => (word, Some(period)),
            None => (text, None),
        };
        let Some(what) = DataType::parse(word) else {
            let known: Vec<_> = DataType::ALL.iter().map(|what| what.word()).collect();
            self.error(at, format!("`{}` is not a number that can be stored", shorten(text)))
                .did_you_mean(word, known.iter().copied())
                .help(format!("numbers: `{}`", known.join("`, `")));
            return None;
        };
        let millisecond = Duration::from_millis(1);
        match (what.is_rate(), period.map(parse_duration)) {
            (false, None) => Some(Stored { what, period: None }),
            (true, Some(Ok(period))) if period >= millisecond && period <= DURATION_MAX => {
                Some(Stored { what, period: Some(period) })
            }
            (true, _) => {
                self.error(at, format!("`{}` is not a rate with its period", shorten(text)))
                    .label(format!("write `{word}(10s)`"));
                None
            }
            (false, Some(_)) => {
                self.error(at, format!("`{word}` has no period")).label(format!("write `{word}`"));
                None
            }
        }
    }

    fn thresholds(&mut self, written: &raw::RateLimit, limit: &RateLimitSpec) -> Vec<Threshold> {
        let mut thresholds = Vec::new();
        for (name, least) in written.deny_if.iter().flat_map(|named| named.0.iter()) {
            match DataType::parse(name).filter(|what| limit.stores(*what)) {
                Some(_) if **least == 0 => {
                    self.error(least.id(), "every request would be denied").help("the smallest number is 1");
                }
                Some(what) => thresholds.push(Threshold { what, least: **least }),
                None => {
                    let stored: Vec<_> =
                        limit.shown().iter().map(|stored| format!("`{}`", stored.what.word())).collect();
                    self.error(name.id(), format!("`{}` is not stored", shorten(name)))
                        .help(format!("add it to `store`; stored are {}", stored.join(", ")));
                }
            }
        }
        thresholds
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
        if let Some(sample) = TlsSample::parse(written) {
            return Some(KeyPart::Tls(sample));
        }
        self.error(at, format!("`{}` is not a part of a key", shorten(written)))
            .did_you_mean(written, ["client_ip", "host", "path", "ja4"])
            .help("parts: `client_ip`, `host`, `path`, `header(NAME)`, `ja4`, and the other samples of TLS");
        None
    }
}
