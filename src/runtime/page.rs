//! Requests for a stats page on their way from a worker to the control thread, and the answers back.
//!
//! The channel is bounded and nobody waits to get into it: when the control thread does not keep up, the client is told
//! to come back later.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::core::web::{Page, PageSpec};

/// Requests that may wait for the control thread; further ones are answered 503.
pub const PAGE_BACKLOG: usize = 64;

/// The largest form that is read, in bytes (HAProxy: one buffer, less what it reserves).
pub const FORM_MAX_BYTES: usize = 15 * 1024;

/// What the page's room needs to know of a request.
#[derive(Debug)]
pub struct PageRequest {
    /// The page as configured.
    pub spec: Arc<PageSpec>,
    /// Which of its pages.
    pub page: Page,
    /// Whether it is a `POST`; `GET` and `HEAD` otherwise.
    pub posts: bool,
    /// The request target as sent.
    pub target: Box<[u8]>,
    /// The client's address, for limits on failed logins.
    pub client: IpAddr,
    /// The fields that matter.
    pub fields: PageFields,
    /// The form; `None` when it is larger than [`FORM_MAX_BYTES`].
    pub body: Option<Vec<u8>>,
    /// Where the answer is awaited.
    pub reply: oneshot::Sender<PageAnswer>,
}

/// Fields of a request for a page, as sent.
#[derive(Debug, Default)]
pub struct PageFields {
    /// `Host`
    pub host: Box<[u8]>,
    /// `Authorization`
    pub authorization: Option<Box<[u8]>>,
    /// `Accept`
    pub accept: Option<Box<[u8]>>,
    /// `Sec-Fetch-Site`
    pub fetch_site: Option<Box<[u8]>>,
    /// `Origin`
    pub origin: Option<Box<[u8]>>,
    /// `Referer`
    pub referer: Option<Box<[u8]>>,
}

/// An answer, to be framed as the client's version and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAnswer {
    /// The status.
    pub status: u16,
    /// Fields, without those of framing.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the length is told before (`Content-Length`) instead of sending chunks, as HAProxy does for pages that
    /// it makes on the way.
    pub sized: bool,
    /// Whether it was refused: counted and logged as a denied request. To be asked for a password is none: HAProxy takes
    /// its 401 for an answer like any other.
    pub refused: bool,
}
