//! House rules that a compiler does not check: who may import whom, what `core` may touch, how files begin.
//!
//! The rules are read off the sources, with comments and strings blanked out, so that a word in a sentence is not
//! taken for code. Each rule is one test, and fails with every place that breaks it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src` from the bottom up. Arrows point down: a room may name rooms of lower levels only.
const LEVELS: &[(&str, u32)] = &[
    ("core", 0),
    ("config", 1),
    ("runtime", 2),
    ("tls", 3),
    ("listener", 3),
    ("backend", 3),
    ("log", 3),
    ("frontend", 4),
    ("control", 5),
    ("health", 5),
    ("discovery", 5),
    ("admin", 5),
    ("web", 5),
    ("app", 6),
    ("cli", 6),
    ("main", 7),
    ("lib", 7),
];

/// Arrows between rooms of one level that are part of the design. `control` is fed by its three neighbours and starts
/// them; `web` asks for the same as `admin`; `app` wires everything and the sub-commands call it.
const SIDEWAYS: &[(&str, &str)] = &[
    ("backend", "tls"),
    ("backend", "listener"),
    ("listener", "tls"),
    ("control", "health"),
    ("control", "discovery"),
    ("control", "admin"),
    ("web", "admin"),
    ("app", "cli"),
    ("cli", "app"),
];

/// What has no place in `core`, which is told the time, given its chance and touches nothing.
const IMPURE: &[&str] = &[
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdout",
    "std::io::stderr",
    "tokio",
    "socket2",
    "nix::",
    "libc::",
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "println!",
    "eprintln!",
    "dbg!",
    "tracing",
    "Zoned::now",
    "Timestamp::now",
    "fastrand::u",
    "fastrand::i",
    "fastrand::f",
    "fastrand::bool",
    "fastrand::choice",
    "fastrand::shuffle",
    "fastrand::seed",
    "fastrand::Rng::new()",
];

/// A file longer than this says why in its opening comment.
const LONG: usize = 800;
/// The words it says it with.
const LONG_BECAUSE: &str = "long because";

#[derive(Debug)]
struct Source {
    /// Below the repository, with `/`.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked, line by line as before.
    code: String,
    /// Whether a line belongs to tests.
    test_line: Vec<bool>,
}

impl Source {
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_test_file(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// Lines of code outside tests, numbered from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.code.lines().enumerate();
        numbered.filter(|(n, _)| !self.test_line.get(*n).copied().unwrap_or(false)).map(|(n, line)| (n + 1, line))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            let code = blank(&text);
            let path = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            let mut source = Source { path, text, code, test_line: Vec::new() };
            source.test_line = test_lines(&source);
            source
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Replaces comments, string literals and character literals by blanks; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |needle: &[u8], from: usize| {
        rest[from..].windows(needle.len()).position(|w| w == needle).map_or(bytes.len(), |p| at + from + p)
    };
    if rest.starts_with(b"//") {
        return find(b"\n", 0);
    }
    if rest.starts_with(b"/*") {
        return (find(b"*/", 2) + 2).min(bytes.len());
    }
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if !in_word && (rest[0] == b'r' || rest.starts_with(b"br")) {
        let hashes_at = if rest[0] == b'b' { 2 } else { 1 };
        let hashes = rest[hashes_at..].iter().take_while(|&&b| b == b'#').count();
        if rest.get(hashes_at + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            return (find(&close, hashes_at + hashes + 1) + close.len()).min(bytes.len());
        }
    }
    if rest[0] == b'"' {
        let mut end = 1;
        while end < rest.len() && rest[end] != b'"' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        return (at + end + 1).min(bytes.len());
    }
    // A character, not a lifetime: it closes within a few bytes.
    if rest[0] == b'\'' {
        let from = if rest.get(1) == Some(&b'\\') { 3 } else { 2 };
        let limit = if from == 3 { 12 } else { 5 };
        if let Some(p) = rest.iter().take(limit).skip(from).position(|&b| b == b'\'') {
            let inside = &rest[1..from + p];
            if from == 3 || std::str::from_utf8(inside).is_ok_and(|s| s.chars().count() == 1) {
                return at + from + p + 1;
            }
        }
    }
    at
}

/// Which lines are inside `#[cfg(test)]` items or `#[test]` functions, or in a file of tests.
fn test_lines(source: &Source) -> Vec<bool> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut marks = vec![source.is_test_file(); lines.len()];
    let mut n = 0;
    while n < lines.len() {
        let line = lines[n].trim_start();
        if !(line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test") || line.starts_with("#[test]")) {
            n += 1;
            continue;
        }
        // The item goes on to the brace that closes its first one, or to a semicolon before any.
        let (mut depth, mut opened) = (0i32, false);
        let start = n;
        'item: while n < lines.len() {
            marks[n] = true;
            let skip = if n == start { line.find(']').map_or(0, |p| lines[n].len() - line.len() + p + 1) } else { 0 };
            for c in lines[n][skip..].chars() {
                match c {
                    '{' => {
                        depth += 1;
                        opened = true;
                    }
                    '}' => depth -= 1,
                    ';' if !opened => break 'item,
                    _ => {}
                }
                if opened && depth == 0 {
                    break 'item;
                }
            }
            n += 1;
        }
        n += 1;
    }
    marks
}

/// The first parts of every `crate::…` path of a line-joined code text, groups included, with their line.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(p) = code[from..].find("crate::") {
        let at = from + p;
        from = at + "crate::".len();
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') && before != Some('$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[from..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut fresh, mut word) = (1, true, String::new());
            for c in group.chars() {
                if depth == 1 && fresh && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                    continue;
                }
                if !word.is_empty() {
                    found.push((line, std::mem::take(&mut word)));
                    fresh = false;
                }
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' => fresh = depth == 1 || fresh,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((line, word));
        }
    }
    found
}

fn level(room: &str) -> Option<u32> {
    LEVELS.iter().find(|(name, _)| *name == room).map(|(_, level)| *level)
}

#[track_caller]
fn none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}\n", broken.join("\n  "));
}

#[test]
fn every_room_has_its_level() {
    let rooms = sources().iter().map(|s| s.room().to_owned()).collect::<std::collections::BTreeSet<_>>();
    let unknown: Vec<String> = rooms.into_iter().filter(|room| level(room).is_none()).collect();
    none(unknown, "rooms of src without a level in tests/tidy.rs");
}

#[test]
fn arrows_point_down() {
    let mut broken = Vec::new();
    for source in sources() {
        let from = source.room();
        if from == "lib" {
            continue;
        }
        for (line, to) in crate_paths(&source.code) {
            let (Some(here), Some(there)) = (level(from), level(&to)) else { continue };
            if from != to && there >= here && !SIDEWAYS.contains(&(from, to.as_str())) {
                broken.push(format!("{}:{line}: {from} names {to}", source.path));
            }
        }
    }
    none(broken, "an arrow points up or sideways");
}

#[test]
fn core_is_pure() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|s| s.room() == "core") {
        for (number, line) in source.lines() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    none(broken, "core touches a clock, a socket, a file, a thread, chance or a log");
}

#[test]
fn clocks_are_read_in_one_place() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|s| s.path != "src/runtime/clock.rs") {
        for (number, line) in
            source.lines().filter(|(_, l)| l.contains("Instant::now") || l.contains("SystemTime::now"))
        {
            broken.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    none(broken, "a clock is read outside runtime/clock.rs");
}

#[test]
fn every_module_says_what_it_is() {
    let silent = sources().into_iter().filter(|s| !s.text.starts_with("//!") && !s.is_test_file()).map(|s| s.path);
    none(silent.collect(), "a module without an opening comment");
}

#[test]
fn unsafe_is_in_one_file() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|s| s.path != "src/runtime/sys.rs") {
        let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        let lines = source.code.lines().enumerate().filter(|(_, line)| words(line));
        broken.extend(lines.map(|(n, _)| format!("{}:{}", source.path, n + 1)));
    }
    none(broken, "unsafe outside runtime/sys.rs");
}

#[test]
fn nothing_is_unwrapped_or_left_to_do() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for word in [".unwrap()", "todo!", "unimplemented!"].iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
        for (n, line) in source.text.lines().enumerate() {
            // In two pieces, so that this file does not break its own rule.
            for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")] {
                if line.contains(word) {
                    broken.push(format!("{}:{}: {word}", source.path, n + 1));
                }
            }
        }
    }
    none(broken, "unwrap outside tests, or something left to do");
}

#[test]
fn long_files_say_why() {
    let mut broken = Vec::new();
    for source in sources() {
        let count = source.text.lines().count();
        let comment: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if count > LONG && !comment.join(" ").contains(LONG_BECAUSE) {
            broken.push(format!("{}: {count} lines", source.path));
        }
    }
    none(broken, "a long file whose opening comment has no sentence with 'long because'");
}

#[test]
fn names_say_something() {
    let empty = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs"];
    let named = |s: &Source| empty.iter().any(|name| s.path.ends_with(&format!("/{name}")));
    none(sources().into_iter().filter(named).map(|s| s.path).collect(), "a file name that says nothing");
}

/// Every file of the repository that is text, without what git leaves out.
fn repository() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if [".git", "target", "corpus", "artifacts"].iter().any(|skip| name == *skip) {
                continue;
            }
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut files = Vec::new();
    walk(&root(), &mut files);
    files
        .into_iter()
        .filter_map(|file| {
            let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            Some((path, fs::read_to_string(&file).ok()?))
        })
        .collect()
}

#[test]
fn no_registry_is_named() {
    // Which registry packages come from is the affair of the machine that builds, not of this repository.
    let hosts: Vec<String> = [
        ["crates", "io"],
        ["npmjs", "org"],
        ["npmjs", "com"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["golang", "org/x"],
        ["rubygems", "org"],
        ["docker", "io"],
        ["deb.debian", "org"],
    ]
    .iter()
    .map(|parts| parts.join("."))
    .collect();
    let mut broken = Vec::new();
    for (path, text) in repository() {
        for (n, line) in text.lines().enumerate() {
            // Cargo writes the source of each package into its lock file; that line is its format.
            if path.ends_with("Cargo.lock") && line.starts_with("source = ") {
                continue;
            }
            broken.extend(hosts.iter().filter(|h| line.contains(*h)).map(|h| format!("{path}:{}: {h}", n + 1)));
        }
    }
    none(broken, "a package registry is named");
}

#[test]
fn scripts_are_executable() {
    use std::os::unix::fs::PermissionsExt;
    let mut broken = Vec::new();
    for folder in ["scripts", ".ci"] {
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten().flatten() {
            if entry.metadata().unwrap().permissions().mode() & 0o111 == 0 {
                broken.push(entry.path().display().to_string());
            }
        }
    }
    none(broken, "a script that cannot be executed");
}

#[test]
fn the_reader_of_sources_reads() {
    let text =
        "let a = \"unsafe // \\\" x\"; // unsafe\nlet b = 'c'; let c: &'static str = r#\"un\"safe\"#; /* x\n */ b'\\''";
    let code = blank(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains("safe") && code.contains("&'static str") && code.contains("let b ="), "{code}");
    let paths = crate_paths("use crate::{core::a, tls::{x, y}, log};\nlet x = crate::backend::y();\n");
    let paths: Vec<(usize, &str)> = paths.iter().map(|(n, p)| (*n, p.as_str())).collect();
    assert_eq!(paths, [(1, "core"), (1, "tls"), (1, "log"), (2, "backend")]);
    let mut source = Source {
        path: "src/x.rs".into(),
        text: String::new(),
        code: "fn a() {}\n#[cfg(test)]\nmod t {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod tests;\nfn d() {}\n"
            .into(),
        test_line: Vec::new(),
    };
    source.test_line = test_lines(&source);
    assert_eq!(source.lines().map(|(n, _)| n).collect::<Vec<_>>(), [1, 6, 9]);
}
