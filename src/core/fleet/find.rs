//! Names to ids, as the admin socket takes them, and the reply to a change of address.

use std::net::IpAddr;

use super::spec::{BackendIndex, FrontendIndex, ServerId};
use super::{Fleet, Refusal};

impl Fleet {
    /// A backend by name, or by `#` and its `iid`.
    pub fn find_backend(&self, name: &str) -> Option<BackendIndex> {
        let iid = name.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
        let at = self.backends.iter().position(|b| *b.spec.name == *name || iid == Some(b.spec.iid))?;
        u32::try_from(at).ok().map(BackendIndex)
    }

    /// A frontend by name, or by `#` and its `iid`.
    pub fn find_frontend(&self, name: &str) -> Option<FrontendIndex> {
        let iid = name.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
        let at = self.frontends.iter().position(|f| *f.spec.name == *name || iid == Some(f.spec.iid))?;
        u32::try_from(at).ok().map(FrontendIndex)
    }

    /// A server by `backend/server`, each part a name or `#` and its number (`iid`, `sid`). The refusals are HAProxy's.
    pub fn find_server(&self, path: &str) -> Result<ServerId, Refusal> {
        let refuse = |text: &str| Refusal(text.to_owned());
        let (backend, server) = path.split_once('/').ok_or_else(|| refuse("Require 'backend/server'."))?;
        let backend = self.find_backend(backend).ok_or_else(|| refuse("No such backend."))?;
        let sid = server.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
        let servers = self.backend(backend).map_or(&[][..], |b| &b.servers);
        let found = servers.iter().find(|s| *s.spec.name == *server || sid == Some(s.sid));
        found.map(|s| s.id).ok_or_else(|| refuse("No such server."))
    }

    /// What `set server B/S addr IP [port PORT]` answers, to be asked before the event is applied.
    pub fn describe_address_change(&self, id: ServerId, ip: Option<IpAddr>, port: Option<u16>) -> String {
        let current = self.server(id).and_then(|s| s.ip_and_port());
        let (old_ip, old_port) = current.map_or((None, None), |(ip, port)| (ip, Some(port)));
        let quote = |ip: Option<IpAddr>| ip.map_or_else(|| "(none)".to_owned(), |ip| ip.to_string());
        let mut text = match ip {
            Some(_) if ip != old_ip => format!("IP changed from '{}' to '{}'", quote(old_ip), quote(ip)),
            _ => "no need to change the addr".to_owned(),
        };
        match (port, old_port) {
            (None, _) => {}
            (Some(new), Some(old)) if new != old => text += &format!(", port changed from '{old}' to '{new}'"),
            (Some(_), _) => text += ", no need to change the port",
        }
        text + " by 'stats socket command'"
    }
}
