//! Finding a route among many hosts without asking each.
//!
//! Routes are filed under the hosts they name; a request then asks only those filed under its host, under one of the
//! suffixes of its host, and those that take any host, in their order. The answer is always that of [`super::find`].

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{HostPattern, Route, RouteFacts};

/// Routes filed by host. Made once per configuration, for exactly those routes.
#[derive(Debug, Default, Clone)]
pub struct RouteIndex {
    exact: HashMap<Box<str>, Vec<u32>>,
    /// By suffix, its leading dot included.
    suffixes: HashMap<Box<str>, Vec<u32>>,
    any: Vec<u32>,
}

impl RouteIndex {
    /// Files the routes.
    pub fn new(routes: &[Route]) -> RouteIndex {
        let mut index = RouteIndex::default();
        for (number, route) in routes.iter().enumerate() {
            let number = number as u32;
            let file = |list: &mut Vec<u32>| {
                if list.last() != Some(&number) {
                    list.push(number);
                }
            };
            if route.hosts.is_empty() || route.hosts.contains(&HostPattern::Any) {
                file(&mut index.any);
                continue;
            }
            for host in &route.hosts {
                match host {
                    HostPattern::Exact(host) => file(index.exact.entry(host.clone()).or_default()),
                    HostPattern::Suffix(suffix) => file(index.suffixes.entry(suffix.clone()).or_default()),
                    HostPattern::Any => {}
                }
            }
        }
        index
    }

    /// The first of `routes`, which must be those the index was made of, that takes the request.
    pub fn find(&self, routes: &[Route], facts: &RouteFacts<'_>) -> Option<usize> {
        // Each list is in rising order; the smallest head of them all is the next route to ask.
        let mut lists: SmallVec<[&[u32]; 8]> = SmallVec::new();
        lists.push(&self.any);
        lists.extend(self.exact.get(facts.host).map(Vec::as_slice));
        if !self.suffixes.is_empty() {
            let dots = facts.host.bytes().enumerate().filter(|&(at, b)| b == b'.' && at > 0).map(|(at, _)| at);
            lists.extend(dots.filter_map(|at| self.suffixes.get(&facts.host[at..])).map(Vec::as_slice));
        }
        loop {
            let next = lists.iter().filter_map(|list| list.first()).min().copied()?;
            for list in &mut lists {
                if list.first() == Some(&next) {
                    *list = &list[1..];
                }
            }
            if routes.get(next as usize).is_some_and(|route| route.takes(facts)) {
                return Some(next as usize);
            }
        }
    }
}
