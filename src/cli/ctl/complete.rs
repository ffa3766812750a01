//! Completion: which words may follow what is typed. Decided from lockgate's own `help` and the names it has now.

/// What may be typed.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    usages: Vec<Vec<String>>,
    frontends: Vec<String>,
    backends: Vec<String>,
    servers: Vec<String>,
    tables: Vec<String>,
}

/// What `set server B/S …` takes; `help` says `<what>`.
const SET_SERVER: &[(&str, &[&str])] = &[
    ("addr", &[]),
    ("agent", &["up", "down"]),
    ("agent-addr", &[]),
    ("agent-port", &[]),
    ("agent-send", &[]),
    ("check-addr", &[]),
    ("check-port", &[]),
    ("fqdn", &[]),
    ("health", &["up", "stopping", "down"]),
    ("ssl", &["on", "off"]),
    ("state", &["ready", "drain", "maint"]),
    ("weight", &[]),
];

/// Line that asks for everything [`Vocabulary::read`] reads.
pub const QUESTION: &str = "help; show stat; show table\n";

impl Vocabulary {
    /// From the replies to [`QUESTION`].
    pub fn read(replies: &str) -> Vocabulary {
        let mut known = Vocabulary::default();
        for line in replies.lines() {
            if let Some(usage) = line.strip_prefix("  ") {
                let usage = usage.split(": ").next().unwrap_or(usage);
                known.usages.push(usage.split_whitespace().map(str::to_owned).collect());
            } else if let Some(rest) = line.strip_prefix("# table: ") {
                known.tables.extend(rest.split(',').next().map(str::to_owned));
            } else if !line.starts_with('#') {
                known.read_row(line);
            }
        }
        known
    }

    /// A row of `show stat`: its type stands in column 32.
    fn read_row(&mut self, line: &str) {
        let mut fields = line.split(',');
        let (Some(proxy), Some(name), Some(kind)) = (fields.next(), fields.next(), fields.nth(30)) else { return };
        match kind {
            "0" => self.frontends.push(proxy.to_owned()),
            "1" => self.backends.push(proxy.to_owned()),
            "2" => self.servers.push(format!("{proxy}/{name}")),
            _ => {}
        }
    }

    /// Where the word before the cursor begins, and what it may become.
    pub fn candidates(&self, before_cursor: &str) -> (usize, Vec<String>) {
        let start = before_cursor.rfind([' ', ';']).map_or(0, |at| at + 1);
        let command = before_cursor[..start].rsplit(';').next().unwrap_or_default();
        let words: Vec<&str> = command.split_whitespace().collect();
        let typed = &before_cursor[start..];
        let mut found: Vec<String> = match words.as_slice() {
            ["set", "server", _] => SET_SERVER.iter().map(|(verb, _)| (*verb).to_owned()).collect(),
            ["set", "server", _, verb] => {
                let values = SET_SERVER.iter().find(|(known, _)| known == verb).map_or(&[][..], |(_, values)| values);
                values.iter().map(|value| (*value).to_owned()).collect()
            }
            words => self.usages.iter().flat_map(|usage| self.following(usage, words)).collect(),
        };
        found.retain(|word| word.starts_with(typed));
        found.sort();
        found.dedup();
        (start, found)
    }

    /// The words that may follow these in a usage.
    fn following(&self, usage: &[String], words: &[&str]) -> Vec<String> {
        // A token that ends in `*` may be repeated.
        let token = |n: usize| usage.get(n).or_else(|| usage.last().filter(|last| last.ends_with('*')));
        let matches = words.iter().enumerate().all(|(n, word)| {
            token(n).is_some_and(|token| {
                alternatives(token).iter().any(|alternative| alternative.starts_with('<') || alternative == word)
            })
        });
        match token(words.len()) {
            Some(token) if matches => alternatives(token).into_iter().flat_map(|a| self.expand(&a)).collect(),
            _ => Vec::new(),
        }
    }

    /// A literal word, or the names that a placeholder stands for.
    fn expand(&self, word: &str) -> Vec<String> {
        match word {
            "<backend>/<server>" | "<b>/<s>" => self.servers.clone(),
            "<backend>" => self.backends.clone(),
            "<frontend>" => self.frontends.clone(),
            "<proxy>" => [self.frontends.as_slice(), self.backends.as_slice()].concat(),
            "<table>" => self.tables.clone(),
            placeholder if placeholder.contains(['<', '.']) => Vec::new(),
            literal => vec![literal.to_owned()],
        }
    }
}

/// `[json|typed]*` is `json` or `typed`; a placeholder with a bar inside is taken apart as well.
fn alternatives(token: &str) -> Vec<String> {
    let bare: String = token.chars().filter(|c| !matches!(c, '[' | ']' | '*')).collect();
    bare.split('|').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::admin::{Level, help};

    fn vocabulary() -> Vocabulary {
        let row = |proxy: &str, name: &str, kind: u32| format!("{proxy},{name},{}{kind},,\n", ",".repeat(30));
        let mut replies = help::help(&[], Level::Admin);
        replies += "\n# pxname,svname,\n";
        replies += &row("fe_main", "FRONTEND", 0);
        replies += &row("be_web", "web1", 2);
        replies += &row("be_web", "web2", 2);
        replies += &row("be_web", "BACKEND", 1);
        replies += "\n# table: st_rate, type: ip, size:10240, used:1\n\n";
        Vocabulary::read(&replies)
    }

    #[test]
    fn words_names_and_values_are_proposed() {
        let vocabulary = vocabulary();
        for (typed, start, expected) in [
            ("show ser", 5, &["servers"][..]),
            ("show servers ", 13, &["conn", "state"]),
            ("show servers state be", 19, &["be_web"]),
            ("get weight be_web/", 11, &["be_web/web1", "be_web/web2"]),
            ("set server be_web/web1 st", 23, &["state"]),
            ("set server be_web/web1 state ", 29, &["drain", "maint", "ready"]),
            ("show version; disable ser", 22, &["server"]),
            ("show stat typed d", 16, &["desc"]),
            ("show errors fe_main re", 20, &["request", "response"]),
            ("show table st", 11, &["st_rate"]),
            ("set server be_web/web1 weight ", 30, &[]),
            ("nonsense ", 9, &[]),
        ] {
            let (at, found) = vocabulary.candidates(typed);
            let found: Vec<&str> = found.iter().map(String::as_str).filter(|w| expected.contains(w)).collect();
            assert_eq!((at, found.as_slice()), (start, expected), "{typed:?}");
        }
        let all = vocabulary.candidates("").1;
        assert!(["clear", "get", "quit", "set", "show"].iter().all(|w| all.iter().any(|c| c == w)), "{all:?}");
        assert!(vocabulary.candidates("set server be_web/web1 state r").1 == ["ready"]);
        assert!(vocabulary.candidates("set weight é").1.is_empty(), "any bytes may be typed");
    }

    #[test]
    fn without_an_answer_nothing_is_proposed() {
        assert_eq!(Vocabulary::read("").candidates("sh"), (0, Vec::new()));
    }
}
