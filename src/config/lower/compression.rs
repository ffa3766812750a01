//! `compression`, wherever it stands, and `global.compression`.

use super::{Lowering, first};
use crate::config::document::NodeId;
use crate::config::model::CompressionLimits;
use crate::config::raw::compression::{CodingWord, Levels};
use crate::config::raw::{At, OneOrMany, compression as raw, frontend::Frontend, text};
use crate::config::shape::shorten;
use crate::core::compress::{Algorithm, Coding, CompressionChoice, CompressionSpec, MediaRange};

const MIN_BYTES_DEFAULT: u64 = 1 << 10;
const MEMORY_DEFAULT: u64 = 256 << 20;
/// Room for one encoder of any kind: below, nothing would be compressed.
const MEMORY_LEAST: u64 = 8 << 20;

/// Types that shrink and are not compressed in themselves.
const TYPES_DEFAULT: [&str; 12] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/*+xml",
    "image/svg+xml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
];

impl Lowering<'_> {
    /// What a frontend says, or `defaults`.
    pub fn frontend_compression(&mut self, written: &At<Frontend>) -> Option<CompressionChoice> {
        self.compression(first!(compression in Some(&**written), self.defaults))
    }

    /// What is said in one place; `None` when nothing is.
    pub fn compression(&mut self, written: Option<&At<raw::CompressionChoice>>) -> Option<CompressionChoice> {
        let on = match &**written? {
            raw::CompressionChoice::Off(_) => return Some(CompressionChoice::Off),
            raw::CompressionChoice::On(on) => on,
        };
        let spec = CompressionSpec {
            algorithms: self.compression_algorithms(on.algorithms.as_ref(), on.levels.as_ref()),
            types: self.compression_types(on.types.as_ref()),
            min_bytes: on.min_bytes.as_ref().and_then(|size| self.size(size, 0, 1 << 30)).unwrap_or(MIN_BYTES_DEFAULT),
            offload: on.offload.as_deref().copied().unwrap_or(false),
        };
        Some(CompressionChoice::On(spec.into()))
    }

    fn compression_algorithms(
        &mut self,
        written: Option<&At<OneOrMany<CodingWord>>>,
        levels: Option<&At<Levels>>,
    ) -> Vec<Algorithm> {
        let mut seen: Vec<(Coding, NodeId)> = Vec::new();
        for (at, word) in written.iter().flat_map(|list| list.items()) {
            let coding = match word {
                CodingWord::Zstd => Coding::Zstd,
                CodingWord::Br => Coding::Brotli,
                CodingWord::Gzip => Coding::Gzip,
            };
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == coding) {
                let first = *first;
                self.error(at, format!("`{}` is offered twice", coding.name())).related(first, "first here");
                continue;
            }
            seen.push((coding, at));
        }
        if let Some(list) = written.filter(|list| list.items().is_empty()) {
            self.missing(list.id(), "no coding is offered")
                .help("name some of `zstd`, `br`, `gzip`, or write `compression: off`");
        }
        let offered: Vec<Coding> = match written {
            Some(_) => seen.iter().map(|(coding, _)| *coding).collect(),
            None => Coding::ALL.to_vec(),
        };
        for coding in Coding::ALL.into_iter().filter(|coding| !offered.contains(coding)) {
            if let Some(level) = levels.and_then(|levels| level_of(levels, coding)) {
                self.error(level.id(), format!("`{}` is not offered", coding.name()))
                    .help("add it to `algorithms`, or remove its level");
            }
        }
        let algorithm = |coding: Coding| {
            let level = levels.and_then(|levels| level_of(levels, coding)).and_then(|level| u8::try_from(**level).ok());
            Algorithm { coding, level: level.unwrap_or(coding.default_level()).clamp(1, coding.highest_level()) }
        };
        offered.into_iter().map(algorithm).collect()
    }

    fn compression_types(&mut self, written: Option<&At<OneOrMany<text::Text>>>) -> Vec<MediaRange> {
        let Some(written) = written else {
            return TYPES_DEFAULT.iter().filter_map(|text| MediaRange::parse(text)).collect();
        };
        let items = written.items();
        if items.is_empty() {
            self.missing(written.id(), "no type is compressed")
                .help("name some, as `text/*`; remove the key for the usual ones, or write `compression: off`");
        }
        let mut types = Vec::with_capacity(items.len());
        for (at, item) in items {
            let text = item.as_ref();
            if let Some(range) = MediaRange::parse(text) {
                types.push(range);
                continue;
            }
            let diagnostic = self.error(at, format!("`{}` is not a content type", shorten(text)));
            let bare = text.split(';').next().unwrap_or_default().trim();
            if bare != text && MediaRange::parse(bare).is_some() {
                diagnostic.label(format!("write `{bare}`: parameters are not looked at"));
            }
            diagnostic.help("types are `text/html`, `text/*`, `application/*+json` or `*/*`");
        }
        types
    }

    /// Bytes per second, 0 for any number.
    pub fn compression_rate(&mut self, written: Option<&raw::CompressionLimits>) -> u32 {
        let rate =
            written.and_then(|w| w.max_rate.as_ref()).and_then(|size| self.size(size, 1024, u64::from(u32::MAX)));
        rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(0)
    }

    pub fn compression_limits(&mut self, written: Option<&raw::CompressionLimits>) -> CompressionLimits {
        let memory = written.and_then(|w| w.memory.as_ref()).and_then(|size| self.size(size, MEMORY_LEAST, 1 << 40));
        CompressionLimits {
            memory_bytes: memory.unwrap_or(MEMORY_DEFAULT),
            cpu_max_percent: written.and_then(|w| w.max_cpu.as_deref()).copied(),
        }
    }
}

fn level_of(levels: &Levels, coding: Coding) -> Option<&At<u32>> {
    match coding {
        Coding::Zstd => levels.zstd.as_ref(),
        Coding::Brotli => levels.br.as_ref(),
        Coding::Gzip => levels.gzip.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_types_are_types() {
        for text in TYPES_DEFAULT {
            assert!(MediaRange::parse(text).is_some(), "{text}");
        }
    }
}
