//! Reads the tables of raw requests and answers beside this file; their format is described at their tops.
//!
//! Used by the codec's unit tests and by the integration test that sends the same bytes to the shipped binary.

/// One case of a table.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Unique in its table.
    pub name: String,
    /// What is received.
    pub input: Vec<u8>,
    /// The method of the request that is answered; `GET` by default.
    pub request_method: String,
    /// Whether that request asked for an upgrade.
    pub upgrade_asked: bool,
    /// What must become of it.
    pub verdict: Verdict,
    /// Fields sent on, `Name: value`.
    pub fields: Vec<Vec<u8>>,
    /// The decoded body, where the case says.
    pub body: Option<Vec<u8>>,
    /// Trailers sent on, `Name: value`.
    pub trailers: Vec<Vec<u8>>,
    /// What is left for the next message, where the case says.
    pub rest: Option<Vec<u8>>,
    /// The other lines, as written.
    pub flags: Vec<String>,
}

/// What must become of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It is refused with this status.
    Refuse(u16),
    /// More bytes are waited for.
    #[default]
    Wait,
    /// It is passed on with this start: method and target, or status.
    Forward(Vec<u8>),
    /// Its head may be passed on with this start, but the body breaks off with this status.
    Abort(u16, Vec<u8>),
}

impl Case {
    /// Whether the case has this line.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// Reads a table. Panics with the line that is wrong.
pub fn read(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in table.lines().enumerate() {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if word == "=" {
            assert!(cases.iter().all(|case| case.name != text), "line {}: a second case {text:?}", number + 1);
            cases.push(Case { name: text.to_owned(), request_method: "GET".to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("line {}: no case yet", number + 1));
        let status = |text: &str| text.parse().unwrap_or_else(|_| panic!("line {}: no status", number + 1));
        match word {
            "<" => {
                case.input.extend(unescape(text));
                case.input.extend(b"\r\n");
            }
            "<-" => case.input.extend(unescape(text)),
            "request" => {
                let (method, upgrade) = text.split_once(' ').unwrap_or((text, ""));
                case.request_method = method.to_owned();
                case.upgrade_asked = upgrade == "upgrade";
            }
            "refuse" => case.verdict = Verdict::Refuse(status(text)),
            "wait" => case.verdict = Verdict::Wait,
            "forward" => case.verdict = Verdict::Forward(unescape(text)),
            "abort" => {
                let (code, start) = text.split_once(' ').unwrap_or((text, ""));
                case.verdict = Verdict::Abort(status(code), unescape(start));
            }
            "|" => case.fields.push(unescape(text)),
            "body" => case.body = Some(unescape(text)),
            "trailer" => case.trailers.push(unescape(text)),
            "rest" => case.rest = Some(unescape(text)),
            "keep" | "close" | "short" | "expect" | "no-expect" | "no-upgrade" | "reuse" | "until-close"
            | "interim" | "switching" | "upgrade" => case.flags.push(line.to_owned()),
            _ => panic!("line {}: unknown word {word:?}", number + 1),
        }
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend(plain.bytes());
        let used = match escape.as_bytes().first() {
            Some(b'r') => {
                out.push(b'\r');
                1
            }
            Some(b'n') => {
                out.push(b'\n');
                1
            }
            Some(b't') => {
                out.push(b'\t');
                1
            }
            Some(b'0') => {
                out.push(0);
                1
            }
            Some(b'\\') => {
                out.push(b'\\');
                1
            }
            Some(b'x') => {
                out.push(u8::from_str_radix(&escape[1..3], 16).expect("two hexadecimal digits"));
                3
            }
            Some(b'{') => {
                let (inside, _) = escape[1..].split_once('}').expect("a closing brace");
                let (count, piece) = inside.split_once('*').expect("a count and an asterisk");
                out.extend(unescape(piece).repeat(count.parse().expect("a count")));
                inside.len() + 2
            }
            _ => panic!("unknown escape in {text:?}"),
        };
        rest = &escape[used..];
    }
    out.extend(rest.bytes());
    out
}
