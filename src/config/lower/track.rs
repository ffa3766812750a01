//! `track`: a server that takes over the state of another. Looked at when every backend has been read.

use std::collections::HashMap;

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::raw::backend::{Backend, Server, ServerChoice};
use crate::config::raw::{At, Named};
use crate::config::shape::shorten;
use crate::core::fleet::spec::{FleetSpec, ServerSpec};

/// Every server that stands in the file, whether or not it could be read.
type Written<'a> = HashMap<&'a str, Vec<(&'a str, Option<&'a Server>)>>;

impl Lowering<'_> {
    /// Checks every `track` of the file.
    pub fn tracks(&mut self, backends: &Named<Backend>, fleet: &FleetSpec) {
        let mut written: Written<'_> = HashMap::new();
        for (name, backend) in &backends.0 {
            let servers = backend.servers.iter().flat_map(|servers| servers.0.iter());
            let servers = servers.map(|(name, choice)| (name.as_str(), full(choice)));
            written.insert(name.as_str(), servers.collect());
        }
        let lowered: HashMap<String, &ServerSpec> = (fleet.backends.iter())
            .flat_map(|b| b.servers.iter().map(|s| (format!("{}/{}", b.name, s.name), &**s)))
            .collect();
        for (backend, _) in &backends.0 {
            for (server, full) in written.get(backend.as_str()).into_iter().flatten() {
                if let Some(track) = full.and_then(|full| full.track.as_ref()) {
                    let itself = format!("{}/{server}", backend.as_str());
                    self.track(&itself, backend, track.id(), track.as_ref(), &written, &lowered);
                }
            }
        }
    }

    fn track(
        &mut self,
        itself: &str,
        own_backend: &str,
        at: NodeId,
        path: &str,
        written: &Written<'_>,
        lowered: &HashMap<String, &ServerSpec>,
    ) {
        let Some((backend, server)) = path.split_once('/') else {
            let diagnostic = self.error(at, format!("`{}` is not a server", shorten(path)));
            if written.get(own_backend).is_some_and(|servers| servers.iter().any(|(name, _)| *name == path)) {
                diagnostic.label(format!("did you mean `{own_backend}/{path}`?"));
            }
            diagnostic.help("it is written `BACKEND/SERVER`");
            return;
        };
        let Some(servers) = written.get(backend) else {
            let names = self.names;
            self.error(at, format!("there is no backend `{}`", shorten(backend)))
                .did_you_mean(backend, names.order.iter().map(String::as_str));
            return;
        };
        if !servers.iter().any(|(name, _)| *name == server) {
            let known: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
            self.error(at, format!("backend `{backend}` has no server `{}`", shorten(server)))
                .did_you_mean(server, known);
            return;
        }
        self.track_chain(itself, at, path, lowered);
    }

    /// Follows the chain to its end, which must be checked.
    fn track_chain(&mut self, itself: &str, at: NodeId, path: &str, lowered: &HashMap<String, &ServerSpec>) {
        let mut chain = vec![itself];
        let mut next = path;
        loop {
            if chain.contains(&next) {
                // One that is not part of the loop itself leads into it: the loop is told where it is.
                if next == itself {
                    chain.push(next);
                    self.error(at, format!("this goes round in a circle: {}", chain.join(" → ")))
                        .help("track a server that has a `health_check` or an `agent`");
                }
                return;
            }
            chain.push(next);
            // A server that could not be read is a mistake of its own.
            let Some(spec) = lowered.get(next) else { return };
            match &spec.track {
                Some(further) => next = further,
                None if spec.check.is_some() || spec.agent.is_some() => return,
                None => {
                    self.error(at, format!("`{next}` has neither checks nor an agent: there is nothing to follow"))
                        .help("track a server that has a `health_check` or an `agent`");
                    return;
                }
            }
        }
    }
}

fn full(choice: &At<ServerChoice>) -> Option<&Server> {
    match &**choice {
        ServerChoice::Address(_) => None,
        ServerChoice::Full(full) => Some(full),
    }
}
