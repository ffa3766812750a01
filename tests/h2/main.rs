//! HTTP/2 from clients, frame by frame: what RFC 9113 and RFC 7541 ask of a server, and what a hostile client may try.
//!
//! The tables cover what h2spec checks, case by case, in our own words: [`accepted`] is what a server must take,
//! [`connection`], [`frames`] and [`blocks`] what it must refuse and how, [`messages`] which requests are malformed.
//! [`hostile`] is about clients that keep every rule of the format and want harm; [`websocket`] about RFC 8441.
//!
//! `LOCKGATE_TEST_H2=127.0.0.1:8080` runs the tables against another server of HTTP/2 in clear text, to tell whether a
//! surprise is the server's or the test's.

#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod blocks;
mod cases;
mod connection;
mod frames;
mod hostile;
mod messages;
mod websocket;
