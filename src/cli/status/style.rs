//! How things look: colours, numbers and ages for people, and redrawing in place.

use std::io::IsTerminal;

use super::report::Condition;

/// Empties the screen.
pub const CLEAR: &str = "\x1b[2J\x1b[H";

/// Where something is shown.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns of the terminal; no limit when there is none.
    pub width: usize,
    /// Lines of the terminal.
    pub height: usize,
    /// Whether states have colours.
    pub color: bool,
}

impl Look {
    /// For a file or a pipe: as wide as it takes, without colours.
    pub fn plain() -> Look {
        Look { width: usize::MAX, height: usize::MAX, color: false }
    }

    /// For the terminal on standard output. Colours are left out when `NO_COLOR` is set or the terminal is dumb.
    pub fn of_terminal() -> Look {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        let (width, height) = size.map_or((80, 24), |(w, h)| (usize::from(w.0), usize::from(h.0)));
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Look {
            width: width.max(20),
            height: height.max(4),
            color: std::io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb,
        }
    }

    /// A text in the colour of a condition.
    pub fn paint(&self, condition: Condition, text: &str) -> String {
        let code = match condition {
            Condition::Down => "1;31",
            Condition::Changing => "33",
            Condition::SetAside => "36",
            Condition::Fine => "32",
        };
        self.escape(code, text)
    }

    /// A text that stands out.
    pub fn bold(&self, text: &str) -> String {
        self.escape("1", text)
    }

    fn escape(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A frame drawn over the last one: no more lines than fit, each cleared to its end, the rest of the screen too.
pub fn in_place(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1);
    let mut frame = String::from("\x1b[H");
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    for line in lines.iter().take(shown) {
        frame.push_str(line);
        frame.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        frame.push_str(&format!("… {} more lines\x1b[K\n", lines.len() - shown));
    }
    frame + "\x1b[J"
}

/// A count in at most five characters: 999, 12.3k, 4.56M, 789G.
pub fn count(n: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 10_000 {
        return n.to_string();
    }
    let mut value = n as f64;
    let mut unit = "";
    for next in UNITS {
        // What rounds to a thousand is one of the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{unit}")
}

/// An age by its two largest units: 45s, 12m03s, 3h20m, 5d04h.
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h{:02}m", minutes % 60),
        () => format!("{days}d{:02}h", hours % 24),
    }
}

/// A short span: 340ms, 2.5s, then as [`age`].
pub fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        1000..10_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => age(milliseconds / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_ages_are_short() {
        for (n, text) in [
            (0, "0"),
            (9_999, "9999"),
            (12_345, "12.3k"),
            (999_999, "1.00M"),
            (1_234_567, "1.23M"),
            (99_960_000, "100M"),
            (209_000_000, "209M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), text, "{n}");
        }
        for (n, text) in [(0, "0s"), (59, "59s"), (63, "1m03s"), (12_000, "3h20m"), (446_400, "5d04h")] {
            assert_eq!(age(n), text, "{n}");
        }
        for (n, text) in [(0, "0ms"), (999, "999ms"), (2_540, "2.5s"), (12_000, "12s"), (75_000, "1m15s")] {
            assert_eq!(span(n), text, "{n}");
        }
    }

    #[test]
    fn frames_fit_the_screen_and_leave_nothing_of_the_last_one() {
        assert_eq!(in_place("a\nb\n", 24), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let frame = in_place("1\n2\n3\n4\n5\n6\n", 5);
        assert_eq!(frame, "\x1b[H1\x1b[K\n2\x1b[K\n3\x1b[K\n… 3 more lines\x1b[K\n\x1b[J");
    }
}
