//! YAML text → a tree of values that knows where each of them stands.
//!
//! Refused here: what is not YAML, duplicate keys, tags, keys that are not text, several documents, and files whose
//! size, depth or number of values (aliases counted as often as they are used) is not that of a configuration.
//! Aliases and merge keys (`<<: *name`) are resolved. What keys mean is `shape`'s and `lower`'s business.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::diagnostic::Report;
use super::syntax;

/// The largest file read.
const TEXT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The deepest nesting of maps and lists; the schema itself needs 9.
const DEPTH_MAX: usize = 32;
/// Values in a file, aliases expanded.
const NODES_MAX: usize = 400_000;

/// Names one value of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(pub u32);

/// The root of every file.
pub(super) const ROOT: NodeId = NodeId(0);

/// A parsed file.
#[derive(Debug)]
pub(super) struct Document {
    /// The top-level value.
    pub root: Node,
    /// Where every value stands.
    pub places: Places,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub id: NodeId,
    pub content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Text as written; `plain` when it stands without quotes, so that it may also be a number or a boolean.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    /// The key as a place of its own.
    pub key_id: NodeId,
    pub value: Node,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether nothing was written: `key:` and no value.
    pub fn is_empty_value(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Where values stand, and what they are called.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    places: Vec<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    parent: NodeId,
    segment: Segment,
    span: Range<usize>,
}

#[derive(Debug, Clone)]
enum Segment {
    Root,
    Key(Box<str>),
    Index(usize),
}

impl Places {
    /// The bytes to point at.
    pub fn span(&self, id: NodeId) -> Option<Range<usize>> {
        self.places.get(id.0 as usize).map(|p| p.span.clone())
    }

    /// `frontends.public.routes[0].backend`
    pub fn path(&self, id: NodeId) -> String {
        let mut segments = Vec::new();
        let mut at = id;
        while let Some(place) = self.places.get(at.0 as usize) {
            match &place.segment {
                Segment::Root => break,
                segment => segments.push(segment),
            }
            at = place.parent;
        }
        let mut path = String::new();
        for segment in segments.into_iter().rev() {
            match segment {
                Segment::Root => {}
                Segment::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.extend(key.chars().take(80));
                }
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    fn add(&mut self, parent: NodeId, segment: Segment, span: Range<usize>) -> NodeId {
        let id = NodeId(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.places.push(Place { parent, segment, span });
        id
    }

    fn set_span(&mut self, id: NodeId, span: Range<usize>) {
        if let Some(place) = self.places.get_mut(id.0 as usize) {
            place.span = span;
        }
    }

    fn full(&self) -> bool {
        self.places.len() >= NODES_MAX
    }
}

/// Parses a file. `None` when no tree could be built at all; then the report says why.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Document> {
    if text.len() > TEXT_MAX_BYTES {
        report
            .file_error(format!("the file is {} bytes long, {} at most are read", text.len(), TEXT_MAX_BYTES))
            .help("a configuration of this size is not one; is this the right file?");
        return None;
    }
    let offsets = Offsets::new(text);
    let mut builder = Builder {
        report,
        offsets: &offsets,
        places: Places::default(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = offsets.byte(error.marker().index());
                syntax::explain(builder.report, text, at, error.info());
                return None;
            }
        };
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents == 2 {
                let range = offsets.range(span);
                builder
                    .report
                    .error_at(range, "a second document begins here")
                    .help("a configuration is one YAML document: remove the `---`");
                return None;
            }
        }
        builder.take(event, span)?;
    }
    if matches!(&builder.root, Some(Node { content: Content::Scalar { .. }, .. }))
        && syntax::refuse_other_program(builder.report, text)
    {
        return None;
    }
    match builder.root {
        Some(root) if !root.is_empty_value() => Some(Document { root, places: builder.places }),
        _ => {
            builder.report.file_error("the file is empty").help("the least that works is in conf/minimal.yaml");
            None
        }
    }
}

struct Builder<'a> {
    report: &'a mut Report,
    offsets: &'a Offsets,
    places: Places,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
}

/// A map or list whose end has not come yet.
struct Open {
    id: NodeId,
    anchor: usize,
    start: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, NodeId>, key: Option<(String, NodeId)>, merges: Vec<Node> },
}

impl Builder<'_> {
    /// Takes the next event; `None` stops reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let range = self.offsets.range(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    self.refuse_tag(range.clone());
                }
                if self.expects_key() {
                    self.take_key(text.into_owned(), range);
                    return Some(());
                }
                let nothing = text.is_empty() && style == ScalarStyle::Plain;
                let id = self.open_place(if nothing { self.key_span().unwrap_or(range) } else { range })?;
                let node = Node {
                    id,
                    content: Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain },
                };
                self.put(node, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                if tag.is_some() {
                    self.refuse_tag(range.clone());
                }
                self.open(range, anchor, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    self.refuse_tag(range.clone());
                }
                let kind = OpenKind::Map { entries: Vec::new(), seen: HashMap::new(), key: None, merges: Vec::new() };
                self.open(range, anchor, kind)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::Alias(anchor) => {
                if self.expects_key() {
                    self.report.error_at(range, "an alias cannot be a key").help("write the key itself");
                    return None;
                }
                let Some(original) = self.anchors.get(&anchor).cloned() else {
                    self.report
                        .error_at(range, "this alias stands inside the value it names")
                        .help("a value cannot contain itself");
                    return None;
                };
                let id = self.open_place(range)?;
                let copy = self.copy(&original, id)?;
                self.put(copy, 0);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Some(())
    }

    fn refuse_tag(&mut self, range: Range<usize>) {
        self.report
            .error_at(range, "tags (`!name`) have no meaning here")
            .help("remove the tag; quotes make text of a number");
    }

    /// Whether the innermost open map waits for a key.
    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { kind: OpenKind::Map { key: None, .. }, .. }))
    }

    /// The key whose value is being read.
    fn key_span(&self) -> Option<Range<usize>> {
        match self.stack.last() {
            Some(Open { kind: OpenKind::Map { key: Some((_, key_id)), .. }, .. }) => self.places.span(*key_id),
            _ => None,
        }
    }

    fn take_key(&mut self, text: String, range: Range<usize>) {
        let Some(Open { id, kind: OpenKind::Map { seen, key, .. }, .. }) = self.stack.last_mut() else {
            return;
        };
        let key_id = self.places.add(*id, Segment::Key(text.as_str().into()), range);
        if let Some(first) = seen.get(&text) {
            let first = self.places.span(*first).unwrap_or(0..0);
            let line = self.offsets.line(first.start);
            self.report
                .error_at(self.places.span(key_id).unwrap_or(0..0), format!("duplicate key `{text}`"))
                .label("this would hide the first one")
                .help(format!("`{text}` already stands in line {line}; keep one of them"));
        } else if text != "<<" {
            seen.insert(text.clone(), key_id);
        }
        *key = Some((text, key_id));
    }

    /// A new place for a value of the innermost open map or list.
    fn open_place(&mut self, range: Range<usize>) -> Option<NodeId> {
        if self.places.full() {
            self.report
                .error_at(range, format!("more than {NODES_MAX} values"))
                .help("aliases count as often as they are used");
            return None;
        }
        let (parent, segment) = match self.stack.last() {
            None => (ROOT, Segment::Root),
            Some(Open { id, kind: OpenKind::List(items), .. }) => (*id, Segment::Index(items.len())),
            Some(Open { id, kind: OpenKind::Map { key, .. }, .. }) => {
                let name = key.as_ref().map_or("", |(text, _)| text.as_str());
                (*id, Segment::Key(name.into()))
            }
        };
        Some(self.places.add(parent, segment, range))
    }

    fn open(&mut self, range: Range<usize>, anchor: usize, kind: OpenKind) -> Option<()> {
        if self.expects_key() {
            self.report.error_at(range, "a key must be text").help("lists and maps cannot be keys");
            return None;
        }
        if self.stack.len() >= DEPTH_MAX {
            self.report.error_at(range, format!("nested deeper than {DEPTH_MAX} levels"));
            return None;
        }
        let start = range.start;
        let id = self.open_place(range)?;
        self.stack.push(Open { id, anchor, start, kind });
        Some(())
    }

    fn close(&mut self, end: usize) {
        let Some(open) = self.stack.pop() else { return };
        let content = match open.kind {
            OpenKind::List(items) => Content::List(items),
            OpenKind::Map { mut entries, merges, .. } => {
                if !merges.is_empty() {
                    let mut known = entries.iter().map(|e| e.key.clone()).collect();
                    for merge in merges {
                        self.merge(merge, &mut entries, &mut known);
                    }
                }
                Content::Map(entries)
            }
        };
        // A value behind a key is best pointed at by its key; an item of a list by its own text.
        match self.stack.last() {
            Some(Open { kind: OpenKind::Map { key: Some((_, key_id)), .. }, .. }) => {
                let span = self.places.span(*key_id).unwrap_or(open.start..end);
                self.places.set_span(open.id, span);
            }
            _ => self.places.set_span(open.id, open.start..end.max(open.start)),
        }
        self.put(Node { id: open.id, content }, open.anchor);
    }

    /// Puts a finished value into the innermost open map or list.
    fn put(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, key, merges, seen }) => {
                let Some((name, key_id)) = key.take() else { return };
                if name == "<<" {
                    merges.push(node);
                } else if seen.get(&name) == Some(&key_id) {
                    entries.push(Entry { key: name, key_id, value: node });
                }
            }
        }
    }

    /// `<<: *other`: what the map itself does not say comes from the other.
    fn merge(&mut self, merged: Node, entries: &mut Vec<Entry>, known: &mut HashSet<String>) {
        match merged.content {
            Content::Map(others) => {
                entries.extend(others.into_iter().filter(|other| known.insert(other.key.clone())));
            }
            Content::List(items) => items.into_iter().for_each(|item| self.merge(item, entries, known)),
            Content::Scalar { .. } => {
                let span = self.places.span(merged.id).unwrap_or(0..0);
                self.report.error_at(span, "`<<` takes a map").help("write `<<: *name`, where `&name` marks a map");
            }
        }
    }

    /// Copies an anchored value to the place of an alias, with places of its own.
    fn copy(&mut self, node: &Node, id: NodeId) -> Option<Node> {
        let content = match &node.content {
            Content::Scalar { text, plain } => Content::Scalar { text: text.clone(), plain: *plain },
            Content::List(items) => {
                let mut copies = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let item_id = self.copy_place(item.id, id, Segment::Index(index))?;
                    copies.push(self.copy(item, item_id)?);
                }
                Content::List(copies)
            }
            Content::Map(entries) => {
                let mut copies = Vec::with_capacity(entries.len());
                for entry in entries {
                    let key_id = self.copy_place(entry.key_id, id, Segment::Key(entry.key.as_str().into()))?;
                    let value_id = self.copy_place(entry.value.id, id, Segment::Key(entry.key.as_str().into()))?;
                    copies.push(Entry { key: entry.key.clone(), key_id, value: self.copy(&entry.value, value_id)? });
                }
                Content::Map(copies)
            }
        };
        Some(Node { id, content })
    }

    fn copy_place(&mut self, original: NodeId, parent: NodeId, segment: Segment) -> Option<NodeId> {
        let span = self.places.span(original).unwrap_or(0..0);
        if self.places.full() {
            self.report
                .error_at(span, format!("more than {NODES_MAX} values"))
                .help("aliases count as often as they are used");
            return None;
        }
        Some(self.places.add(parent, segment, span))
    }
}

/// The parser counts characters, everything else counts bytes.
struct Offsets {
    /// Byte offset of each character; empty when the text is ASCII and both are the same.
    bytes: Vec<u32>,
    lines: Vec<usize>,
    len: usize,
}

impl Offsets {
    fn new(text: &str) -> Offsets {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect()
        };
        let lines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        Offsets { bytes, lines, len: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() {
            return character.min(self.len);
        }
        self.bytes.get(character).map_or(self.len, |at| *at as usize)
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|newline| *newline < byte) + 1
    }
}
