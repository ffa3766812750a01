//! The stats page as values: whose request it is, what it asks for, what a form orders, and how the page looks.
//!
//! Reading order: [`spec`] (as configured), [`target`] (what an address asks for), [`origin`] (whether a form was sent
//! from another site), [`password`] (who asks), [`form`] and [`action`] (what is ordered), [`page`] (the
//! page people look at).
//!
//! Not here: reading the request (`frontend`), and carrying an order out (`crate::web`).

pub mod action;
pub mod form;
pub mod human;
pub mod origin;
pub mod page;
pub mod password;
pub mod spec;
pub mod target;

pub use action::{Action, Outcome};
pub use spec::{AccessLevel, PageSpec, UserSpec};
pub use target::{Asked, Form, Page};
