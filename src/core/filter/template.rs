//! Values with variables: reading `%[name]`, and filling in what is known of a request.
//!
//! Whatever a variable holds, what is written is a valid field value: bytes that none may hold are left out.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;

use super::{Template, TemplatePiece};
use crate::core::http::Head;
use crate::core::http::grammar::{is_token, is_value_byte};
use crate::core::proxy_protocol::sample::SAMPLES;
use crate::core::proxy_protocol::{Sample, Tlvs};
use crate::core::tls::{TlsFacts, TlsSample};

/// What the variables stand for while one request is served. Names not known yet are empty.
#[derive(Debug, Clone, Copy)]
pub struct TemplateContext<'a> {
    /// `client_ip`, `client_port`; empty for unix sockets.
    pub client: Option<SocketAddr>,
    /// `frontend`
    pub frontend: &'a str,
    /// `backend`
    pub backend: &'a str,
    /// `server`
    pub server: &'a str,
    /// `request_id`
    pub request_id: &'a [u8],
    /// `scheme`: whether the client came over TLS.
    pub tls: bool,
    /// `host`: normalised, without port.
    pub host: &'a str,
    /// What the connection's PROXY header said besides addresses, for `fc_pp_authority` and its kin.
    pub announced: Option<&'a Tlvs>,
    /// What is known of the client's TLS; `None` in clear text.
    pub tls_facts: Option<&'a TlsFacts>,
    /// The request, for `path`, `query`, `method` and `header(NAME)`.
    pub request: &'a Head,
}

/// Variables without an argument, as they are written between `%[` and `]`.
const VARIABLES: [(&str, TemplatePiece); 11] = [
    ("client_ip", TemplatePiece::ClientIp),
    ("client_port", TemplatePiece::ClientPort),
    ("frontend", TemplatePiece::Frontend),
    ("backend", TemplatePiece::Backend),
    ("server", TemplatePiece::Server),
    ("request_id", TemplatePiece::RequestId),
    ("scheme", TemplatePiece::Scheme),
    ("host", TemplatePiece::Host),
    ("path", TemplatePiece::Path),
    ("query", TemplatePiece::Query),
    ("method", TemplatePiece::Method),
];

/// Why a template cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub trouble: TemplateTrouble,
}

/// What is wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateTrouble {
    /// `%[` without `]`.
    Unclosed,
    /// No variable has that name.
    UnknownVariable(Box<str>),
    /// `header(…)` names nothing that can be a field.
    FieldName(Box<str>),
    /// A byte that no field value may hold.
    ControlByte,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trouble {
            TemplateTrouble::Unclosed => f.write_str("`%[` is not closed; a percent sign itself is written `%%`"),
            TemplateTrouble::FieldName(name) => write!(f, "`{name}` is no field name"),
            TemplateTrouble::ControlByte => f.write_str("a control character cannot stand in a field"),
            TemplateTrouble::UnknownVariable(name) => {
                write!(f, "there is no variable `{name}`; there are ")?;
                for (known, _) in &VARIABLES {
                    write!(f, "{known}, ")?;
                }
                for (known, _) in &SAMPLES {
                    write!(f, "{known}, ")?;
                }
                f.write_str("fc_pp_tlv(TYPE), header(NAME)")?;
                TlsSample::names().try_for_each(|name| write!(f, ", {name}"))
            }
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// The names of all variables without an argument, in the order they are listed to a reader.
    pub fn variables() -> impl Iterator<Item = &'static str> {
        let announced = SAMPLES.iter().map(|(name, _)| *name);
        VARIABLES.iter().map(|(name, _)| *name).chain(announced).chain(TlsSample::names())
    }

    /// Reads a template: `%[name]` and `%[header(NAME)]` are variables, `%%` is a percent sign.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if let Some(at) = text.bytes().position(|b| !is_value_byte(b)) {
            return Err(TemplateError { at, trouble: TemplateTrouble::ControlByte });
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            let at = text.len() - after.len() - 1;
            let Some(inside) = after.strip_prefix('[') else {
                literal.push('%');
                rest = after.strip_prefix('%').unwrap_or(after);
                continue;
            };
            let Some((name, after)) = inside.split_once(']') else {
                return Err(TemplateError { at, trouble: TemplateTrouble::Unclosed });
            };
            let piece = variable(name.trim()).map_err(|trouble| TemplateError { at: at + 2, trouble })?;
            if !literal.is_empty() {
                pieces.push(TemplatePiece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(piece);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(TemplatePiece::Literal(literal.into()));
        }
        Ok(Template { pieces })
    }

    /// Writes the value with its variables filled in. Bytes no field value may hold (CR, LF, NUL and other controls)
    /// are left out.
    pub fn render(&self, context: &TemplateContext<'_>, out: &mut Vec<u8>) {
        self.each_part(context, |part, _| out.extend(part.iter().copied().filter(|&b| is_value_byte(b))));
    }

    /// Whether some variable is taken from the request itself.
    pub fn reads_request(&self) -> bool {
        self.pieces.iter().any(|piece| {
            use TemplatePiece::{Header, Method, Path, Query};
            matches!(piece, Path | Query | Method | Header(_))
        })
    }

    /// Gives each part as it is, with whether it is literal.
    pub(crate) fn each_part(&self, context: &TemplateContext<'_>, mut put: impl FnMut(&[u8], bool)) {
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Literal(text) => put(text.as_bytes(), true),
                TemplatePiece::ClientIp => {
                    if let Some(client) = context.client {
                        let mut text = [0u8; 64];
                        let mut rest = &mut text[..];
                        // The longest address is 45 bytes.
                        let _ = write!(rest, "{}", client.ip().to_canonical());
                        let left = rest.len();
                        put(&text[..64 - left], false);
                    }
                }
                TemplatePiece::ClientPort => {
                    if let Some(client) = context.client {
                        put(itoa::Buffer::new().format(client.port()).as_bytes(), false);
                    }
                }
                TemplatePiece::Frontend => put(context.frontend.as_bytes(), false),
                TemplatePiece::Backend => put(context.backend.as_bytes(), false),
                TemplatePiece::Server => put(context.server.as_bytes(), false),
                TemplatePiece::RequestId => put(context.request_id, false),
                TemplatePiece::Scheme => put(if context.tls { b"https" } else { b"http" }, false),
                TemplatePiece::Host => put(context.host.as_bytes(), false),
                TemplatePiece::Path => put(context.request.path(), false),
                TemplatePiece::Query => put(context.request.query().unwrap_or_default(), false),
                TemplatePiece::Method => put(context.request.method(), false),
                TemplatePiece::Announced(sample) => {
                    put(context.announced.and_then(|said| sample.of(said)).unwrap_or_default(), false);
                }
                TemplatePiece::Tls(sample) => sample.value(context.tls_facts).write(|value| put(value, false)),
                TemplatePiece::Header(name) => put(context.request.get(name.as_bytes()).unwrap_or_default(), false),
            }
        }
    }
}

impl fmt::Display for Template {
    /// As it would be written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Literal(text) => f.write_str(&text.replace('%', "%%"))?,
                TemplatePiece::Header(name) => write!(f, "%[header({name})]")?,
                TemplatePiece::Announced(sample) => write!(f, "%[{sample}]")?,
                TemplatePiece::Tls(sample) => write!(f, "%[{sample}]")?,
                plain => {
                    let name = VARIABLES.iter().find(|(_, p)| p == plain).map_or("", |(name, _)| name);
                    write!(f, "%[{name}]")?;
                }
            }
        }
        Ok(())
    }
}

fn variable(name: &str) -> Result<TemplatePiece, TemplateTrouble> {
    if let Some((_, piece)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(piece.clone());
    }
    if let Some(sample) = Sample::parse(name) {
        return Ok(TemplatePiece::Announced(sample));
    }
    if let Some(sample) = TlsSample::parse(name) {
        return Ok(TemplatePiece::Tls(sample));
    }
    match name.strip_prefix("header(").and_then(|rest| rest.strip_suffix(')')) {
        Some(field) if is_token(field.as_bytes()) => Ok(TemplatePiece::Header(field.into())),
        Some(field) => Err(TemplateTrouble::FieldName(field.into())),
        None => Err(TemplateTrouble::UnknownVariable(name.into())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A request as templates see it.
    pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Head {
        let mut head = Head::new();
        let (method, target) = (head.store(method.as_bytes()), head.store(target.as_bytes()));
        head.set_request_line(method, target, crate::core::http::Version::Http11);
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    /// What is known of it.
    pub(crate) fn context(request: &Head) -> TemplateContext<'_> {
        TemplateContext {
            client: Some("[::ffff:192.0.2.1]:4711".parse().unwrap()),
            frontend: "public",
            backend: "web",
            server: "web01",
            request_id: b"id-1",
            tls: true,
            tls_facts: None,
            host: "a.example",
            announced: None,
            request,
        }
    }

    #[test]
    fn variables_are_filled_in() {
        let head = request("GET", "/p/q?x=1", &[("X-A", "first"), ("x-a", "second")]);
        for (text, expected) in [
            ("plain", "plain"),
            ("%[client_ip]:%[client_port]", "192.0.2.1:4711"),
            ("%[frontend]/%[backend]/%[server]", "public/web/web01"),
            ("%[scheme]://%[host]%[path]?%[query]", "https://a.example/p/q?x=1"),
            ("%[method] %[request_id] %[ header(X-A) ]", "GET id-1 first"),
            ("[%[header(X-None)]]", "[]"),
            ("100%% of %d 5%", "100% of %d 5%"),
            ("%%[host]", "%[host]"),
        ] {
            let mut out = Vec::new();
            Template::parse(text).unwrap().render(&context(&head), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_known_of_the_clients_tls() {
        let head = request("GET", "/", &[]);
        let facts = crate::core::tls::sample::tests::facts();
        let with = TemplateContext { tls_facts: Some(&facts), ..context(&head) };
        for (text, expected, in_clear) in [
            ("%[ssl_c_s_dn]", "/O=Example/CN=alice", ""),
            ("cn=%[ssl_c_s_dn(CN)] serial=%[ssl_c_serial,hex]", "cn=alice serial=0A1B", "cn= serial="),
            ("%[ssl_c_verify] %[ssl_c_used]", "10 1", " 0"),
            ("%[ssl_fc_protocol] %[ssl_fc_sni]", "TLSv1.3 a.test", " "),
        ] {
            let template = Template::parse(text).unwrap();
            for (context, expected) in [(&with, expected), (&context(&head), in_clear)] {
                let mut out = Vec::new();
                template.render(context, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
            }
        }
    }

    #[test]
    fn nothing_breaks_out_of_a_field() {
        let head = request("GET", "/", &[("X", "a\r\nSet-Cookie: b\0\u{7f}é")]);
        let mut out = Vec::new();
        Template::parse("<%[header(x)]>").unwrap().render(&context(&head), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "<aSet-Cookie: bé>");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, at, says) in [
            ("a%[host", 1, "`%[` is not closed; a percent sign itself is written `%%`"),
            ("a%[header(X Y)]", 3, "`X Y` is no field name"),
            ("a\nb", 1, "a control character cannot stand in a field"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!((error.at, error.to_string().as_str()), (at, says), "{text}");
        }
        let unknown = Template::parse("x %[hots]").unwrap_err();
        assert_eq!(unknown.at, 4);
        assert!(unknown.to_string().starts_with("there is no variable `hots`; there are client_ip,"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "([a-z%\\[\\]() ]|%%|%\\[host\\]|%\\[header\\(X-Y\\)\\]){0,12}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }
    }
}
