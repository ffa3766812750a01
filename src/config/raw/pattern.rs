//! Lists that can be changed while lockgate runs: entries written here, or files of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{FilePath, Host, Network, Text};
use super::{At, Named, OneOrMany, Opt};

/// Entries and files of entries.
pub(in crate::config) type List<T> = OneOrMany<ListChoice<T>>;

/// An entry, or a file of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum ListChoice<T> {
    Entry(T),
    File(ListFile),
}

/// A file of entries.
#[derive(Debug, Default, Clone, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListFile {
    /// One entry a line, as HAProxy's ACL files. Required.
    pub file: Opt<FilePath>,
}

/// From a map alone. A derived one would take a list of one entry for a struct of one field.
impl<'de> Deserialize<'de> for ListFile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ListFile, D::Error> {
        let mut map: BTreeMap<String, At<FilePath>> = BTreeMap::deserialize(deserializer)?;
        Ok(ListFile { file: map.remove("file") })
    }
}

/// A denial: every kind of list that is given must match; of a list one entry is enough.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Deny {
    /// Networks of clients.
    pub client_ip: Opt<List<Network>>,
    /// Hosts: `example.com` or `*.example.com`.
    pub host: Opt<List<Host>>,
    /// Paths, each with everything below it.
    pub path: Opt<List<Text>>,
    /// Values by field name; all fields that are named must match.
    pub header: Opt<Named<List<Text>>>,
    /// Values of the client's TLS by HAProxy's names of samples (`ja4`, `ssl_c_verify`, `ssl_c_s_dn(CN)`, …); all that
    /// are named must match.
    pub sample: Opt<Named<List<Text>>>,
    /// Networks this rule never denies. Default: none.
    pub except: Opt<List<Network>>,
    /// Status code of the answer. Default: 403.
    #[schemars(range(min = 400, max = 599))]
    pub status: Opt<u16>,
}
