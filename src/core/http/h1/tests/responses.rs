//! Answers: `tests/wire/responses.txt`.

use super::*;
use crate::core::http::h1::{Body, Parsed, parse_response, response_framing, write_chunk_head, write_last_chunk};
use crate::core::http::hop::strip_hop_by_hop;

const TABLE: &str = include_str!("../../../../../tests/wire/responses.txt");

fn parse_in_steps(input: &[u8], step: usize, head: &mut Head) -> Result<Parsed, Reject> {
    let mut end = 0;
    while end < input.len() {
        end = (end + step).min(input.len());
        match parse_response(&input[..end], head, &HttpLimits::default())? {
            Parsed::Partial => {}
            complete => return Ok(complete),
        }
    }
    Ok(Parsed::Partial)
}

fn check(case: &Case, step: usize) {
    let context = || format!("{:?} in pieces of {step}", case.name);
    let mut head = Head::new();
    let method = case.request_method.as_bytes();
    let decided = parse_in_steps(&case.input, step, &mut head).and_then(|parsed| match parsed {
        Parsed::Partial => Ok(None),
        Parsed::Complete { consumed } => Ok(Some((consumed, response_framing(&head, method, case.upgrade_asked)?))),
    });
    let (consumed, framing) = match decided {
        Ok(None) => return assert_eq!(case.verdict, Verdict::Wait, "{}", context()),
        Err(reject) => {
            return assert_eq!(case.verdict, Verdict::Refuse(reject.status), "{}: {reject}", context());
        }
        Ok(Some(decided)) => decided,
    };
    strip_hop_by_hop(&mut head, framing.switching);
    let start = head.status().to_string().into_bytes();
    let input = &case.input[consumed..];
    let body = match framing.body {
        Body::Empty => Ok(take_length(input, 0)),
        Body::Length(length) => Ok(take_length(input, length)),
        Body::Chunked => decode_chunked(input, step, 502),
        Body::UntilClose => Ok(take_length(input, input.len() as u64)),
    };
    match body {
        Err(reject) => assert_eq!(case.verdict, Verdict::Abort(reject.status, start), "{}: {reject}", context()),
        Ok(body) => {
            assert_eq!(case.verdict, Verdict::Forward(start), "{}", context());
            let text = |fields: &[Vec<u8>]| fields.iter().map(|f| f.escape_ascii().to_string()).collect::<Vec<_>>();
            assert_eq!(text(&listed_fields(&head)), text(&case.fields), "{}", context());
            check_body(case, step, input, &body);
        }
    }
    for flag in &case.flags {
        let holds = match flag.as_str() {
            "reuse" => framing.keep_alive,
            "close" => !framing.keep_alive,
            "until-close" => framing.body == Body::UntilClose && !framing.keep_alive,
            "interim" => framing.interim && !framing.switching,
            "switching" => framing.switching && !framing.interim && !framing.keep_alive,
            "short" => framing.body != Body::Empty,
            _ => panic!("{:?}: {flag:?} means nothing for an answer", case.name),
        };
        assert!(holds, "{:?}: {flag}, but {framing:?}", case.name);
    }
}

#[test]
fn the_table_in_every_piece() {
    let cases = cases::read(TABLE);
    assert!(cases.len() >= 80, "{} cases", cases.len());
    for case in &cases {
        for step in steps(case.input.len()) {
            check(case, step);
        }
    }
}

#[test]
fn mutations_of_the_table_hold_the_invariants() {
    let mut accepted = 0;
    mutations(TABLE, 2, |bytes| accepted += usize::from(invariants::response_head(bytes)));
    assert!(accepted > 1000, "only {accepted} of the mutations were accepted: they prove little");
}

#[test]
fn chunks_written_are_chunks_read() {
    let mut rng = fastrand::Rng::with_seed(3);
    for size in [1usize, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65536, 1 << 20] {
        let data: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        let mut wire = Vec::new();
        write_chunk_head(&mut wire, size);
        assert_eq!(wire, format!("{size:x}\r\n").as_bytes());
        wire.extend_from_slice(&data);
        wire.extend_from_slice(b"\r\n");
        write_last_chunk(&mut wire, &[(b"X-Sum".to_vec(), b"1".to_vec())]);
        for step in [wire.len(), 1000, 4096] {
            let decoded = decode_chunked(&wire, step, 502).unwrap();
            assert!(decoded.bytes == data && decoded.complete && decoded.consumed == wire.len());
            assert_eq!(decoded.trailers, [b"X-Sum: 1".to_vec()]);
        }
    }
}

#[test]
fn random_chunked_bytes_read_the_same_in_every_piece() {
    let mut rng = fastrand::Rng::with_seed(4);
    const ALPHABET: &[u8] = b"0125af;\r\n\r\n\r\nX: \t\0";
    for _ in 0..20_000 {
        let len = rng.usize(..40);
        let bytes: Vec<u8> = (0..len).map(|_| ALPHABET[rng.usize(..ALPHABET.len())]).collect();
        invariants::chunked_body(&bytes);
    }
}
