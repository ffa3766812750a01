//! Lists (`deny`, `client_ip`, `host_map`): their files are read here, once each, whoever uses them.

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::raw::pattern::{Deny, List, ListChoice};
use crate::config::raw::{At, frontend as raw};
use crate::config::shape::shorten;
use crate::core::fleet::spec::BackendIndex;
use crate::core::pattern::file::{self, MISTAKES_MAX};
use crate::core::pattern::{DenyRule, ListKind, Matching, Pattern, PatternId, PatternSpec, Use};
use crate::core::route::HostMap;

const FORM: &str = "one entry a line; lines that begin with `#` are comments";

/// What a list is for.
#[derive(Debug, Clone, Copy)]
struct Purpose {
    kind: ListKind,
    matching: Matching,
    /// HAProxy's word for what is looked up.
    sample: &'static str,
}

const CLIENTS: Purpose = Purpose { kind: ListKind::Acl, matching: Matching::Network, sample: "src" };
const HOSTS: Purpose = Purpose { kind: ListKind::Acl, matching: Matching::Host, sample: "req.hdr" };
const PATHS: Purpose = Purpose { kind: ListKind::Acl, matching: Matching::Path, sample: "path" };
const FIELDS: Purpose = Purpose { kind: ListKind::Acl, matching: Matching::Text, sample: "req.hdr" };
const HOST_MAP: Purpose = Purpose { kind: ListKind::Map, matching: Matching::Host, sample: "req.hdr" };

impl Lowering<'_> {
    pub fn denials(&mut self, written: Option<&Vec<At<Deny>>>) -> Vec<DenyRule> {
        written.into_iter().flatten().map(|rule| self.denial(rule)).collect()
    }

    fn denial(&mut self, written: &At<Deny>) -> DenyRule {
        if written.client_ip.is_none()
            && written.host.is_none()
            && written.path.is_none()
            && written.header.is_none()
            && written.sample.is_none()
        {
            self.missing(written.id(), "this rule would deny every request")
                .help("say whom: `client_ip`, `host`, `path`, `header` or `sample`");
        }
        let mut headers = Vec::new();
        for (name, values) in written.header.iter().flat_map(|named| named.0.iter()) {
            let lists = self.list(FIELDS, values);
            headers.extend(self.field_name(name.id(), name).map(|name| (name, lists)));
        }
        let mut samples = Vec::new();
        for (name, values) in written.sample.iter().flat_map(|named| named.0.iter()) {
            let Some(sample) = self.tls_sample(name.id(), name) else { continue };
            let purpose = Purpose { sample: sample.name(), ..FIELDS };
            samples.push((sample, self.list(purpose, values)));
        }
        DenyRule {
            samples,
            clients: self.client_lists(written.client_ip.as_ref()),
            hosts: written.host.as_ref().map_or_else(Vec::new, |list| self.list(HOSTS, list)),
            paths: written.path.as_ref().map_or_else(Vec::new, |list| self.list(PATHS, list)),
            headers,
            except: self.client_lists(written.except.as_ref()),
            status: written.status.as_deref().copied().unwrap_or(403),
        }
    }

    /// Lists of networks.
    pub fn client_lists(&mut self, written: Option<&At<List<crate::config::raw::text::Network>>>) -> Vec<PatternId> {
        written.map_or_else(Vec::new, |list| self.list(CLIENTS, list))
    }

    /// `host_map`, with the route's `backend` as its default.
    pub fn host_map(&mut self, written: &At<raw::Route>) -> Option<HostMap> {
        let file = written.host_map.as_ref()?;
        let default = match &written.backend {
            Some(backend) => Some(self.backend_named(backend.id(), backend.as_ref())?),
            None => None,
        };
        self.has_host_maps = true;
        let map = self.pattern_file(HOST_MAP, file.id(), file.as_ref())?;
        let mut named = Vec::new();
        for pattern in self.patterns.get(map.0 as usize).map_or(&[][..], |spec| &spec.patterns) {
            if let Some(index) = self.names.backends.get(pattern.value()) {
                self.used.insert(*index);
                if !named.contains(&BackendIndex(*index)) {
                    named.push(BackendIndex(*index));
                }
            }
        }
        Some(HostMap { map, default, named })
    }

    /// The files that are named, and one list of what is written between them.
    fn list<T: AsRef<str>>(&mut self, purpose: Purpose, written: &At<List<T>>) -> Vec<PatternId> {
        let (mut lists, mut patterns) = (Vec::new(), Vec::new());
        let items = written.items();
        if items.is_empty() {
            self.missing(written.id(), "this condition lists nothing").help("name something, or remove the key");
        }
        for (at, item) in items {
            match item {
                ListChoice::Entry(entry) => patterns.extend(self.list_entry(purpose, at, entry.as_ref())),
                ListChoice::File(file) => match &file.file {
                    Some(path) => lists.extend(self.pattern_file(purpose, path.id(), path.as_ref())),
                    None => {
                        self.missing(at, "which file?").help("add `file: PATH`");
                    }
                },
            }
        }
        if !patterns.is_empty() {
            let uses = vec![self.place(written.id())];
            let Purpose { kind, matching, sample } = purpose;
            lists.push(self.add_list(PatternSpec { kind, matching, file: None, sample, uses, patterns }));
        }
        lists
    }

    fn list_entry(&mut self, purpose: Purpose, at: NodeId, written: &str) -> Option<Pattern> {
        if purpose.matching == Matching::Network {
            self.network(at, written)?;
        }
        match Pattern::parse(purpose.matching, written, "") {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.error(at, error.to_string());
                None
            }
        }
    }

    /// The list of a file, read at its first use.
    fn pattern_file(&mut self, purpose: Purpose, at: NodeId, written: &str) -> Option<PatternId> {
        let path = self.path(written);
        let name = path.display().to_string();
        let place = self.place(at);
        if let Some((id, first)) = self.pattern_files.get(&name).copied() {
            let spec = self.patterns.get_mut(id.0 as usize)?;
            if (spec.kind, spec.matching) == (purpose.kind, purpose.matching) {
                spec.uses.push(place);
                return Some(id);
            }
            self.error(at, format!("`{}` is read as another kind of list already", shorten(written)))
                .related(first, "first here")
                .help("a file is one list: write another file for another kind");
            return None;
        }
        let bytes = match self.env.read_list(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unreadable(at, std::path::Path::new(written), &error);
                return None;
            }
        };
        let read = file::parse(purpose.kind, purpose.matching, &bytes);
        for mistake in &read.mistakes {
            self.error(at, format!("`{written}:{}`: {}", mistake.line, mistake.error)).help(FORM);
        }
        if purpose.kind == ListKind::Map {
            self.map_values(at, written, &read.patterns);
        }
        let patterns = read.patterns.into_iter().map(|(_, pattern)| pattern).collect();
        let Purpose { kind, matching, sample } = purpose;
        let file = Some(name.as_str().into());
        let id = self.add_list(PatternSpec { kind, matching, file, sample, uses: vec![place], patterns });
        self.pattern_files.insert(name, (id, at));
        Some(id)
    }

    /// Every value of a map is to be the name of a backend.
    fn map_values(&mut self, at: NodeId, written: &str, patterns: &[(u32, Pattern)]) {
        let names = self.names;
        let wrong = patterns.iter().filter(|(_, pattern)| !names.backends.contains_key(pattern.value()));
        for (line, pattern) in wrong.take(MISTAKES_MAX) {
            let message = format!("`{written}:{line}`: there is no backend `{}`", shorten(pattern.value()));
            self.error(at, message)
                .did_you_mean(pattern.value(), names.order.iter().map(String::as_str))
                .help("a line is a host, blanks, and the name of a backend");
        }
    }

    fn add_list(&mut self, spec: PatternSpec) -> PatternId {
        self.patterns.push(spec);
        PatternId(u32::try_from(self.patterns.len() - 1).unwrap_or(u32::MAX))
    }

    fn place(&self, at: NodeId) -> Use {
        Use { file: self.report.file().into(), line: self.report.line_at(at) }
    }
}
