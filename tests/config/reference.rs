//! `docs/CONFIG.md` and the schema say the same.

use std::collections::HashMap;

use lockgate::config::keys;
use serde_json::Value;

/// What a key takes, in a word or two.
fn kind(schema: &Value, definitions: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
        return kind(&definitions[name], definitions);
    }
    if let Some(alternatives) = schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
        let mut parts: Vec<String> = Vec::new();
        for alternative in alternatives {
            let part = kind(alternative, definitions);
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        return parts.join(" or ");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|w| format!("`{w}`")).collect();
        return words.join(" ");
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    match schema["type"].as_str().unwrap_or_default() {
        "integer" => {
            match (schema.get("minimum").and_then(Value::as_u64), schema.get("maximum").and_then(Value::as_u64)) {
                (Some(least), Some(most)) => format!("number {least}–{most}"),
                (Some(least), None) if least > 0 => format!("number from {least}"),
                (None, Some(most)) => format!("number 0–{most}"),
                _ => "number".to_owned(),
            }
        }
        "boolean" => "`true` `false`".to_owned(),
        "array" => format!("list of {}", kind(&schema["items"], definitions)),
        "object" if schema.get("properties").is_none() => {
            format!("map of {}", kind(&schema["additionalProperties"], definitions))
        }
        "object" => "map".to_owned(),
        _ => schema.get("format").and_then(Value::as_str).unwrap_or("text").to_owned(),
    }
}

/// The tables: one per section, a line per key.
fn tables() -> String {
    let schema = lockgate::config::schema();
    let definitions = &schema["$defs"];
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    // A section that can stand in several places has one table; the other places point to it.
    let mut tables_of: HashMap<*const Value, String> = HashMap::new();
    for (path, key_schema) in keys() {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", &path));
        let first = tables_of.entry(std::ptr::from_ref(key_schema)).or_insert_with(|| section.to_owned());
        if first != section {
            if sections.iter().all(|(name, _)| name != section) {
                sections.push((section.to_owned(), vec![format!("The keys of `{first}`.")]));
            }
            continue;
        }
        let text = key_schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let (meaning, default) = match text.split_once("Default: ") {
            Some((meaning, default)) => (meaning.trim(), default.trim().trim_end_matches('.')),
            None if text.ends_with("Required.") => (text.trim_end_matches("Required.").trim(), "required"),
            None => (text.as_str(), ""),
        };
        assert!(!meaning.is_empty(), "{path} is not described");
        let kind = kind(key_schema, definitions);
        let row = format!(
            "| `{key}` | {} | {} | {} |",
            kind.replace('|', "\\|"),
            default.replace('|', "\\|"),
            meaning.replace('|', "\\|")
        );
        match sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, rows)) => rows.push(row),
            None => sections.push((section.to_owned(), vec![row])),
        }
    }
    let mut out = String::new();
    for (section, rows) in sections {
        let title = if section.is_empty() { "The file".to_owned() } else { format!("`{section}`") };
        out.push_str(&format!("### {title}\n\n"));
        if rows.iter().any(|row| row.starts_with('|')) {
            out.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        }
        out.push_str(&format!("{}\n\n", rows.join("\n")));
    }
    out
}

#[test]
fn the_reference_has_every_key() {
    const BEGIN: &str =
        "<!-- tables: begin (made from the schema by `UPDATE_GOLDEN=1 cargo test --test config`) -->\n\n";
    const END: &str = "<!-- tables: end -->\n";
    let path = crate::repository("docs/CONFIG.md");
    let text = std::fs::read_to_string(&path).expect("docs/CONFIG.md is there");
    let begin = text.find(BEGIN).expect("the begin mark") + BEGIN.len();
    let end = text.find(END).expect("the end mark");
    if crate::updating() {
        std::fs::write(&path, format!("{}{}{}", &text[..begin], tables(), &text[end..])).expect("a writable file");
    } else {
        assert!(text[begin..end] == tables(), "docs/CONFIG.md is not what the schema says (UPDATE_GOLDEN=1 renews it)");
    }
}

#[test]
fn keys_of_lists_of_alternatives_are_found() {
    let paths: Vec<String> = keys().into_iter().map(|(path, _)| path).collect();
    for path in [
        "global.admin[].socket",
        "frontends.NAME.bind.tls.certificates",
        "frontends.NAME.routes[].redirect.scheme",
        "frontends.NAME.rate_limits[].rate",
        "frontends.NAME.routes[].header.NAME.present",
        "backends.NAME.servers.NAME.weight",
        "backends.NAME.health_check.tls.ca_file",
        "backends.NAME.maintenance_page.retry_after",
        "defaults.timeouts.tunnel",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path} is missing of {paths:#?}");
    }
}

#[test]
fn every_word_of_the_schema_fits_its_struct() {
    // A word list in the schema and one in the struct could differ only by a mistake in the derive attributes.
    let schema = lockgate::cli::schema::render();
    let parsed: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    assert_eq!(parsed["title"], "lockgate configuration");
    assert!(!schema.contains("\"null\""), "no key takes null");
}
