//! The codec against its tables (`tests/wire`), every split of them, mutations of them, and httparse as a second
//! opinion. [`invariants`] is shared with the fuzz targets.

pub mod invariants;
mod requests;
mod responses;

#[path = "../../../../../tests/wire/cases.rs"]
mod cases;

use super::{ChunkDecoder, ChunkEvent, Reject};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::head::{Head, Known};
use cases::{Case, Verdict};

/// A body as it came out of the codec.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    bytes: Vec<u8>,
    complete: bool,
    /// Input used.
    consumed: usize,
    trailers: Vec<Vec<u8>>,
}

/// Decodes a chunked body that arrives in pieces of `step` bytes.
fn decode_chunked(input: &[u8], step: usize, status: u16) -> Result<Decoded, Reject> {
    let mut decoder = ChunkDecoder::new(&HttpLimits::default(), status);
    let mut out = Decoded::default();
    for piece in input.chunks(step.max(1)) {
        let mut at = 0;
        loop {
            match decoder.decode(&piece[at..])? {
                ChunkEvent::NeedMore { consumed } => {
                    assert_eq!(at + consumed, piece.len(), "all of the input is used while more is needed");
                    break;
                }
                ChunkEvent::Data { consumed_before, len } => {
                    assert!(len > 0);
                    out.bytes.extend_from_slice(&piece[at + consumed_before..at + consumed_before + len]);
                    at += consumed_before + len;
                }
                ChunkEvent::End { consumed } => {
                    out.consumed += at + consumed;
                    out.complete = true;
                    out.trailers = decoder.trailers().iter().map(|(n, v)| [n, &b": "[..], v].concat()).collect();
                    return Ok(out);
                }
            }
        }
        out.consumed += piece.len();
    }
    Ok(out)
}

/// The pieces in which a case's bytes are offered: whole, byte by byte, and something odd in between.
fn steps(len: usize) -> Vec<usize> {
    let mut steps = vec![len.max(1), 7, 3];
    steps.push(if len < 3000 { 1 } else { 1009 });
    steps
}

/// Fields the tables leave out.
fn is_listed(known: Known) -> bool {
    !matches!(
        known,
        Known::Connection
            | Known::TransferEncoding
            | Known::Expect
            | Known::Date
            | Known::XForwardedFor
            | Known::XForwardedProto
            | Known::XForwardedPort
            | Known::Forwarded
    )
}

fn listed_fields(head: &Head) -> Vec<Vec<u8>> {
    head.fields().filter(|(known, _, _)| is_listed(*known)).map(|(_, n, v)| [n, &b": "[..], v].concat()).collect()
}

/// Compares what the tables say of a body with what came out.
fn check_body(case: &Case, step: usize, input: &[u8], body: &Decoded) {
    let context = || format!("{:?} in pieces of {step}", case.name);
    if let Some(expected) = &case.body {
        assert_eq!(String::from_utf8_lossy(&body.bytes), String::from_utf8_lossy(expected), "{}", context());
    }
    assert_eq!(body.complete, !case.has("short"), "{}: body complete", context());
    assert_eq!(body.trailers, case.trailers, "{}", context());
    if let Some(rest) = &case.rest {
        assert_eq!(String::from_utf8_lossy(&input[body.consumed..]), String::from_utf8_lossy(rest), "{}", context());
    }
}

/// Reads a body of a known length.
fn take_length(input: &[u8], length: u64) -> Decoded {
    let len = usize::try_from(length).unwrap().min(input.len());
    Decoded { bytes: input[..len].to_vec(), complete: len as u64 == length, consumed: len, trailers: Vec::new() }
}

/// Each case of a table, with some bytes changed, a few hundred times over.
fn mutations(table: &str, seed: u64, mut each: impl FnMut(&[u8])) {
    let cases = cases::read(table);
    let mut rng = fastrand::Rng::with_seed(seed);
    const ODD: &[u8] = b"\r\n\0 \t:;,/\\%#*.0159afHT\x7f\x80\xff_-\"";
    for _ in 0..20_000 {
        let case = &cases[rng.usize(..cases.len())];
        if case.input.is_empty() || case.input.len() > 2000 {
            continue;
        }
        let mut bytes = case.input.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..4) {
                0 => bytes[at] = ODD[rng.usize(..ODD.len())],
                1 => bytes.insert(at, ODD[rng.usize(..ODD.len())]),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {
                    let other = &cases[rng.usize(..cases.len())].input;
                    let from = rng.usize(..=other.len().min(2000));
                    let to = (from + rng.usize(..40)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        each(&bytes);
    }
}

#[test]
fn random_hosts_targets_and_cookies_hold_the_invariants() {
    let mut rng = fastrand::Rng::with_seed(5);
    for (alphabet, check) in [
        (&b"aZ0.-_:[]%5"[..], invariants::host_uri as fn(&[u8])),
        (b"//..%2eEfF?a~", invariants::host_uri),
        (b"SRV==; ;a\"", invariants::cookie),
    ] {
        for _ in 0..10_000 {
            let mut bytes = if rng.bool() { b"/".to_vec() } else { Vec::new() };
            bytes.extend((0..rng.usize(..24)).map(|_| alphabet[rng.usize(..alphabet.len())]));
            check(&bytes);
        }
    }
}
