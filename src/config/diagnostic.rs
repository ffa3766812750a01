//! What is wrong with a configuration, where, and what to do about it.
//!
//! Nothing is decided here: `document`, `shape` and `lower` add diagnostics, this file places and prints them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::Source;
use super::document::{NodeId, Places};

/// Diagnostics kept; a file with more mistakes than this is not a configuration.
const KEPT_MAX: usize = 5_000;
/// Diagnostics printed; the rest is summed up in a line.
const SHOWN_MAX: usize = 100;
/// Bytes of a source line shown around a caret.
const LINE_SHOWN_MAX: usize = 240;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, but its author should look again.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Key path, as `frontends.public.routes[0].backend`; empty when the whole file is meant.
    pub path: String,
    /// Line in the file, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What stands at the caret.
    pub label: String,
    /// What is allowed, what was meant, what to do: one sentence each.
    pub help: Vec<String>,
    span: Option<Range<usize>>,
    related: Option<(Range<usize>, String)>,
    related_at: Option<NodeId>,
    at: Option<NodeId>,
    is_secret: bool,
}

impl Diagnostic {
    fn new(severity: Severity, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            path: String::new(),
            line: 0,
            column: 0,
            message,
            label: String::new(),
            help: Vec::new(),
            span: None,
            related: None,
            related_at: None,
            at: None,
            is_secret: false,
        }
    }

    /// Keeps the line out of the report, which ends up in journals: a password stands there.
    pub(super) fn secret(&mut self) -> &mut Self {
        self.is_secret = true;
        self
    }

    /// Sets what stands at the caret.
    pub(super) fn label(&mut self, text: impl Into<String>) -> &mut Self {
        self.label = text.into();
        self
    }

    /// Adds a sentence of help.
    pub(super) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help.push(text.into());
        self
    }

    /// Points at a second place of the file.
    pub(super) fn related(&mut self, at: NodeId, text: impl Into<String>) -> &mut Self {
        self.related_at = Some(at);
        self.related = Some((0..0, text.into()));
        self
    }

    /// Adds `did you mean …?` when a known word is close to what was written.
    pub(super) fn did_you_mean<'a>(&mut self, written: &str, known: impl IntoIterator<Item = &'a str>) -> &mut Self {
        if let Some(word) = closest(written, known) {
            self.help.push(format!("did you mean `{word}`?"));
        }
        self
    }
}

/// The known word that was probably meant, if any is close: a beginning of it (or it with something behind), or at most
/// two slips of the finger away.
pub(super) fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    if written.len() < 2 || written.len() > 64 || !written.contains(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let score = |word: &str| {
        let word = word.to_ascii_lowercase();
        let slips = strsim::damerau_levenshtein(&written, &word);
        let near = slips <= 2.min(written.len().max(word.len()) / 3);
        let begun = word.starts_with(&written) || written.starts_with(&word);
        (near || begun).then(|| strsim::jaro_winkler(&written, &word) - 0.1 * slips as f64)
    };
    known
        .into_iter()
        .filter(|word| word.len() <= 64)
        .filter_map(|word| Some((score(word)?, word)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Everything that was found in a file, in the order of its lines.
#[derive(Debug, Clone)]
pub struct Report {
    file: String,
    text: Arc<str>,
    places: Places,
    diagnostics: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
    /// Maps and lists of which something was left out because it is wrong.
    damaged: HashSet<NodeId>,
    /// Takes what is not to be said.
    unsaid: Diagnostic,
}

impl Report {
    /// A report about a file of which nothing is known yet. A byte-order mark is not part of the text.
    pub(super) fn new(source: &Source) -> Report {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
        Report {
            file: source.name.clone(),
            text: text.into(),
            places: Places::default(),
            diagnostics: Vec::new(),
            dropped: 0,
            errors: 0,
            damaged: HashSet::new(),
            unsaid: Diagnostic::new(Severity::Error, String::new()),
        }
    }

    /// A report that only says the file could not be read.
    pub fn unreadable(name: &str, error: &std::io::Error) -> Report {
        let mut report = Report::new(&Source { name: name.to_owned(), text: String::new() });
        report.file_error(format!("cannot read the file: {error}"));
        report
    }

    /// Everything found, in file order.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The file's name, as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether the file is refused.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors there are.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// How many warnings there are.
    pub fn warning_count(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Warning).count()
    }

    /// `3 errors, 1 warning`; empty when there is nothing to say.
    pub fn tally(&self) -> String {
        let count = |n: usize, word: &str| match n {
            0 => None,
            1 => Some(format!("1 {word}")),
            n => Some(format!("{n} {word}s")),
        };
        let parts = [count(self.error_count(), "error"), count(self.warning_count(), "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// One line per diagnostic, `conf.yaml:12:5: error: frontends.public: …`, for logs and the admin socket.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.diagnostics.iter().map(|d| {
            let place = if d.line == 0 { String::new() } else { format!(":{}:{}", d.line, d.column) };
            format!("{}{place}: {}: {}", self.file, d.severity.word(), title(d))
        })
    }

    /// The report for people: each diagnostic with its source line, a caret and help.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(SHOWN_MAX) {
            out.push_str(&self.render_one(diagnostic, &renderer));
            out.push_str("\n\n");
        }
        let hidden = self.diagnostics.len().saturating_sub(SHOWN_MAX) + self.dropped;
        if hidden > 0 {
            let _ = writeln!(out, "and {hidden} more\n");
        }
        out
    }

    fn render_one(&self, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(title(diagnostic)));
        if diagnostic.is_secret {
            let place = annotate_snippets::Origin::path(self.file.as_str());
            group = group.element(place.line(diagnostic.line).char_column(diagnostic.column));
        } else if let Some(span) = &diagnostic.span {
            group = group.element(self.excerpt(span, AnnotationKind::Primary, &diagnostic.label));
            if let Some((span, text)) = &diagnostic.related {
                group = group.element(self.excerpt(span, AnnotationKind::Context, text));
            }
        } else {
            group = group.element(annotate_snippets::Origin::path(self.file.as_str()));
        }
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The one line a span begins on, cut to what fits a screen.
    fn excerpt(
        &self,
        span: &Range<usize>,
        kind: AnnotationKind,
        label: &str,
    ) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let line_start = self.text.get(..span.start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let mut shown = line.len().min((span.start - line_start).saturating_add(LINE_SHOWN_MAX));
        while !line.is_char_boundary(shown) {
            shown -= 1;
        }
        let line = line.get(..shown).unwrap_or_default();
        let start = (span.start - line_start).min(line.len());
        let mut end = (span.end.saturating_sub(line_start)).clamp(start, line.len());
        while !line.is_char_boundary(end) {
            end += 1;
        }
        let mut annotation = kind.span(start..end);
        if !label.is_empty() {
            annotation = annotation.label(label.to_owned());
        }
        Snippet::source(line).line_start(self.line_of(span.start)).path(self.file.as_str()).annotation(annotation)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
    }

    /// The text diagnostics point into.
    pub(super) fn text_arc(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Tells where nodes stand; before this only errors with their own span can be added.
    pub(super) fn locate(&mut self, places: Places) {
        self.places = places;
    }

    /// Adds an error about the whole file.
    pub(super) fn file_error(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, message.into())
    }

    /// Adds an error at a span of the text, in bytes.
    pub(super) fn error_at(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        let diagnostic = self.add(Severity::Error, message.into());
        diagnostic.span = Some(span);
        diagnostic
    }

    /// Adds an error at a value.
    pub(super) fn error(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        let diagnostic = self.add(Severity::Error, message.into());
        diagnostic.at = Some(at);
        diagnostic
    }

    /// Adds an error about something that is missing in a map or list, unless something in it was left out because it
    /// is wrong: that has been reported, and may be just what is missed.
    pub(super) fn missing(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        if self.damaged.contains(&at) { &mut self.unsaid } else { self.error(at, message) }
    }

    /// The path of a value, once places are known.
    pub(super) fn path(&self, at: NodeId) -> String {
        self.places.path(at)
    }

    /// The line of a value, from 1 on.
    pub(super) fn line_at(&self, at: NodeId) -> u32 {
        let start = self.places.span(at).map_or(0, |span| span.start);
        let before = self.text.as_bytes().get(..start).unwrap_or_default();
        u32::try_from(memchr::memchr_iter(b'\n', before).count() + 1).unwrap_or(u32::MAX)
    }

    /// Whether something in a map or list was left out.
    pub(super) fn is_damaged(&self, at: NodeId) -> bool {
        self.damaged.contains(&at)
    }

    /// Notes that something in a map or list was left out.
    pub(super) fn damage(&mut self, at: NodeId) {
        self.damaged.insert(at);
    }

    /// Adds a warning at a value.
    pub(super) fn warning(&mut self, at: NodeId, message: impl Into<String>) -> &mut Diagnostic {
        let diagnostic = self.add(Severity::Warning, message.into());
        diagnostic.at = Some(at);
        diagnostic
    }

    fn add(&mut self, severity: Severity, message: String) -> &mut Diagnostic {
        if severity == Severity::Error {
            self.errors += 1;
        }
        if self.diagnostics.len() == KEPT_MAX {
            self.dropped += 1;
            self.diagnostics.pop();
        }
        self.diagnostics.push(Diagnostic::new(severity, message));
        self.diagnostics.last_mut().expect("one was just pushed")
    }

    /// Places every diagnostic, sorts them by line and says each once.
    pub(super) fn finish(&mut self) {
        let mut counter = LineCounter::new(&self.text);
        for diagnostic in &mut self.diagnostics {
            if let Some(at) = diagnostic.at {
                diagnostic.span = self.places.span(at);
                diagnostic.path = self.places.path(at);
            }
            if let (Some(at), Some((span, _))) = (diagnostic.related_at, diagnostic.related.as_mut()) {
                *span = self.places.span(at).unwrap_or(0..0);
            }
        }
        self.diagnostics.sort_by_key(|d| d.span.as_ref().map_or(0, |s| s.start));
        let mut seen = HashSet::new();
        self.diagnostics.retain(|d| seen.insert((d.span.clone(), d.message.clone())));
        for diagnostic in &mut self.diagnostics {
            if let Some(span) = &diagnostic.span {
                (diagnostic.line, diagnostic.column) = counter.position(span.start);
            }
        }
        self.errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count() + self.dropped;
    }
}

/// `path: message`, as shown in the first line.
fn title(diagnostic: &Diagnostic) -> String {
    if diagnostic.path.is_empty() {
        diagnostic.message.clone()
    } else {
        format!("{}: {}", diagnostic.path, diagnostic.message)
    }
}

/// Turns rising byte offsets into lines and columns in one pass over the text.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> LineCounter<'a> {
    fn new(text: &'a str) -> Self {
        LineCounter { text, at: 0, line: 1, column: 1 }
    }

    fn position(&mut self, offset: usize) -> (usize, usize) {
        for passed in self.text.get(self.at..offset).unwrap_or_default().chars() {
            if passed == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = self.at.max(offset);
        (self.line, self.column)
    }
}
