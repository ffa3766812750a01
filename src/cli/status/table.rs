//! The report as a person reads it: one line that says whether to worry, then a table as wide as the terminal.
//!
//! On a narrow terminal columns go away, the least missed first; then the last column is cut short.

use std::fmt::Write as _;

use super::report::{Check, Condition, Frontend, Process, Report, Server, Traffic};
use super::style::{Look, age, count, span};

/// The columns, with the order in which they go away when there is no room: 0 stays.
const COLUMNS: [(&str, Align, u8); 11] = [
    ("NAME", Align::Left, 0),
    ("STATE", Align::Left, 0),
    ("FOR", Align::Right, 2),
    ("WEIGHT", Align::Right, 7),
    ("SESSIONS", Align::Right, 1),
    ("QUEUE", Align::Right, 3),
    ("RATE", Align::Right, 5),
    ("REQUESTS", Align::Right, 8),
    ("5XX", Align::Right, 6),
    ("ERRORS", Align::Right, 4),
    ("CHECK", Align::Left, 0),
];
const NAME: usize = 0;
const STATE: usize = 1;
const CHECK: usize = 10;
/// What the last column should at least have.
const CHECK_MIN: usize = 12;
/// Between columns.
const GAP: usize = 2;
/// Names listed in the summary.
const NAMES_MAX: usize = 5;

#[derive(Clone, Copy, PartialEq)]
enum Align {
    Left,
    Right,
}

struct Line {
    cells: [String; COLUMNS.len()],
    condition: Condition,
}

/// The whole text.
pub fn render(report: &Report, look: &Look) -> String {
    let mut out = String::new();
    for line in [about(&report.process), summary(report)] {
        out.push_str(&cut(&line.0, look.width, |text| match line.1 {
            Some(condition) => look.paint(condition, text),
            None => look.bold(text),
        }));
        out.push('\n');
    }
    out.push('\n');
    let lines = lines(report);
    let shown = fitting(&lines, look.width);
    let header = Line { cells: COLUMNS.map(|(name, ..)| name.to_owned()), condition: Condition::Fine };
    let widths = widths(&header, &lines, &shown, look.width);
    write_line(&header, &shown, &widths, look, true, &mut out);
    for line in &lines {
        write_line(line, &shown, &widths, look, false, &mut out);
    }
    out
}

/// Which process this is.
fn about(process: &Process) -> (String, Option<Condition>) {
    let mut text = format!(
        "lockgate {} on {}, pid {}, up {}: {} of {} connections, {} % idle",
        process.version,
        process.node,
        process.pid,
        age(process.uptime_seconds),
        count(process.connections),
        count(process.connections_limit),
        process.idle_percent,
    );
    if process.lost_log_lines > 0 {
        let _ = write!(text, ", {} log lines lost", count(process.lost_log_lines));
    }
    if process.stopping {
        text.push_str(", stopping");
    }
    (text, None)
}

/// Whether to worry.
fn summary(report: &Report) -> (String, Option<Condition>) {
    let parts: Vec<(Condition, String)> =
        [(Condition::Down, "down"), (Condition::Changing, "changing"), (Condition::SetAside, "set aside")]
            .into_iter()
            .filter_map(|(condition, word)| {
                let all = report.all_in(condition);
                (!all.is_empty()).then(|| (condition, format!("{} {word}: {}", all.len(), names(&all))))
            })
            .collect();
    match parts.first() {
        Some((worst, _)) => {
            let texts: Vec<String> = parts.iter().map(|(_, text)| text.clone()).collect();
            (texts.join("; "), Some(*worst))
        }
        None => {
            let servers: usize = report.backends.iter().map(|b| b.servers.len()).sum();
            let nouns = [(report.frontends.len(), "frontend"), (report.backends.len(), "backend"), (servers, "server")];
            let counted = nouns.into_iter().filter(|(n, _)| *n > 0);
            let counted: Vec<String> =
                counted.map(|(n, noun)| format!("{n} {noun}{}", if n == 1 { "" } else { "s" })).collect();
            (format!("all fine: {}", counted.join(", ")), Some(Condition::Fine))
        }
    }
}

fn names(all: &[(String, Option<u64>)]) -> String {
    let named = all.iter().take(NAMES_MAX).map(|(name, seconds)| match seconds {
        Some(seconds) => format!("{name} for {}", age(*seconds)),
        None => name.clone(),
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if all.len() > NAMES_MAX {
        let _ = write!(text, " and {} more", all.len() - NAMES_MAX);
    }
    text
}

fn lines(report: &Report) -> Vec<Line> {
    let mut lines: Vec<Line> = report.frontends.iter().map(frontend).collect();
    for backend in &report.backends {
        let total = backend.servers.len();
        let check = if total == 0 { String::new() } else { format!("{} of {total} usable", backend.servers_usable) };
        let name = backend.name.clone();
        let since = age(backend.changed_seconds);
        let cells = cells(name, &backend.status, since, String::new(), &backend.traffic, check);
        lines.push(Line { cells, condition: backend.condition });
        lines.extend(backend.servers.iter().map(server));
    }
    lines
}

fn frontend(frontend: &Frontend) -> Line {
    let denied = if frontend.denied == 0 { String::new() } else { format!("{} denied", count(frontend.denied)) };
    let mut cells =
        cells(frontend.name.clone(), &frontend.status, String::new(), String::new(), &frontend.traffic, denied);
    // A frontend has no queue.
    cells[5].clear();
    cells[6] = format!("{}/s", count(frontend.requests_per_second));
    Line { cells, condition: frontend.condition }
}

fn server(server: &Server) -> Line {
    let name = format!("  {}{}", server.name, if server.backup { " (backup)" } else { "" });
    let check = server.check.as_ref().map(check).unwrap_or_default();
    let (since, weight) = (age(server.changed_seconds), server.weight.to_string());
    Line { cells: cells(name, &server.status, since, weight, &server.traffic, check), condition: server.condition }
}

fn cells(
    name: String,
    status: &str,
    since: String,
    weight: String,
    traffic: &Traffic,
    check: String,
) -> [String; COLUMNS.len()] {
    let sessions = match traffic.sessions_limit {
        Some(limit) => format!("{}/{}", count(traffic.sessions), count(limit)),
        None => count(traffic.sessions),
    };
    [
        name,
        status.to_owned(),
        since,
        weight,
        sessions,
        count(traffic.queued),
        format!("{}/s", count(traffic.sessions_per_second)),
        count(traffic.requests),
        count(traffic.answers_5xx),
        count(traffic.errors),
        check,
    ]
}

/// `L7STS 503 Service Unavailable in 3ms, 1.2s ago`
fn check(check: &Check) -> String {
    let mut text = check.status.clone();
    if let Some(code) = check.code {
        let _ = write!(text, " {code}");
    }
    if !check.text.is_empty() {
        let _ = write!(text, " {}", check.text);
    }
    let _ = write!(text, " in {}", span(check.duration_ms));
    if let Some(age) = check.age_ms {
        let _ = write!(text, ", {} ago", span(age));
    }
    text
}

/// The columns there is room for.
fn fitting(lines: &[Line], width: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    let natural = |column: usize| {
        let widest = lines.iter().map(|line| line.cells[column].chars().count()).max().unwrap_or(0);
        let widest = if column == CHECK { widest.min(CHECK_MIN) } else { widest };
        widest.max(COLUMNS[column].0.len())
    };
    while shown.iter().map(|c| natural(*c) + GAP).sum::<usize>() - GAP > width {
        let dropped = shown.iter().copied().filter(|c| COLUMNS[*c].2 > 0).max_by_key(|c| COLUMNS[*c].2);
        let Some(dropped) = dropped else { break };
        shown.retain(|c| *c != dropped);
    }
    shown
}

/// Natural widths, the last column and if need be the first cut to what is left.
fn widths(header: &Line, lines: &[Line], shown: &[usize], width: usize) -> Vec<usize> {
    let all = || lines.iter().chain([header]);
    let mut widths: Vec<usize> =
        shown.iter().map(|c| all().map(|line| line.cells[*c].chars().count()).max().unwrap_or(0)).collect();
    for cuttable in [CHECK, NAME] {
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if let Some(at) = shown.iter().position(|c| *c == cuttable) {
            widths[at] = widths[at].saturating_sub(total.saturating_sub(width)).max(COLUMNS[cuttable].0.len());
        }
    }
    widths
}

fn write_line(line: &Line, shown: &[usize], widths: &[usize], look: &Look, header: bool, out: &mut String) {
    let mut text = String::new();
    for (n, (column, width)) in shown.iter().zip(widths).enumerate() {
        let cell = shortened(&line.cells[*column], *width);
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
        let painted = match *column {
            _ if header => look.bold(&cell),
            STATE => look.paint(line.condition, &cell),
            _ => cell,
        };
        if n > 0 {
            text.push_str(&" ".repeat(GAP));
        }
        match COLUMNS[*column].1 {
            Align::Left => text.push_str(&(painted + &pad)),
            Align::Right => text.push_str(&(pad + &painted)),
        }
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

fn cut(text: &str, width: usize, paint: impl Fn(&str) -> String) -> String {
    paint(&shortened(text, width))
}

/// At most so many characters, with a mark when some are missing.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::report::tests::report;

    fn lab() -> Report {
        report(&[
            ("fe_main", "FRONTEND", 0, "OPEN", "", 1),
            ("web", "w1", 2, "UP", "L7OK", 10),
            ("web", "web-with-a-rather-long-name", 2, "DOWN 1/3", "L4CON", 10),
            ("web", "BACKEND", 1, "UP", "", 10),
        ])
    }

    fn look(width: usize) -> Look {
        Look { width, height: 24, color: false }
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let text = render(&lab(), &look(200));
        let expected = "\
lockgate 0.1.0 on lab1, pid 12, up 1h01m: 3 of 2000 connections, 97 % idle
1 down: web/web-with-a-rather-long-name for 12m34s

NAME                           STATE        FOR  WEIGHT  SESSIONS  QUEUE  RATE  REQUESTS  5XX  ERRORS  CHECK
fe_main                        OPEN                          2/50          0/s     1.23M    7       0
web                            UP        12m34s                 2      1  12/s     1.23M    7       3  1 of 2 usable
  w1                           UP        12m34s      10      2/50      1  12/s     1.23M    7       3  L7OK 200 in 3ms, 1.5s ago
  web-with-a-rather-long-name  DOWN 1/3  12m34s      10      2/50      1  12/s     1.23M    7       3  L4CON 200 in 3ms
";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn narrow_terminals_lose_columns_and_then_letters() {
        for width in [20, 40, 60, 80, 100, 120] {
            let text = render(&lab(), &look(width));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(22), "{width}: {widest}\n{text}");
            for part in ["NAME", "STATE", "DOWN 1/3", "CHECK"] {
                assert!(text.contains(part), "{part} at {width}:\n{text}");
            }
        }
        let eighty = render(&lab(), &look(80));
        assert!(eighty.contains("SESSIONS") && !eighty.contains("REQUESTS"), "{eighty}");
    }

    #[test]
    fn colours_only_where_wanted() {
        let colored = render(&lab(), &Look { color: true, ..look(200) });
        assert!(colored.contains("\x1b[1;31mDOWN 1/3\x1b[0m") && colored.contains("\x1b[32mUP\x1b[0m"), "{colored:?}");
        let plain = render(&lab(), &look(200));
        assert!(!plain.contains('\x1b') && plain.contains("DOWN 1/3"), "{plain}");
    }

    #[test]
    fn nothing_wrong_is_said_in_one_line() {
        let fine = report(&[
            ("fe", "FRONTEND", 0, "OPEN", "", 1),
            ("web", "w1", 2, "UP", "L7OK", 1),
            ("web", "BACKEND", 1, "UP", "", 1),
        ]);
        assert!(render(&fine, &Look::plain()).contains("\nall fine: 1 frontend, 1 backend, 1 server\n"));
        let aside = report(&[("web", "w1", 2, "MAINT", "", 1), ("web", "BACKEND", 1, "UP", "", 1)]);
        assert!(render(&aside, &Look::plain()).contains("\n1 set aside: web/w1 for 12m34s\n"));
    }
}
