//! From a line to commands and words: `;` parts commands, blanks part words, `\` takes away the meaning of a blank,
//! `;` or `\` behind it.

/// Words of a command that are looked at; further ones are dropped. HAProxy: `MAX_CLI_ARGS`.
pub const WORDS_MAX: usize = 64;

/// The commands of a line, each as its words. There is always at least one; an empty one has no words.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ';' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            ' ' | '\t' => words.extend(word.take()),
            '\\' => {
                let taken = chars.next_if(|next| matches!(next, ' ' | ';' | '\\')).unwrap_or('\\');
                word.get_or_insert_default().push(taken);
            }
            c => word.get_or_insert_default().push(c),
        }
        if words.len() == WORDS_MAX {
            words.truncate(WORDS_MAX);
            word = None;
            // An escaped `;` belongs to a word here, too: it must not begin a command.
            while let Some(dropped) = chars.next_if(|next| *next != ';') {
                if dropped == '\\' {
                    let _ = chars.next_if(|next| matches!(next, ' ' | ';' | '\\'));
                }
            }
        }
    }
    words.extend(word);
    commands.push(words);
    commands
}

/// A word as it has to be written to come out of [`commands`] as it is.
pub fn escape(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, ' ' | ';' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, expected: &[&[&str]]) {
        assert_eq!(commands(line), expected, "{line:?}");
    }

    #[test]
    fn separators_and_escapes() {
        check("", &[&[]]);
        check("   ", &[&[]]);
        check("show version", &[&["show", "version"]]);
        check("   show \t  version  ", &[&["show", "version"]]);
        check("a;b", &[&["a"], &["b"]]);
        check("a ; b;", &[&["a"], &["b"], &[]]);
        check(r"get map x a\;b", &[&["get", "map", "x", "a;b"]]);
        check(r"a\ b\\c\n", &[&["a b\\c\\n"]]);
        check("a\\", &[&["a\\"]]);
        check("# show version", &[&["#", "show", "version"]]);
    }

    #[test]
    fn words_are_bounded() {
        let line = "w ".repeat(1000) + "; next";
        let found = commands(&line);
        assert_eq!((found.len(), found[0].len()), (2, WORDS_MAX));
        assert_eq!(found[1], ["next"]);
        let line = "w ".repeat(WORDS_MAX) + r"a\;disable server web/a; next";
        let found = commands(&line);
        assert_eq!((found.len(), found[0].len()), (2, WORDS_MAX), "an escaped `;` behind the last word parts nothing");
    }

    proptest! {
        #[test]
        fn escaped_words_come_back(words in proptest::collection::vec("[^\t\n]{1,12}", 1..6)) {
            let line = words.iter().map(|w| escape(w)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(commands(&line), vec![words]);
        }

        #[test]
        fn any_line_is_cut_without_loss_of_commands(line in ".{0,200}") {
            let plain = line.replace("\\;", "").replace('\\', "");
            prop_assert!(!commands(&line).is_empty());
            prop_assert_eq!(commands(&plain).len(), plain.matches(';').count() + 1);
        }
    }
}
