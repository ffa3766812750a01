//! The raw file → the model. Every rule of the configuration is checked here, and only here.
//!
//! Lowering never stops at a mistake: a value that is wrong is reported and replaced by its default, so that the next
//! mistake is found in the same run. `config::load` throws the model away when there was an error.
//!
//! One file per section: [`global`], [`frontend`] (with [`bind`], [`route`], [`rule`], [`limit`], [`pattern`],
//! [`stats`], [`compression`]), [`backend`] (with [`server`], [`server_tls`], [`check`], [`agent`], [`track`]); [`mode`] sees
//! to it that keys fit the mode and that modes fit each other; [`value`] reads single values,
//! [`certificate`], [`template`] and [`log`] what their names say.

mod agent;
mod answer;
mod backend;
mod bind;
mod certificate;
mod check;
mod compression;
mod frontend;
mod global;
mod http2;
mod limit;
mod log;
mod mode;
mod pattern;
mod proxy_protocol;
mod route;
mod rule;
mod server;
mod server_http2;
mod server_tls;
mod stats;
mod template;
mod tls;
mod track;
mod value;

use std::collections::{HashMap, HashSet};

use super::diagnostic::{Diagnostic, Report};
use check::Completeness;

use super::document::{Node, NodeId, ROOT};
use super::environment::Environment;
use super::model::Model;
use super::raw::{At, Defaults, File};
use crate::core::fleet::mode::Mode;
use crate::core::fleet::spec::{BackendIndex, FleetSpec};
use crate::core::pattern::{PatternId, PatternSpec};

/// The first layer that says something about a key.
macro_rules! first {
    ($field:ident in $($layer:expr),+) => {
        None$(.or_else(|| $layer.and_then(|layer| layer.$field.as_ref())))+
    };
}
use first;

/// The names that stand in a file, whether or not what they name could be read. A reference to a backend that is
/// there but broken is not a second mistake.
#[derive(Debug, Default)]
pub(super) struct Names {
    backends: HashMap<String, u32>,
    frontends: HashSet<String>,
    order: Vec<String>,
}

impl Names {
    /// Reads them off the tree.
    pub fn of(root: &Node) -> Names {
        let mut names = Names::default();
        for entry in root.get("frontends").map_or(&[][..], Node::entries) {
            names.frontends.insert(entry.key.clone());
        }
        for (index, entry) in root.get("backends").map_or(&[][..], Node::entries).iter().enumerate() {
            names.backends.insert(entry.key.clone(), u32::try_from(index).unwrap_or(u32::MAX));
            names.order.push(entry.key.clone());
        }
        names
    }
}

/// What every lowering function works with.
struct Lowering<'a> {
    report: &'a mut Report,
    env: &'a dyn Environment,
    names: &'a Names,
    defaults: Option<&'a Defaults>,
    /// Backends some route leads to.
    used: HashSet<u32>,
    /// Names of rate limits, which are tables of the whole process.
    limits: HashMap<String, NodeId>,
    /// Maps and access lists.
    patterns: Vec<PatternSpec>,
    /// Those of files, with their first use.
    pattern_files: HashMap<String, (PatternId, NodeId)>,
    /// Some route chooses its backend by a map, which may name any backend later.
    has_host_maps: bool,
    /// Listening addresses, to find clashes.
    listening: Vec<bind::Listening>,
    /// Certificates already looked at.
    certificates: HashSet<std::path::PathBuf>,
    /// Of the section that is being lowered.
    mode: Mode,
}

/// Lowers a file. The model is only good when the report has no error.
pub(super) fn lower(file: &At<File>, names: &Names, env: &dyn Environment, report: &mut Report) -> Option<Model> {
    let mut cx = Lowering {
        report,
        env,
        names,
        defaults: file.defaults.as_deref(),
        used: HashSet::new(),
        limits: HashMap::new(),
        patterns: Vec::new(),
        pattern_files: HashMap::new(),
        has_host_maps: false,
        listening: Vec::new(),
        certificates: HashSet::new(),
        mode: Mode::Http,
    };
    cx.defaults_alone();
    let written_count = file.frontends.as_ref().map_or(0, |f| f.0.len());
    let pages = file.global.as_ref().and_then(|g| g.stats.as_deref()).map_or(&[][..], Vec::as_slice);
    let frontend_count = written_count + pages.len();
    let global = cx.global(file.global.as_ref());
    let mut binds = Vec::new();
    let mut fleet = FleetSpec::default();
    for (index, (name, frontend)) in file.frontends.iter().flat_map(|f| f.0.iter()).enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        fleet.frontends.push(cx.frontend(index, name, frontend, &global, &mut binds).into());
    }
    for page in pages {
        let index = u32::try_from(fleet.frontends.len()).unwrap_or(u32::MAX);
        let taken: Vec<Box<str>> = fleet.frontends.iter().map(|f| f.name.clone()).collect();
        let taken: Vec<&str> = taken.iter().map(|n| &**n).collect();
        fleet.frontends.push(cx.stats_frontend(index, page, &taken, &global, &mut binds).into());
    }
    for (index, (name, backend)) in file.backends.iter().flat_map(|b| b.0.iter()).enumerate() {
        let iid = u32::try_from(2 + frontend_count + index).unwrap_or(u32::MAX);
        fleet.backends.push(cx.backend(iid, name, backend).into());
    }
    cx.modes_agree(file, &fleet);
    if let Some(backends) = &file.backends {
        cx.tracks(backends, &fleet);
    }
    if written_count == 0 {
        let at = file.frontends.as_ref().map_or(ROOT, At::id);
        cx.missing(at, "there are no frontends").help("a frontend says where to listen: see conf/minimal.yaml");
    }
    if let (Some(backends), false) = (&file.backends, cx.report.has_errors() || cx.has_host_maps) {
        for (name, _) in &backends.0 {
            if names.backends.get(name.as_str()).is_some_and(|index| !cx.used.contains(index)) {
                cx.warning(name.id(), format!("no route leads to backend `{}`", **name))
                    .help("its servers are checked but get no request; add a route or remove it");
            }
        }
    }
    let patterns = std::mem::take(&mut cx.patterns);
    let model = Model { global, fleet, patterns, binds };
    cx.descriptors(file.global.as_ref(), &model);
    Some(model)
}

impl Lowering<'_> {
    fn error(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        self.report.error(at, message)
    }

    fn missing(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        self.report.missing(at, message)
    }

    fn warning(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        self.report.warning(at, message)
    }

    /// Looks up a backend by name.
    fn backend_named(&mut self, at: NodeId, name: &str) -> Option<BackendIndex> {
        if let Some(index) = self.names.backends.get(name) {
            self.used.insert(*index);
            return Some(BackendIndex(*index));
        }
        let names = self.names;
        let known: Vec<String> = names.order.iter().take(20).map(|n| format!("`{n}`")).collect();
        let diagnostic = self.report.error(at, format!("there is no backend `{}`", super::shape::shorten(name)));
        diagnostic.did_you_mean(name, names.order.iter().map(String::as_str));
        if name.contains("map(") {
            diagnostic.help("a backend chosen by host from a file is `{ host_map: FILE, backend: DEFAULT }`");
        }
        match known.is_empty() {
            true => diagnostic.help("no backends are configured: add it under `backends`"),
            false => diagnostic.help(format!("backends: {}", known.join(", "))),
        };
        None
    }

    /// Checks the name of a frontend, backend, server or limit.
    fn name(&mut self, at: NodeId, name: &str, what: &str) -> Box<str> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        if name.is_empty() || !name.chars().all(good) {
            self.error(at, format!("`{}` cannot be the name of a {what}", super::shape::shorten(name)))
                .help("names are made of letters, digits and `_` `.` `:` `-`");
        } else if name.len() > 128 {
            self.error(at, format!("this name of a {what} is {} bytes long", name.len())).help("128 are allowed");
        }
        name.into()
    }

    /// Lowers `defaults` by itself, so that its mistakes are reported even when every section overrides them.
    fn defaults_alone(&mut self) {
        let Some(defaults) = self.defaults else { return };
        let _ = self.client_timeouts(None);
        let _ = self.server_timeouts(None);
        let _ = self.limits(None);
        let _ = self.pool(None);
        let _ = self.forward_fields(None);
        let _ = self.request_id(None);
        let _ = self.frontend_log(None);
        let _ = self.compression(defaults.compression.as_ref());
        let _ = self.balance(defaults.balance.as_ref());
        let _ = self.retry_on(defaults.retry_on.as_ref());
        self.server_tls_alone(defaults.server_tls.as_ref());
        let tls = self.server_tls(&[defaults.server_tls.as_ref()], None);
        let check = self.check(&[defaults.health_check.as_ref()], Completeness::Partial, &tls, None);
        let _ = self.tuning(None, None, check.is_some(), None);
    }
}
