//! The page people look at: one self-contained HTML document.
//!
//! `view` reads state and counters into the words and numbers of the page; `page.html` lays them out, `page.css` and
//! `page.js` stand in the document itself, so that a browser loads nothing else. Without scripts the page works as
//! HAProxy's does: a form per backend.
//!
//! What tools look for in the HTML: `HAProxy version …, released …`, `uptime = </b> …` and `idle = … %`.

mod state;
mod view;

use askama::Template as _;

use super::{AccessLevel, Asked, PageSpec};
use crate::core::stats::{ProcessFacts, View};

pub use state::Mood;

/// The style sheet in the document, to the byte: content security policies name its hash.
pub const STYLE: &str = include_str!("page.css");
/// The script in the document, to the byte.
pub const SCRIPT: &str = include_str!("page.js");

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// State and counters.
    pub view: &'a View<'a>,
    /// What the process knows of itself.
    pub facts: &'a ProcessFacts,
    /// The page as configured.
    pub spec: &'a PageSpec,
    /// What is asked for.
    pub asked: &'a Asked,
    /// What who looks may do.
    pub level: AccessLevel,
    /// Who looks, if known.
    pub user: Option<&'a str>,
}

/// Renders the page.
pub fn render(look: &Look<'_>) -> String {
    view::Page::of(look).render().expect("writing to a String cannot fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_loads_nothing_and_its_parts_end_where_they_should() {
        for part in [STYLE, SCRIPT] {
            for outside in ["http:", "https:", "url(", "@import", "import("] {
                assert!(!part.contains(outside), "{outside}");
            }
            assert!(!part.contains("</") && !part.contains('\r'), "what is hashed is what the browser reads");
        }
    }

    #[test]
    fn every_state_has_a_sign_a_word_and_a_colour_of_its_own() {
        for (n, mood) in Mood::ALL.iter().enumerate() {
            assert!(STYLE.contains(&format!(".{}{{--c:", mood.class())), "{}", mood.class());
            for other in &Mood::ALL[n + 1..] {
                assert!(mood.sign() != other.sign() && mood.class() != other.class());
                assert_ne!(mood.meaning(), other.meaning());
            }
        }
    }
}
