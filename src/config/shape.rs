//! Holds a file against the schema of `raw`: unknown keys, wrong types, unknown words, numbers out of range.
//!
//! All of them are reported in one go; what is wrong is left out, and the rest is filled into the raw structs, so that
//! `lower` finds the other mistakes of the same file. Rules that take more than one value to judge are in `lower`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::diagnostic::{Report, closest};
use super::document::{Content, Node, ROOT};
use super::foreign;
use super::raw::{At, File};

/// The JSON schema of a configuration file.
pub(super) fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(File).to_value();
        forget_null(&mut schema);
        if let Some(top) = schema.as_object_mut() {
            top.insert("title".to_owned(), "lockgate configuration".into());
        }
        schema
    })
}

/// Fills the raw structs from a tree. `None` when not even the top level is a map.
pub(super) fn fill(root: &Node, report: &mut Report) -> Option<At<File>> {
    let mut shape = Shape { report, definitions: schema().get("$defs") };
    let value = shape.value(root, schema())?;
    match serde_json::from_value(place(root, value)) {
        Ok(file) => Some(file),
        Err(error) => {
            // The schema is derived from the structs, so this cannot happen; if it ever does, it is said, not hidden.
            report.error(ROOT, format!("the file does not fit its own schema: {error}"));
            None
        }
    }
}

/// A value together with its place, as `raw::At` reads it.
fn place(node: &Node, value: Value) -> Value {
    Value::Array(vec![node.id.0.into(), value])
}

struct Shape<'a> {
    report: &'a mut Report,
    definitions: Option<&'static Value>,
}

impl Shape<'_> {
    fn value(&mut self, node: &Node, schema: &'static Value) -> Option<Value> {
        let branches = self.branches(schema);
        if node.is_empty_value() {
            let diagnostic = self.report.error(node.id, "there is no value");
            diagnostic.help(format!("give {}, or remove the key", describe_all(&branches)));
            if branches.iter().any(|b| type_of(b) == "object") {
                diagnostic.help("what belongs to a key stands below it, further to the right");
            }
            return None;
        }
        match &node.content {
            Content::Map(_) => match branches.iter().find(|b| type_of(b) == "object") {
                Some(branch) => self.map(node, branch),
                None => self.mismatch(node, &branches),
            },
            Content::List(items) => match branches.iter().find(|b| type_of(b) == "array") {
                Some(branch) => {
                    let item_schema = branch.get("items")?;
                    let mut values = Vec::with_capacity(items.len());
                    for item in items {
                        match self.value(item, item_schema) {
                            Some(value) => values.push(place(item, value)),
                            None => self.report.damage(node.id),
                        }
                    }
                    Some(Value::Array(values))
                }
                None => self.mismatch(node, &branches),
            },
            Content::Scalar { text, plain } => self.scalar(node, text, *plain, &branches),
        }
    }

    /// The alternatives of a schema, references followed.
    fn branches(&self, schema: &'static Value) -> Vec<&'static Value> {
        let schema = self.resolve(schema);
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(alternatives) => alternatives.iter().flat_map(|a| self.branches(a)).collect(),
            None => vec![schema],
        }
    }

    fn resolve(&self, schema: &'static Value) -> &'static Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
        match name.and_then(|name| self.definitions?.get(name)) {
            Some(definition) => definition,
            None => schema,
        }
    }

    fn map(&mut self, node: &Node, schema: &'static Value) -> Option<Value> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            let value_schema = schema.get("additionalProperties")?;
            let mut named = Vec::new();
            for entry in node.entries() {
                let Some(value) = self.value(&entry.value, value_schema) else {
                    self.report.damage(node.id);
                    continue;
                };
                let key = Value::Array(vec![entry.key_id.0.into(), entry.key.as_str().into()]);
                named.push(Value::Array(vec![key, place(&entry.value, value)]));
            }
            return Some(Value::Array(named));
        };
        let mut object = Map::new();
        for entry in node.entries() {
            let Some(schema) = properties.get(&entry.key) else {
                self.unknown_key(entry.key_id, &entry.key, properties);
                self.report.damage(node.id);
                continue;
            };
            match self.value(&entry.value, schema) {
                Some(value) => {
                    object.insert(entry.key.clone(), place(&entry.value, value));
                }
                None => self.report.damage(node.id),
            }
        }
        Some(Value::Object(object))
    }

    fn unknown_key(&mut self, at: super::document::NodeId, key: &str, properties: &Map<String, Value>) {
        let known = || properties.keys().map(String::as_str);
        let section = self.report.path(at).rsplit('.').nth(1).map(str::to_owned);
        let diagnostic = self.report.error(at, format!("unknown key `{}`", shorten(key)));
        let sentence = foreign::sentence(key);
        let synonym = foreign::synonym(key).filter(|word| properties.contains_key(*word));
        // A word that another program knows is no slip of the finger: `mode` is not `node`.
        let meant = || closest(key, known()).filter(|word| sentence.is_none() || word.starts_with(key));
        let meant = synonym.or_else(meant);
        if let Some(word) = meant {
            diagnostic.label(format!("did you mean `{word}`?"));
        }
        match (sentence, elsewhere().get(key)) {
            (Some(sentence), _) => {
                diagnostic.help(sentence);
            }
            (None, Some(places)) if meant.is_none() => {
                // `limits.body` is more likely meant for other `limits` than for a `health_check`.
                let mut places: Vec<_> = places.iter().collect();
                places.sort_by_key(|place| place.rsplit('.').next() != section.as_deref());
                let places: Vec<_> = places.iter().take(3).map(|p| format!("`{p}`")).collect();
                diagnostic.label("not here").help(format!("`{key}` is a key of {}", any_of(&places)));
            }
            _ => {}
        }
        let mut names: Vec<_> = known().collect();
        names.sort_unstable();
        diagnostic.help(format!("known here: `{}`", names.join("`, `")));
    }

    fn scalar(&mut self, node: &Node, text: &str, plain: bool, branches: &[&'static Value]) -> Option<Value> {
        let words = || branches.iter().flat_map(|b| words_of(b));
        if words().any(|word| word == text) {
            return Some(text.into());
        }
        for branch in branches {
            match type_of(branch) {
                "boolean" if plain && matches!(text, "true" | "false") => return Some((text == "true").into()),
                "integer" if plain => {
                    if let Ok(number) = text.replace('_', "").parse::<i128>() {
                        return self.number(node, number, branch);
                    }
                }
                "string" if words_of(branch).next().is_none() => return Some(text.into()),
                _ => {}
            }
        }
        self.mismatch(node, branches)
    }

    fn number(&mut self, node: &Node, number: i128, schema: &Value) -> Option<Value> {
        let (least, most) = range_of(schema);
        if number < least {
            self.report
                .error(node.id, format!("{number} is too small"))
                .help(format!("the smallest allowed is {least}"));
            return None;
        }
        if number > most {
            self.report.error(node.id, format!("{number} is too large")).help(format!("the largest allowed is {most}"));
            return None;
        }
        u64::try_from(number).ok().map(Value::from)
    }

    /// Reports a value of the wrong kind.
    fn mismatch(&mut self, node: &Node, branches: &[&'static Value]) -> Option<Value> {
        let expected = describe_all(branches);
        let words: Vec<&str> = branches.iter().flat_map(|b| words_of(b)).collect();
        let has = |kind: &str| branches.iter().any(|b| type_of(b) == kind);
        match &node.content {
            Content::Scalar { text, plain } => {
                let shown = shorten(text);
                let diagnostic = self.report.error(node.id, format!("`{shown}` is not {expected}"));
                if let Some(word) = closest(text, words.iter().copied()) {
                    diagnostic.label(format!("did you mean `{word}`?"));
                } else if has("boolean") && matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true" | "1") {
                    diagnostic.label("did you mean `true`?");
                } else if has("boolean") && matches!(text.to_ascii_lowercase().as_str(), "no" | "off" | "false" | "0") {
                    diagnostic.label("did you mean `false`?");
                } else if !plain && has("integer") && text.parse::<u64>().is_ok() {
                    diagnostic.label("remove the quotes");
                } else if has("object") && !text.contains(' ') && begins_like_a_key(text) {
                    diagnostic.help("a key is followed by a colon and a space");
                } else if let Some(keys) = keys_of(branches) {
                    diagnostic.help(keys);
                } else if has("array") {
                    diagnostic.help("a list is written `[a, b]`, or one `- item` per line");
                }
            }
            Content::List(_) => {
                let diagnostic = self.report.error(node.id, format!("a list stands where {expected} belongs"));
                if let Some(keys) = keys_of(branches) {
                    diagnostic.help(keys);
                }
            }
            Content::Map(_) => {
                let diagnostic = self.report.error(node.id, format!("a map stands where {expected} belongs"));
                if has("array") {
                    diagnostic.help("put `- ` in front of each item");
                }
            }
        }
        None
    }
}

/// Whether a text may be `key:value`.
fn begins_like_a_key(text: &str) -> bool {
    let key = text.split_once(':').map_or("", |(key, _)| key);
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// How the map among some alternatives is written.
fn keys_of(branches: &[&'static Value]) -> Option<String> {
    let map = branches.iter().find(|b| type_of(b) == "object")?;
    let Some(properties) = map.get("properties").and_then(Value::as_object) else {
        return Some("a map has one `NAME: VALUE` a line, without `- ` in front".to_owned());
    };
    let mut names: Vec<_> = properties.keys().map(String::as_str).collect();
    names.sort_unstable();
    Some(format!("a map has one `KEY: VALUE` a line; known here: `{}`", names.join("`, `")))
}

fn type_of(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The words a schema allows; none when it takes any text.
fn words_of(schema: &'static Value) -> impl Iterator<Item = &'static str> {
    let list = schema.get("enum").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().chain(schema.get("const")).filter_map(Value::as_str)
}

/// The smallest and largest number a schema allows.
fn range_of(schema: &Value) -> (i128, i128) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64).map(i128::from);
    let most = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => i128::from(u8::MAX),
        Some("uint16") => i128::from(u16::MAX),
        Some("uint32") => i128::from(u32::MAX),
        _ => i128::from(u64::MAX),
    };
    (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(most).min(most))
}

/// What a schema asks for, in words: `a duration`, `true or false`, `a whole number from 1 to 256`.
fn describe(schema: &'static Value) -> String {
    match type_of(schema) {
        "boolean" => "`true` or `false`".to_owned(),
        "integer" => match range_of(schema) {
            (0, most) if most >= i128::from(u32::MAX) => "a whole number".to_owned(),
            (least, most) if most >= i128::from(u32::MAX) => format!("a whole number, at least {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        },
        "array" => "a list".to_owned(),
        "object" => "a map".to_owned(),
        _ => match schema.get("format").and_then(Value::as_str) {
            Some("text") | None => "text".to_owned(),
            Some(format) if format.starts_with(['a', 'i']) => format!("an {format}"),
            Some(format) => format!("a {format}"),
        },
    }
}

fn describe_all(schemas: &[&'static Value]) -> String {
    // Words of several alternatives form one list.
    let mut parts: Vec<String> = schemas.iter().flat_map(|s| words_of(s)).map(|word| format!("`{word}`")).collect();
    for part in schemas.iter().filter(|s| words_of(s).next().is_none()).map(|s| describe(s)) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    any_of(&parts)
}

/// `a, b or c`
pub(super) fn any_of(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The start of a written text, for a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Where each key is known, for keys that stand in the wrong section.
fn elsewhere() -> &'static BTreeMap<String, Vec<String>> {
    static INDEX: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = BTreeMap::new();
        for (path, _) in super::keys() {
            if let Some((section, key)) = path.rsplit_once('.') {
                index.entry(key.to_owned()).or_insert_with(Vec::new).push(section.to_owned());
            }
        }
        index
    })
}

/// Every key of the file as a path (`frontends.NAME.bind[].address`) with its schema, in the order of the structs.
pub(super) fn walk(schema: &'static Value, path: &str, found: &mut Vec<(String, &'static Value)>) {
    let definitions = self::schema().get("$defs");
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
    let schema = name.and_then(|name| definitions?.get(name)).unwrap_or(schema);
    for alternative in
        schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array).into_iter().flatten()
    {
        // A list of alternatives is shown by its single form.
        let list_of_the_same = type_of(alternative) == "array"
            && schema.get("anyOf").is_some_and(|a| a.as_array().is_some_and(|a| a.len() > 1));
        if !list_of_the_same {
            walk(alternative, path, found);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), found);
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (key, value) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            found.push((path.clone(), value));
            walk(value, &path, found);
        }
    }
    if let Some(named) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        walk(named, &format!("{path}.NAME"), found);
    }
}

/// Removes the `null` alternatives that optional fields bring along: a key without a value is a mistake here.
fn forget_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|w| !w.is_null());
            }
            if let Some(Value::Array(alternatives)) = map.get_mut("anyOf") {
                alternatives.retain(|a| a.get("type").and_then(Value::as_str) != Some("null"));
                if let [Value::Object(only)] = alternatives.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            map.values_mut().for_each(forget_null);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_null),
        _ => {}
    }
}
