//! docs/HAPROXY_COMPAT.md names every difference of the admin socket: the section is made from the list of differences.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::replay::{differences, recordings};

const BEGIN: &str = "<!-- admin socket: made from tests/lab/differences.txt -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_compatibility_page_names_every_difference_of_the_admin_socket() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/HAPROXY_COMPAT.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the admin socket's differences");
    let (_, after) = rest.split_once(END).expect("the place ends");
    let expected = format!("{before}{BEGIN}{}{END}{after}", section());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap();
    assert!(found == expected, "docs/HAPROXY_COMPAT.md is out of date: UPDATE_GOLDEN=1 writes it anew");
}

/// The commands under each reason.
fn section() -> String {
    let commands: BTreeMap<String, String> = recordings()
        .into_iter()
        .map(|recording| (recording.name.clone(), shown(&recording.command, recording.level())))
        .collect();
    let mut reasons: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (name, reason) in differences() {
        let command = commands.get(&name).unwrap_or_else(|| panic!("there is no recording {name}"));
        let listed = reasons.entry(reason).or_default();
        if !listed.contains(&command) {
            listed.push(command);
        }
    }
    let mut out = String::from("\n| difference | commands |\n|---|---|\n");
    for (reason, commands) in reasons {
        let commands: Vec<String> = commands.iter().map(|command| format!("`{command}`")).collect();
        writeln!(out, "| {reason} | {} |", commands.join(", ")).unwrap();
    }
    out.push('\n');
    out
}

/// A command in one short line, with the level when it is not admin.
fn shown(command: &str, level: &str) -> String {
    let line = command.lines().next().unwrap_or_default().trim();
    let short: String = line.chars().take(70).collect();
    let level = if level == "admin" { String::new() } else { format!(" ({level})") };
    format!("{}{level}", short.replace('|', "\\|"))
}
