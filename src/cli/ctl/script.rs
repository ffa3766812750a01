//! A file of admin commands: one a line, comments and empty lines left out, payloads kept with their command.

/// One command line with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the file it stands on, from 1.
    pub line: usize,
    /// The commands.
    pub text: String,
    /// The lines behind a command that ends in `<<`, without the empty one that ends them.
    pub payload: Option<String>,
}

impl Step {
    /// A command line without payload.
    pub fn new(line: usize, text: &str) -> Step {
        Step { line, text: text.trim().to_owned(), payload: None }
    }

    /// Whether lines must follow.
    pub fn wants_payload(&self) -> bool {
        self.text == "<<" || self.text.ends_with(" <<")
    }

    /// What is sent.
    pub fn wire(&self) -> String {
        match &self.payload {
            Some(payload) => format!("{}\n{}\n", self.text, end_of_line(payload)),
            None => format!("{}\n", self.text),
        }
    }
}

/// The commands of a file. A payload ends at an empty line or at the end of the file.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let mut step = Step::new(n + 1, line);
        if step.text.is_empty() || step.text.starts_with('#') {
            continue;
        }
        if step.wants_payload() {
            let payload = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim().is_empty());
            step.payload = Some(payload.map(|line| format!("{line}\n")).collect());
        }
        steps.push(step);
    }
    steps
}

/// A payload must not hold the empty line that would end it: a PEM file may.
pub fn without_empty_lines(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect()
}

fn end_of_line(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_left_out_and_payloads_kept() {
        let text = "# deploy\n\n  show version  \nadd map /m <<\na 1\n# not a comment\n\nshow map /m\r\nset ssl cert F <<\nPEM";
        let found = steps(text);
        let brief: Vec<_> = found.iter().map(|s| (s.line, s.text.as_str(), s.payload.as_deref())).collect();
        assert_eq!(
            brief,
            [
                (3, "show version", None),
                (4, "add map /m <<", Some("a 1\n# not a comment\n")),
                (8, "show map /m", None),
                (9, "set ssl cert F <<", Some("PEM\n")),
            ]
        );
        assert_eq!(found[1].wire(), "add map /m <<\na 1\n# not a comment\n\n");
        assert_eq!(found[0].wire(), "show version\n");
    }

    #[test]
    fn a_payload_holds_no_empty_line() {
        assert_eq!(without_empty_lines("a\n\n \r\nb"), "a\nb\n");
        let step = Step { payload: Some(String::new()), ..Step::new(1, "add acl x <<") };
        assert_eq!(step.wire(), "add acl x <<\n\n");
    }
}
