//! Everything lockgate decides, and every byte format it speaks.
//!
//! Nothing here touches a socket, a clock, a file, a thread, a global random generator or a log: time comes in as
//! `now`, chance as a seeded generator, and decisions go out as values. That is what lets them be tested, fuzzed,
//! replayed and simulated. The only shared state are the atomics of [`fleet::live`], which workers touch.
//!
//! Reading order: [`http`] (messages), [`route`] and [`filter`] (what happens to a request), [`balance`], [`queue`],
//! [`server`] and [`fleet`] (who answers it), [`limit`], [`pattern`], [`termination`], [`stats`] and [`log`] (what is told
//! about it), [`admin`] and [`web`] (what an operator may say, on a socket or a page).

pub mod admin;
pub mod balance;
pub mod discovery;
pub mod filter;
pub mod fleet;
pub mod health;
pub mod http;
pub mod limit;
pub mod log;
pub mod pattern;
pub mod queue;
pub mod route;
pub mod server;
pub mod stats;
pub mod termination;
pub mod text;
pub mod tls;
pub mod units;
pub mod web;
