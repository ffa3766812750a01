//! The configuration: written (a YAML file) → validated ([`model`]).
//!
//! Reading order: `document` turns YAML text into a tree that knows where everything stands; `shape` holds the tree
//! against the schema of `raw` (unknown keys, wrong types) and fills the raw structs; `lower` checks every rule and
//! builds the [`Model`]; `foreign` knows what other programs say instead. Each of them adds to one [`Report`], so that an operator sees all mistakes in one run.
//! What concerns the machine (files, users, limits) is asked of an [`Environment`].
//!
//! Not here: what is done with a model (`control`), and sockets, which a check never opens.

pub mod diagnostic;
mod document;
pub mod environment;
mod foreign;
mod lower;
pub mod model;
mod raw;
mod shape;
mod syntax;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use environment::{Environment, Host, Nothing};
pub use model::Model;

/// A configuration file in memory.
#[derive(Debug, Clone)]
pub struct Source {
    /// File name, as shown in diagnostics.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Reads a configuration. The model is there exactly when the report has no error; warnings may come with it.
///
/// Never panics and never takes long, whatever the text: size, depth and the number of values are limited.
pub fn load(source: &Source, environment: &dyn Environment) -> (Option<Model>, Report) {
    let mut report = Report::new(source);
    let Some(document) = document::parse(report.text_arc().as_ref(), &mut report) else {
        report.finish();
        return (None, report);
    };
    report.locate(document.places);
    let file = shape::fill(&document.root, &mut report);
    let names = lower::Names::of(&document.root);
    let model = file.and_then(|file| lower::lower(&file, &names, environment, &mut report));
    report.finish();
    if report.has_errors() { (None, report) } else { (model, report) }
}

/// The JSON schema of a configuration file, for editors (`lockgate schema`).
pub fn schema() -> serde_json::Value {
    shape::schema().clone()
}

/// Every key of a configuration file as a path (`frontends.NAME.bind.address`), with its schema. The reference in
/// `docs/CONFIG.md` is made of this.
pub fn keys() -> Vec<(String, &'static serde_json::Value)> {
    let mut found = Vec::new();
    shape::walk(shape::schema(), "", &mut found);
    found
}

/// Entry point for fuzzing: reads any text on a machine that has no files.
pub fn fuzz_config(text: &str) {
    let source = Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let (model, report) = load(&source, &Nothing);
    assert_eq!(model.is_none(), report.has_errors(), "a model exactly when nothing is wrong");
    let _ = report.render(false);
}
