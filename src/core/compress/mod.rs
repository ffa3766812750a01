//! Compressing answers: what is configured, what a client takes, which answers are fit, and what becomes of their heads.
//!
//! Reading order: [`negotiate`] (`Accept-Encoding`), [`fitness`] (may this answer be compressed), [`rewrite`] (its head
//! afterwards), [`meter`] (how fast bytes go in). Not here: the encoders and the memory they take
//! (`runtime::compression`), and when pieces of body pass through them (`frontend::stream`).

pub mod fitness;
pub mod meter;
pub mod negotiate;
pub mod rewrite;

use std::sync::Arc;

/// A content coding that is made here (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// `zstd`, RFC 8878.
    Zstd,
    /// `br`, RFC 7932.
    Brotli,
    /// `gzip`, RFC 1952.
    Gzip,
}

impl Coding {
    /// Every one, in the order in which they are liked unless the configuration says otherwise.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// As it stands in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The effort that is made unless the configuration says otherwise: what pays while a client waits.
    pub fn default_level(self) -> u8 {
        match self {
            Coding::Zstd => 3,
            Coding::Brotli | Coding::Gzip => 4,
        }
    }

    /// The highest effort. More would hold up the other connections of a worker: a piece of 16 KiB is encoded in one go.
    pub fn highest_level(self) -> u8 {
        match self {
            Coding::Zstd => 12,
            Coding::Brotli | Coding::Gzip => 9,
        }
    }

    /// The coding that a member of `Accept-Encoding` names, in any case. `x-gzip` is gzip (RFC 9110 section 8.4.1.3).
    fn named(name: &[u8]) -> Option<Coding> {
        let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
        match name.len() {
            2 if is(b"br") => Some(Coding::Brotli),
            4 if is(b"zstd") => Some(Coding::Zstd),
            4 if is(b"gzip") => Some(Coding::Gzip),
            6 if is(b"x-gzip") => Some(Coding::Gzip),
            _ => None,
        }
    }
}

/// A coding with the effort it is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// The coding.
    pub coding: Coding,
    /// From 1 to [`Coding::highest_level`].
    pub level: u8,
}

/// What is said about compression in one place of the configuration (`compression`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompressionChoice {
    /// `off`: nothing is compressed, whatever wider places say.
    Off,
    /// Compressed like this.
    On(Arc<CompressionSpec>),
}

impl CompressionChoice {
    /// What holds for a request: the narrowest place that says something.
    pub fn narrowest(places: [Option<&CompressionChoice>; 3]) -> Option<&Arc<CompressionSpec>> {
        match places.into_iter().flatten().next()? {
            CompressionChoice::Off => None,
            CompressionChoice::On(spec) => Some(spec),
        }
    }
}

/// How answers are compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionSpec {
    /// What clients are offered, the best liked first; each coding once, at least one.
    pub algorithms: Vec<Algorithm>,
    /// Content types that are worth it.
    pub types: Vec<MediaRange>,
    /// Bytes below which an answer of known length is left as it is.
    pub min_bytes: u64,
    /// Servers are not told what codings the client takes, so that they leave compressing to us. HAProxy: `compression
    /// offload`.
    pub offload: bool,
}

impl CompressionSpec {
    /// Whether answers of this `Content-Type` are compressed.
    pub fn covers(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|&b| b == b';').next().unwrap_or_default();
        let essence = crate::core::http::grammar::trim(essence);
        self.types.iter().any(|range| range.covers(essence))
    }
}

/// Some content types: `text/html`, `text/*`, `application/*+json` or `*/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    /// Lower case; `*` for any.
    pub kind: Box<str>,
    /// Lower case. With a star in front it is how the subtype ends.
    pub subtype: Box<str>,
}

impl MediaRange {
    /// Reads one; `None` when it is none.
    pub fn parse(text: &str) -> Option<MediaRange> {
        let (kind, subtype) = text.split_once('/')?;
        let is_name = |name: &str| crate::core::http::grammar::is_token(name.as_bytes()) && !name.contains('*');
        let kind_fits = is_name(kind) || kind == "*";
        let rest = subtype.strip_prefix('*').unwrap_or(subtype);
        let subtype_fits = is_name(rest) || (rest.is_empty() && subtype == "*");
        // `*/html` is no range that means anything.
        let fits = kind_fits && subtype_fits && (kind != "*" || subtype == "*");
        fits.then(|| MediaRange {
            kind: kind.to_ascii_lowercase().into(),
            subtype: subtype.to_ascii_lowercase().into(),
        })
    }

    /// Whether it covers a type without parameters.
    fn covers(&self, essence: &[u8]) -> bool {
        let Some(slash) = memchr::memchr(b'/', essence) else { return false };
        let (kind, subtype) = (&essence[..slash], essence.get(slash + 1..).unwrap_or_default());
        let kind_fits = &*self.kind == "*" || kind.eq_ignore_ascii_case(self.kind.as_bytes());
        let subtype_fits = match self.subtype.strip_prefix('*') {
            None => subtype.eq_ignore_ascii_case(self.subtype.as_bytes()),
            Some(end) => subtype
                .len()
                .checked_sub(end.len())
                .and_then(|start| subtype.get(start..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes())),
        };
        kind_fits && subtype_fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_what_they_say() {
        let cases = [
            ("text/html", "text/html", true),
            ("text/html", "TEXT/HTML", true),
            ("text/html", "text/htm", false),
            ("text/html", "text/html2", false),
            ("Text/*", "text/css", true),
            ("text/*", "texts/css", false),
            ("text/*", "text", false),
            ("*/*", "image/png", true),
            ("application/*+json", "application/ld+json", true),
            ("application/*+json", "application/json", false),
            ("application/*+json", "application/+JSON", true),
        ];
        for (range, essence, covered) in cases {
            let range = MediaRange::parse(range).unwrap();
            assert_eq!(range.covers(essence.as_bytes()), covered, "{range:?} {essence}");
        }
        for bad in
            ["", "text", "/", "text/", "/html", "*/html", "te*t/html", "text/h*ml", "text/html; q=1", "text/html,"]
        {
            assert_eq!(MediaRange::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_narrowest_place_counts() {
        let algorithms = vec![Algorithm { coding: Coding::Gzip, level: 1 }];
        let spec = Arc::new(CompressionSpec { algorithms, types: Vec::new(), min_bytes: 0, offload: false });
        let (on, off) = (CompressionChoice::On(spec), CompressionChoice::Off);
        assert!(CompressionChoice::narrowest([None, None, Some(&on)]).is_some());
        assert!(CompressionChoice::narrowest([None, Some(&off), Some(&on)]).is_none());
        assert!(CompressionChoice::narrowest([Some(&on), Some(&off), None]).is_some());
        assert!(CompressionChoice::narrowest([None, None, None]).is_none());
    }
}
