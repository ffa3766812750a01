//! `frontends.NAME.stats` and `global.stats`: stats pages.

use schemars::JsonSchema;
use serde::Deserialize;

use super::frontend::BindChoice;
use super::text::{BackendName, Duration, FilePath, Text};
use super::{Named, OneOrMany, Opt};

/// The keys of a page, which both structs have: serde cannot refuse unknown keys of a flattened struct.
macro_rules! page {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $key:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::config) struct $name {
            $($(#[$doc])* pub $key: $kind,)*
            /// Where it is. Options as `;csv` are put behind it. Default: /haproxy, or / in `global.stats`.
            pub path: Opt<Text>,
            /// How often browsers load it anew. Default: only scripts update it, every 5s.
            pub refresh: Opt<Duration>,
            /// What the password prompt says. Default: HAProxy Statistics.
            pub realm: Opt<Text>,
            /// The heading. Default: lockgate.
            pub title: Opt<Text>,
            /// Whether the version is told. Default: true.
            pub show_version: Opt<bool>,
            /// Whether viewers see addresses and cookies too. Default: false.
            pub show_legends: Opt<bool>,
            /// Whether the machine's name is told. Default: false.
            pub show_node: Opt<bool>,
            /// Who may sign in, by name. Default: nobody needs to.
            pub users: Opt<Named<StatsUser>>,
            /// What users may do who have no `level` of their own; without `users`, what everybody may do. Default: viewer.
            pub level: Opt<AccessLevel>,
            /// Where the counters for Prometheus are, for whoever may see the page. Default: nowhere.
            pub metrics: Opt<Text>,
            /// The only frontends and backends it tells of. Default: all.
            pub scope: Opt<OneOrMany<BackendName>>,
        }
    };
}

page! {
    /// A stats page.
    StatsPage {}
}

page! {
    /// A stats page with a frontend of its own.
    StatsFrontend {
        /// Where it listens. Required.
        bind: Opt<OneOrMany<BindChoice>>,
        /// The frontend's name. Default: stats.
        name: Opt<Text>,
    }
}

impl StatsFrontend {
    /// The page alone.
    pub fn page(&self) -> StatsPage {
        StatsPage {
            path: self.path.clone(),
            refresh: self.refresh.clone(),
            realm: self.realm.clone(),
            title: self.title.clone(),
            show_version: self.show_version.clone(),
            show_legends: self.show_legends.clone(),
            show_node: self.show_node.clone(),
            users: self.users.clone(),
            level: self.level.clone(),
            metrics: self.metrics.clone(),
            scope: self.scope.clone(),
        }
    }
}

/// Someone who may sign in: exactly one of `hash`, `password_file`, `password`.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct StatsUser {
    /// The password's hash, as `lockgate hash-password` or `htpasswd -B` makes it.
    pub hash: Opt<Text>,
    /// File whose first line is the hash, read when the configuration is.
    pub password_file: Opt<FilePath>,
    /// The password as it is. Better not.
    pub password: Opt<Text>,
    /// What the user may do. Default: the page's `level`.
    pub level: Opt<AccessLevel>,
}

/// Levels of a stats page.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum AccessLevel {
    Viewer,
    Operator,
    Admin,
}
