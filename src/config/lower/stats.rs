//! `frontends.NAME.stats` and `global.stats`: stats pages and who may use them.

use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::model::{Bind, BindAddress, Global};
use crate::config::raw::{At, Named, OneOrMany, frontend as raw_frontend, stats as raw, text};
use crate::config::shape::shorten;
use crate::core::fleet::spec::FrontendSpec;
use crate::core::web::password::{BadHash, PASSWORD_MAX_BYTES, PasswordHash};
use crate::core::web::{AccessLevel, PageSpec, UserSpec};

/// Where a frontend's page is when nothing is said.
const PATH_DEFAULT: &str = "/haproxy";
/// Users of one page.
const USERS_MAX: usize = 100;
/// How a hash is made.
const MAKE_A_HASH: &str = "make one with `lockgate hash-password`, or `htpasswd -nB NAME`";

impl Lowering<'_> {
    /// Lowers an entry of `global.stats`: a frontend that has nothing but its page.
    pub fn stats_frontend(
        &mut self,
        index: u32,
        written: &At<raw::StatsFrontend>,
        taken: &[&str],
        global: &Global,
        binds: &mut Vec<Bind>,
    ) -> FrontendSpec {
        let at = written.id();
        let name = match &written.name {
            Some(name) => At::new(name.id(), name.as_ref().to_owned()),
            None => At::new(at, "stats".to_owned()),
        };
        if taken.contains(&name.as_str()) {
            self.error(name.id(), format!("there is another frontend `{}`", shorten(&name)))
                .help("give this one a `name` of its own");
        }
        let mut page = written.page();
        if page.path.is_none() {
            page.path = Some(At::new(at, text::Text("/".to_owned())));
        }
        let stats = Some(At::new(at, page));
        let frontend = raw_frontend::Frontend { bind: written.bind.clone(), stats, ..Default::default() };
        self.frontend(index, &name, &At::new(at, frontend), global, binds)
    }

    /// Lowers a page. `binds` are those of its frontend.
    pub fn stats_page(&mut self, written: &At<raw::StatsPage>, binds: &[Bind]) -> PageSpec {
        let on = |key: &Option<At<bool>>, default| key.as_deref().copied().unwrap_or(default);
        let path = written.path.as_ref().and_then(|path| self.page_path(path, true));
        let metrics = written.metrics.as_ref().and_then(|path| self.page_path(path, false));
        let path = path.unwrap_or_else(|| PATH_DEFAULT.into());
        if let (Some(at), true) = (&written.metrics, metrics.as_ref() == Some(&path)) {
            self.error(at.id(), "the stats page and the metrics have the same path").help("usual is `/metrics`");
        }
        let level = access_level(written.level.as_deref(), AccessLevel::Viewer);
        let users = self.stats_users(written.users.as_ref(), level);
        let far = binds.iter().any(|b| match &b.address {
            BindAddress::Tcp(address) => !address.ip().is_loopback(),
            BindAddress::Unix(_) => false,
        });
        if let (Some(at), true) = (&written.level, far && written.users.is_none() && level > AccessLevel::Viewer) {
            self.warning(at.id(), "whoever reaches this page may change servers")
                .help("add `users`, or bind it to 127.0.0.1");
        }
        let minimum = Duration::from_secs(1);
        PageSpec {
            path,
            metrics,
            refresh: written.refresh.as_ref().and_then(|r| self.duration_in(r, minimum, DURATION_MAX)),
            realm: written.realm.as_ref().and_then(|r| self.realm(r)).unwrap_or_else(|| "HAProxy Statistics".into()),
            title: written.title.as_ref().and_then(|t| self.shown_line(t, "title")),
            show_version: on(&written.show_version, true),
            show_legends: on(&written.show_legends, false),
            show_node: on(&written.show_node, false),
            users,
            level,
            scope: self.scope(written.scope.as_ref()),
        }
    }

    /// A path, or for the stats page also a query that belongs to it (HAProxy: `/haproxy?stats`).
    fn page_path(&mut self, written: &At<text::Text>, query: bool) -> Option<Box<str>> {
        let path = written.as_ref();
        let good = |b: u8| b.is_ascii_graphic() && !b"\";#&<>".contains(&b) && (query || b != b'?');
        if !path.starts_with('/') || path.len() > 256 || !path.bytes().all(good) {
            self.error(written.id(), format!("`{}` is not a path", shorten(path)))
                .help("it begins with `/`, as `/haproxy`; options as `;csv` are put behind it in the browser");
            return None;
        }
        let bare = path.trim_end_matches('/');
        Some(if bare.is_empty() { "/" } else { bare }.into())
    }

    fn realm(&mut self, written: &At<text::Text>) -> Option<Box<str>> {
        let text = written.as_ref();
        if text.is_empty() || text.len() > 128 || !text.chars().all(|c| (' '..='~').contains(&c) && !"\"\\".contains(c))
        {
            self.error(written.id(), format!("`{}` cannot be a realm", shorten(text)))
                .help("1 to 128 plain ASCII characters without quotes and backslashes");
            return None;
        }
        Some(text.into())
    }

    fn scope(&mut self, written: Option<&At<OneOrMany<text::BackendName>>>) -> Vec<Box<str>> {
        let mut scope = Vec::new();
        for (at, name) in written.iter().flat_map(|w| w.items()) {
            let name = name.as_ref();
            if !self.names.frontends.contains(name) && !self.names.backends.contains_key(name) {
                self.error(at, format!("there is no frontend or backend `{}`", shorten(name)))
                    .help("name those that the page is to tell of");
            }
            scope.push(name.into());
        }
        scope
    }

    fn stats_users(&mut self, written: Option<&At<Named<raw::StatsUser>>>, default: AccessLevel) -> Vec<UserSpec> {
        let Some(written) = written else { return Vec::new() };
        if written.0.is_empty() {
            self.missing(written.id(), "there are no users in `users`")
                .help("name one, or remove the key to let everybody in");
        }
        if let Some((name, _)) = written.0.get(USERS_MAX) {
            self.error(name.id(), format!("{} users are too many for one page", written.0.len()))
                .help(format!("{USERS_MAX} are allowed"));
        }
        let mut users = Vec::new();
        for (name, user) in written.0.iter().take(USERS_MAX) {
            let plain = |c: char| !c.is_control() && c != ':';
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                self.error(name.id(), format!("`{}` cannot be the name of a user", shorten(name)))
                    .help("1 to 64 characters without a colon, which ends the name when a browser sends it");
            }
            let Some(password) = self.stats_password(name, user) else { continue };
            users.push(UserSpec {
                name: name.as_str().into(),
                password,
                level: access_level(user.level.as_deref(), default),
            });
        }
        users
    }

    fn stats_password(&mut self, name: &At<String>, user: &At<raw::StatsUser>) -> Option<PasswordHash> {
        match (&user.hash, &user.password_file, &user.password) {
            (Some(hash), None, None) => self.password_hash(hash.id(), hash.as_ref().trim()),
            (None, Some(file), None) => {
                let bytes = self.read(file.id(), file.as_ref())?;
                let text = String::from_utf8_lossy(&bytes);
                let line = text.lines().next().unwrap_or_default().trim();
                // `htpasswd -nB` writes the name before it.
                let line = line.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(line);
                match line.starts_with('$') {
                    true => self.password_hash(file.id(), line),
                    false => self.plain_password(file.id(), line, "the password stands in this file as it is"),
                }
            }
            (None, None, Some(password)) => {
                self.plain_password(password.id(), password.as_ref(), "this password stands here as it is")
            }
            (None, None, None) => {
                self.missing(user.id(), format!("user `{}` has no password", shorten(name)))
                    .help(format!("add `hash: …`; {MAKE_A_HASH}"));
                None
            }
            _ => {
                self.error(user.id(), format!("user `{}` has more than one password", shorten(name)))
                    .help("keep one of `hash`, `password_file` and `password`");
                None
            }
        }
    }

    fn password_hash(&mut self, at: NodeId, text: &str) -> Option<PasswordHash> {
        let error = match PasswordHash::parse(text) {
            Ok(hash) => return Some(hash),
            Err(error) => error,
        };
        let help = match error {
            BadHash::TooSlow => "use up to 1000000 rounds, or a cost of up to 14",
            BadHash::Unknown | BadHash::Broken => "hashes begin with `$5$`, `$6$` (crypt) or `$2y$` (bcrypt)",
        };
        self.error(at, format!("this is not a password hash that can be used: {error}")).help(help).help(MAKE_A_HASH);
        None
    }

    fn plain_password(&mut self, at: NodeId, password: &str, message: &str) -> Option<PasswordHash> {
        if password.is_empty() || password.len() > PASSWORD_MAX_BYTES {
            self.error(at, "this cannot be a password").help(format!("1 to {PASSWORD_MAX_BYTES} bytes, on one line"));
            return None;
        }
        self.warning(at, message)
            .secret()
            .help(format!("write its hash instead, so that nobody can read it: {MAKE_A_HASH}"));
        let mut salt = [0; 12];
        fastrand::Rng::new().fill(&mut salt);
        Some(PasswordHash::make_quickly(password, salt))
    }
}

fn access_level(written: Option<&raw::AccessLevel>, default: AccessLevel) -> AccessLevel {
    match written {
        None => default,
        Some(raw::AccessLevel::Viewer) => AccessLevel::Viewer,
        Some(raw::AccessLevel::Operator) => AccessLevel::Operator,
        Some(raw::AccessLevel::Admin) => AccessLevel::Admin,
    }
}
