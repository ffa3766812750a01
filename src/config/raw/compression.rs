//! `compression`: of a frontend, a backend or a route, the narrowest counts; and what it may take of the process.

use schemars::JsonSchema;
use serde::Deserialize;

use super::frontend::OffWord;
use super::text::{Size, Text};
use super::{OneOrMany, Opt};

/// `off`, or how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum CompressionChoice {
    Off(OffWord),
    On(Box<Compression>),
}

/// How answers are compressed.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Compression {
    /// Codings that clients are offered, the best liked first. Default: [zstd, br, gzip].
    pub algorithms: Opt<OneOrMany<CodingWord>>,
    /// Effort of each coding.
    pub levels: Opt<Levels>,
    /// Content types that are compressed: `text/html`, `text/*`, `application/*+json`. Default: text/*, JSON, JavaScript, XML,
    /// SVG, WebAssembly.
    pub types: Opt<OneOrMany<Text>>,
    /// Answers known to be smaller are left as they are. Default: 1KiB.
    pub min_bytes: Opt<Size>,
    /// Whether `Accept-Encoding` is taken off requests, so that servers leave compressing to lockgate. Default: false.
    pub offload: Opt<bool>,
}

/// Content codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum CodingWord {
    Zstd,
    Br,
    Gzip,
}

/// Effort of each coding: the higher, the smaller and the slower.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Levels {
    /// Of zstd. Default: 3.
    #[schemars(range(min = 1, max = 12))]
    pub zstd: Opt<u32>,
    /// Of brotli. Default: 4.
    #[schemars(range(min = 1, max = 9))]
    pub br: Opt<u32>,
    /// Of gzip. Default: 4.
    #[schemars(range(min = 1, max = 9))]
    pub gzip: Opt<u32>,
}

/// What compression may take. Answers beyond it pass as they are and count in `comp_byp`.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CompressionLimits {
    /// Memory of all encoders together; gzip takes 384 KiB per answer under way, zstd 1.5 MiB (from level 4 on 2 MiB), brotli
    /// 2.75 MiB (from level 5 on 6.5 MiB). Default: 256MiB.
    pub memory: Opt<Size>,
    /// Bytes of body per second that are given to compression. Default: no limit.
    pub max_rate: Opt<Size>,
    /// Percentage of the workers' time in use beyond which nothing more is compressed. Default: no limit.
    #[schemars(range(min = 1, max = 99))]
    pub max_cpu: Opt<u32>,
}
