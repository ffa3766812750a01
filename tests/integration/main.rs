//! Integration tests: the shipped binary between scripted servers and raw clients, and between real ones.
//!
//! One module per promise. Each test keeps its configuration, its server and its client in one place and reads from
//! top to bottom; the harness is in `tests/support`. Run one module with `cargo test --test integration queue::`.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_robust;
mod balance;
mod bodies;
mod certificates;
mod chaos;
mod cli;
mod compression;
mod connections;
mod counters;
mod demo;
mod deploy;
mod fleetops;
mod forwarded;
mod framing;
mod h2_clients;
mod h2_limits;
mod h2_servers;
mod h2_websockets;
mod health;
mod interim;
mod keepalive;
mod limits;
mod log_cases;
mod log_readers;
mod log_targets;
mod logs;
mod maintenance;
mod memory;
mod metrics_page;
mod patterns;
mod peers;
mod persistence;
mod proxy_protocol;
mod queue;
mod retries;
mod routing;
mod rules;
mod shutdown;
mod states;
mod stats_page;
mod stats_page_browser;
mod stats_page_edges;
mod tcp;
mod timelines;
mod timeouts;
mod tls;
mod tls_disk;
mod tls_offers;
mod tls_peers;
mod tls_servers;
mod tls_tickets;
mod unfinished;
mod upgrade;
