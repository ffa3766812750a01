//! `show|set|new|commit|abort|del ssl cert` and `show|add|del ssl crt-list`: the orders, and how certificates are shown.
//!
//! A certificate is called by the path it was loaded from; a folder of certificates that a bind names is what HAProxy
//! calls a crt-list. Keeping, checking and swapping certificates is `crate::tls::certificates`.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Level;
use super::command::{Command, Order};
use super::texts;

/// What is ordered about certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateOrder {
    /// `show ssl cert`
    List,
    /// `show ssl cert F`, and `*F` for the one that waits to be committed.
    Show(String),
    /// `set ssl cert F <<`
    Set(String),
    /// `commit ssl cert F`
    Commit(String),
    /// `abort ssl cert F`
    Abort(String),
    /// `new ssl cert F`
    New(String),
    /// `del ssl cert F`
    Delete(String),
    /// `show ssl crt-list`
    Lists,
    /// `show ssl crt-list [-n] L`
    ShowList {
        /// The folder.
        list: String,
        /// `-n`: with line numbers.
        numbered: bool,
    },
    /// `add ssl crt-list L F`, or with `F` as a payload.
    AddToList {
        /// The folder.
        list: String,
        /// The certificate; `None` when it is in the payload.
        certificate: Option<String>,
    },
    /// `del ssl crt-list L F[:N]`
    DeleteFromList {
        /// The folder.
        list: String,
        /// The certificate.
        certificate: String,
        /// Its line, for one that stands there more than once.
        line: Option<u32>,
    },
    /// `update ssl cert` (lockgate's own): look at all files now.
    Update,
    /// `show ssl ca-file`, `crl-file`, `ocsp-response`: there are none.
    Nothing,
    /// `show ssl providers`
    Providers,
}

impl CertificateOrder {
    /// Whether it changes nothing.
    pub fn only_shows(&self) -> bool {
        use CertificateOrder::{List, Lists, Nothing, Providers, Show, ShowList};
        matches!(self, List | Show(_) | Lists | ShowList { .. } | Nothing | Providers)
    }
}

/// The order these words give, if they are about certificates.
pub(super) fn parse(words: &[&str]) -> Option<Order> {
    use CertificateOrder as C;
    let order = match words {
        ["show", "ssl", "cert"] => C::List,
        ["show", "ssl", "cert", name, ..] => C::Show(clean(name)),
        ["show", "ssl", "crt-list"] => C::Lists,
        ["show", "ssl", "crt-list", "-n", list, ..] => C::ShowList { list: clean(list), numbered: true },
        ["show", "ssl", "crt-list", "-n"] => return Some(refused(Level::Operator, texts::SHOW_CRT_LIST)),
        ["show", "ssl", "crt-list", list, ..] => C::ShowList { list: clean(list), numbered: false },
        ["show", "ssl", "ca-file" | "crl-file" | "ocsp-response", ..] => C::Nothing,
        ["show", "ssl", "providers", ..] => C::Providers,
        ["update", "ssl", "cert", ..] => C::Update,
        ["set", "ssl", "cert", name, ..] => C::Set(clean(name)),
        ["commit", "ssl", "cert", name, ..] => C::Commit(clean(name)),
        ["abort", "ssl", "cert", name, ..] => C::Abort(clean(name)),
        ["new", "ssl", "cert", name, ..] => C::New(clean(name)),
        ["del", "ssl", "cert", name, ..] => C::Delete(clean(name)),
        ["add", "ssl", "crt-list", list, rest @ ..] => {
            C::AddToList { list: clean(list), certificate: rest.first().map(|name| clean(name)) }
        }
        ["del", "ssl", "crt-list", list, name, ..] => {
            let (name, line) = match name.rsplit_once(':').map(|(name, line)| (name, line.parse())) {
                Some((name, Ok(line))) => (name, Some(line)),
                _ => (*name, None),
            };
            C::DeleteFromList { list: clean(list), certificate: clean(name), line }
        }
        ["set", "ssl", "cert"] => return Some(refused(Level::Admin, texts::SET_CERT_USAGE)),
        ["commit", "ssl", "cert"] => return Some(refused(Level::Admin, texts::COMMIT_CERT_USAGE)),
        ["abort", "ssl", "cert"] => return Some(refused(Level::Admin, texts::ABORT_CERT_USAGE)),
        ["new", "ssl", "cert"] => return Some(refused(Level::Admin, texts::NEW_CERT_USAGE)),
        ["del", "ssl", "cert"] => return Some(refused(Level::Admin, texts::DEL_CERT_USAGE)),
        ["add", "ssl", "crt-list"] => return Some(refused(Level::Admin, texts::ADD_CRT_LIST_USAGE)),
        ["del", "ssl", "crt-list", ..] => return Some(refused(Level::Admin, texts::DEL_CRT_LIST_USAGE)),
        _ => return None,
    };
    let level = if order.only_shows() { Level::Operator } else { Level::Admin };
    Some(Order { level, command: Command::Certificates(order) })
}

fn refused(level: Level, text: &str) -> Order {
    Order { level, command: Command::Refused(text.to_owned()) }
}

/// A name as it may stand in a reply: no certificate's name holds a control character.
fn clean(word: &str) -> String {
    word.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A certificate in memory: for lists, and for telling when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// The path it was loaded from, or what `new ssl cert` called it.
    pub name: Box<str>,
    /// DNS names it is for, lower-case. Empty when nothing was ever committed to it.
    pub names: Vec<Box<str>>,
    /// When it stops being valid, in seconds since 1970; `None` when it is empty.
    pub not_after: Option<i64>,
    /// Binds that may answer with it.
    pub binds: usize,
}

/// What `show ssl cert F` tells of a certificate that holds something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    /// Serial number in upper-case hexadecimal.
    pub serial: String,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it stops being valid, in seconds since 1970.
    pub not_after: i64,
    /// `DNS:a.example, DNS:b.example`
    pub alternative_names: String,
    /// `RSA2048`, `EC256`, `ED25519`
    pub algorithm: String,
    /// SHA-1 of the certificate in upper-case hexadecimal.
    pub sha1: String,
    /// `/C=AT/O=Example/CN=a.example`
    pub subject: String,
    /// The same for its issuer.
    pub issuer: String,
    /// Subject and issuer of each further certificate of the chain.
    pub chain: Vec<(String, String)>,
}

/// `Status:` of a certificate. HAProxy 2.8: `show ssl cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// A bind may answer with it.
    Used,
    /// No bind does, or it waits to be committed.
    Unused,
    /// Nothing was committed to it yet.
    Empty,
}

/// The reply to `show ssl cert`: the open transaction, then every certificate.
pub fn render_list<'a>(transaction: Option<&str>, names: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    if let Some(name) = transaction {
        let _ = writeln!(out, "# transaction\n*{name}");
    }
    out.push_str("# filename\n");
    names.for_each(|name| {
        let _ = writeln!(out, "{name}");
    });
    out
}

/// The reply to `show ssl cert F`. `name` begins with `*` when it is about an open transaction.
pub fn render(name: &str, status: CertificateStatus, facts: Option<&CertificateFacts>) -> String {
    let mut out = format!("Filename: {name}\nStatus: {status:?}\n");
    if let Some(facts) = facts {
        let _ = writeln!(out, "Serial: {}", facts.serial);
        let _ = writeln!(out, "notBefore: {}", date(facts.not_before));
        let _ = writeln!(out, "notAfter: {}", date(facts.not_after));
        let _ = writeln!(out, "Subject Alternative Name: {}", facts.alternative_names);
        let _ = writeln!(out, "Algorithm: {}", facts.algorithm);
        let _ = writeln!(out, "SHA1 FingerPrint: {}", facts.sha1);
        let _ = writeln!(out, "Subject: {}", facts.subject);
        let _ = writeln!(out, "Issuer: {}", facts.issuer);
        for (subject, issuer) in &facts.chain {
            let _ = writeln!(out, "Chain Subject: {subject}\nChain Issuer: {issuer}");
        }
    }
    out.push_str("OCSP Response Key: \n");
    out
}

/// `Nov  1 19:29:56 2026 GMT`, as OpenSSL prints times.
fn date(second: i64) -> String {
    match Timestamp::from_second(second) {
        Ok(time) => time.strftime("%b %e %H:%M:%S %Y GMT").to_string(),
        Err(_) => "Bad time value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::admin::words::commands;

    fn order(line: &str) -> Order {
        crate::core::admin::parse(&commands(line)[0])
    }

    #[test]
    fn orders_and_their_levels() {
        use CertificateOrder as C;
        let cases = [
            ("show ssl cert", Level::Operator, C::List),
            ("show ssl cert */a.pem", Level::Operator, C::Show("*/a.pem".into())),
            ("show ssl crt-list", Level::Operator, C::Lists),
            ("show ssl crt-list -n /d", Level::Operator, C::ShowList { list: "/d".into(), numbered: true }),
            ("show ssl crt-list /d", Level::Operator, C::ShowList { list: "/d".into(), numbered: false }),
            ("show ssl ca-file", Level::Operator, C::Nothing),
            ("update ssl cert", Level::Admin, C::Update),
            ("set ssl cert /a.pem", Level::Admin, C::Set("/a.pem".into())),
            ("commit ssl cert /a.pem", Level::Admin, C::Commit("/a.pem".into())),
            ("abort ssl cert /a.pem", Level::Admin, C::Abort("/a.pem".into())),
            ("new ssl cert /a.pem", Level::Admin, C::New("/a.pem".into())),
            ("del ssl cert /a\u{1b}.pem", Level::Admin, C::Delete("/a?.pem".into())),
            ("add ssl crt-list /d", Level::Admin, C::AddToList { list: "/d".into(), certificate: None }),
            (
                "del ssl crt-list /d /d/a:b.pem:3",
                Level::Admin,
                C::DeleteFromList { list: "/d".into(), certificate: "/d/a:b.pem".into(), line: Some(3) },
            ),
            (
                "del ssl crt-list /d /d/a:b.pem",
                Level::Admin,
                C::DeleteFromList { list: "/d".into(), certificate: "/d/a:b.pem".into(), line: None },
            ),
        ];
        for (line, level, expected) in cases {
            assert_eq!(order(line), Order { level, command: Command::Certificates(expected) }, "{line}");
        }
        for line in ["set ssl cert", "commit ssl cert", "del ssl crt-list /d", "add ssl crt-list"] {
            let order = order(line);
            assert!(order.level == Level::Admin && matches!(order.command, Command::Refused(_)), "{line}: {order:?}");
        }
        assert!(matches!(order("show ssl").command, Command::Unknown(_)));
    }

    #[test]
    fn dates_are_openssls() {
        assert_eq!(date(1_795_289_396), "Nov 21 19:29:56 2026 GMT");
        assert_eq!(date(1_793_491_200), "Nov  1 00:00:00 2026 GMT");
        assert_eq!(date(i64::MAX), "Bad time value");
    }

    #[test]
    fn an_empty_certificate_has_no_facts() {
        let text = render("dyn.pem", CertificateStatus::Empty, None);
        assert_eq!(text, "Filename: dyn.pem\nStatus: Empty\nOCSP Response Key: \n");
        let list = render_list(Some("a.pem"), ["a.pem", "b.pem"].into_iter());
        assert_eq!(list, "# transaction\n*a.pem\n# filename\na.pem\nb.pem\n");
    }
}
