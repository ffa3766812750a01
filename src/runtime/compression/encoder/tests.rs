//! Every coding against its own decoder.

use std::io::Read;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn budget() -> Arc<Budget> {
    Budget::new(u64::MAX, 0, None)
}

fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
        Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out).unwrap(),
    };
    out
}

/// What can be decoded of the beginning of something.
fn decodable(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    fn until_error(mut reader: impl Read) -> Vec<u8> {
        let (mut out, mut piece) = (Vec::new(), [0; 512]);
        while let Ok(n @ 1..) = reader.read(&mut piece) {
            out.extend_from_slice(&piece[..n]);
        }
        out
    }
    match coding {
        Coding::Gzip => until_error(flate2::read::GzDecoder::new(bytes)),
        Coding::Brotli => until_error(brotli::Decompressor::new(bytes, 4096)),
        Coding::Zstd => until_error(zstd::stream::read::Decoder::new(bytes).unwrap()),
    }
}

/// Text that compresses about as pages do.
fn page(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    let words = ["<div class=\"row\">", "</div>\n", "lorem", " ipsum", " 42", "&nbsp;", " dolor sit", "é"];
    let mut out = Vec::with_capacity(length + 32);
    while out.len() < length {
        out.extend_from_slice(words[random.usize(..words.len())].as_bytes());
    }
    out.truncate(length);
    out
}

fn algorithms() -> impl Iterator<Item = Algorithm> {
    let levels = |coding: Coding| [1, coding.default_level(), coding.highest_level()];
    Coding::ALL.into_iter().flat_map(move |coding| levels(coding).map(|level| Algorithm { coding, level }))
}

#[test]
fn bodies_come_back_and_encoders_serve_again() {
    for algorithm in algorithms() {
        let mut encoder = Encoder::new(algorithm, &budget()).unwrap();
        for length in [0, 1, 100, 16 * 1024, 700_000] {
            let body = page(length);
            let mut out = Vec::new();
            encoder.begin().unwrap();
            for piece in body.chunks(16 * 1024) {
                encoder.write(piece, &mut out).unwrap();
            }
            encoder.finish(&mut out).unwrap();
            assert!(decoded(algorithm.coding, &out) == body, "{algorithm:?}, {length} bytes");
            assert!(length < 1000 || out.len() * 2 < length, "{algorithm:?} makes {} of {length}", out.len());
        }
    }
}

#[test]
fn bytes_that_cannot_be_compressed_come_back_too() {
    let mut random = fastrand::Rng::with_seed(3);
    let body: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
    for algorithm in algorithms() {
        let mut encoder = Encoder::new(algorithm, &budget()).unwrap();
        let mut out = Vec::new();
        encoder.begin().unwrap();
        encoder.write(&body, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert!(decoded(algorithm.coding, &out) == body, "{algorithm:?}");
        // gzip's first level writes noise in codes that suit text.
        assert!(out.len() < body.len() / 16 * 17, "{algorithm:?}: {}", out.len());
    }
}

#[test]
fn a_flush_lets_everything_be_decoded() {
    for algorithm in algorithms() {
        let mut encoder = Encoder::new(algorithm, &budget()).unwrap();
        encoder.begin().unwrap();
        let (mut out, mut said) = (Vec::new(), Vec::new());
        for event in 0..50 {
            let text = format!("event: tick\ndata: {event}\n\n");
            encoder.write(text.as_bytes(), &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            said.extend_from_slice(text.as_bytes());
            assert_eq!(decodable(algorithm.coding, &out), said, "{algorithm:?}, event {event}");
        }
        let length = out.len();
        encoder.flush(&mut out).unwrap();
        assert!(out.len() <= length + 16, "{algorithm:?}: nothing new was flushed into {}", out.len() - length);
        encoder.finish(&mut out).unwrap();
        assert_eq!(decoded(algorithm.coding, &out), said);
    }
}

#[test]
fn zstd_windows_are_within_what_clients_take() {
    // RFC 9659: 8 MiB at most. Ours show in the frame's header (RFC 8878 section 3.1.1.1.2).
    for level in 1..=Coding::Zstd.highest_level() {
        let mut encoder = Encoder::new(Algorithm { coding: Coding::Zstd, level }, &budget()).unwrap();
        let mut out = Vec::new();
        encoder.begin().unwrap();
        encoder.write(&page(400_000), &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert_eq!(out[4] & 0x20, 0, "no single segment");
        assert_eq!(out[5] >> 3, (ZSTD_WINDOW - 10) as u8, "level {level}");
    }
}

#[test]
fn memory_limits_their_number() {
    let gzip = Algorithm { coding: Coding::Gzip, level: 1 };
    let budget = Budget::new(2 * memory_bytes(gzip), 0, None);
    let held = [Encoder::new(gzip, &budget).unwrap(), Encoder::new(gzip, &budget).unwrap()];
    assert!(Encoder::new(gzip, &budget).is_none());
    drop(held);
    assert!(Encoder::new(gzip, &budget).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_pieces_and_flushes_come_back(
        pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..3000), any::<bool>()), 0..12),
        which in 0usize..9,
    ) {
        let algorithm = algorithms().nth(which).unwrap();
        let mut encoder = Encoder::new(algorithm, &budget()).unwrap();
        let (mut out, mut body) = (Vec::new(), Vec::new());
        encoder.begin().unwrap();
        for (piece, flush) in &pieces {
            encoder.write(piece, &mut out).unwrap();
            body.extend_from_slice(piece);
            if *flush {
                encoder.flush(&mut out).unwrap();
            }
        }
        encoder.finish(&mut out).unwrap();
        prop_assert_eq!(decoded(algorithm.coding, &out), body);
    }
}
