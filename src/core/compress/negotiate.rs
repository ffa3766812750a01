//! `Accept-Encoding`: which of the codings that are offered a client takes (RFC 9110 section 12.5.3).

use super::{Algorithm, Coding};
use crate::core::http::grammar::{list, trim};

/// A weight in thousandths (RFC 9110 section 12.4.2).
type Weight = u16;

/// The weights a client gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weights {
    /// By position in [`Coding::ALL`].
    codings: [Option<Weight>; 3],
    identity: Option<Weight>,
    /// `*`: whatever is not named.
    others: Option<Weight>,
}

/// Chooses among what is offered, best liked first. `None` means that the answer goes out as it is: the client said
/// nothing, takes none of them, or likes the plain form better.
///
/// The highest weight wins; among equals the order of the offer decides. Members that cannot be read are passed over, and
/// of a coding that is named twice the lower weight counts: what a client may not understand is not sent.
pub fn choose<'a>(fields: impl Iterator<Item = &'a [u8]>, offered: &[Algorithm]) -> Option<Algorithm> {
    let mut weights = Weights::default();
    for member in fields.flat_map(list) {
        weights.observe(member);
    }
    let mut best: Option<(Weight, Algorithm)> = None;
    for algorithm in offered {
        let weight = weights.of(algorithm.coding);
        if weight > 0 && best.is_none_or(|(highest, _)| weight > highest) {
            best = Some((weight, *algorithm));
        }
    }
    let (weight, algorithm) = best?;
    (weights.identity.unwrap_or(0) <= weight).then_some(algorithm)
}

impl Weights {
    /// The weight of a coding; 0 when the client does not take it.
    fn of(&self, coding: Coding) -> Weight {
        self.codings[coding as usize].or(self.others).unwrap_or(0)
    }

    fn observe(&mut self, member: &[u8]) {
        let mut parts = member.split(|&b| b == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        let mut weight = 1000;
        for parameter in parts {
            let Some((name, value)) = split_parameter(parameter) else { return };
            if name.eq_ignore_ascii_case(b"q") {
                match parse_weight(value) {
                    Some(given) => weight = given,
                    None => return,
                }
            }
        }
        let place = match Coding::named(name) {
            Some(coding) => &mut self.codings[coding as usize],
            None if name == b"*" => &mut self.others,
            None if name.eq_ignore_ascii_case(b"identity") => &mut self.identity,
            None => return,
        };
        *place = Some(place.map_or(weight, |before| before.min(weight)));
    }
}

fn split_parameter(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', text)?;
    Some((trim(text.get(..equals)?), trim(text.get(equals + 1..)?)))
}

/// `0`, `0.5`, `1.000`: at most three digits behind the point, at most 1.
fn parse_weight(text: &[u8]) -> Option<Weight> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut place = 100;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += Weight::from(digit - b'0') * place;
        place /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(codings: &[Coding]) -> Vec<Algorithm> {
        codings.iter().map(|&coding| Algorithm { coding, level: coding.default_level() }).collect()
    }

    fn chosen(accept: &str, codings: &[Coding]) -> Option<Coding> {
        choose(std::iter::once(accept.as_bytes()), &offer(codings)).map(|a| a.coding)
    }

    #[test]
    fn what_clients_say_and_get() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = &Coding::ALL[..];
        let cases: &[(&str, &[Coding], Option<Coding>)] = &[
            ("gzip, deflate, br, zstd", all, Some(Zstd)),
            ("gzip, deflate, br, zstd", &[Gzip, Brotli], Some(Gzip)),
            ("gzip, deflate", all, Some(Gzip)),
            ("GZIP", all, Some(Gzip)),
            ("x-gzip", all, Some(Gzip)),
            ("deflate", all, None),
            ("", all, None),
            (",,", all, None),
            ("identity", all, None),
            ("*", all, Some(Zstd)),
            ("*;q=0", all, None),
            ("*;q=0, br", all, Some(Brotli)),
            ("*, zstd;q=0", all, Some(Brotli)),
            ("gzip;q=1.0, br;q=0.5", all, Some(Gzip)),
            ("gzip;q=0.8, br;q=0.8", all, Some(Brotli)),
            ("gzip ; q=0.2 , br\t;\tQ=0.3", all, Some(Brotli)),
            ("gzip;q=0", all, None),
            ("gzip;q=0.000", all, None),
            ("gzip;q=0.001", all, Some(Gzip)),
            ("gzip;q=0.5, identity", all, None),
            ("gzip;q=0.5, identity;q=0.5", all, Some(Gzip)),
            ("gzip;q=0.5, identity;q=0", all, Some(Gzip)),
            ("identity;q=0", all, None),
            ("gzip, gzip;q=0", all, None),
            ("gzip;q=2", all, None),
            ("gzip;q=1.001", all, None),
            ("gzip;q=0.1234", all, None),
            ("gzip;q=.5", all, None),
            ("gzip;q=", all, None),
            ("gzip;q", all, None),
            ("gzip;q=-1, br;q=0.1", all, Some(Brotli)),
            ("gzip;level=9;q=0.4", all, Some(Gzip)),
            ("gzip;q=0.", all, None),
            ("gzipped, brotli", all, None),
            ("br", &[Gzip], None),
        ];
        for (accept, offered, expected) in cases {
            assert_eq!(chosen(accept, offered), *expected, "{accept:?} of {offered:?}");
        }
        assert_eq!(choose(std::iter::empty(), &offer(all)), None);
        let two_lines = [&b"br;q=0.1"[..], b"gzip"];
        assert_eq!(choose(two_lines.into_iter(), &offer(all)).map(|a| a.coding), Some(Gzip));
    }

    #[test]
    fn weights_are_read_strictly() {
        let good = [("0", 0), ("1", 1000), ("0.5", 500), ("0.05", 50), ("0.005", 5), ("1.0", 1000), ("1.000", 1000)];
        for (text, weight) in good {
            assert_eq!(parse_weight(text.as_bytes()), Some(weight), "{text}");
        }
        for bad in ["", "2", "01", "0,5", "1.1", "0.5 ", "1.0000", "+1", "٣"] {
            assert_eq!(parse_weight(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_weight(b"0."), Some(0), "the grammar allows no digit behind the point");
        assert_eq!(parse_weight(b"1."), Some(1000));
    }

    proptest! {
        /// Against the section of the RFC written out the long way.
        #[test]
        fn the_table_is_the_rfcs(
            given in proptest::collection::vec((0usize..7, 0u16..=1000), 0..6),
            offered in proptest::sample::subsequence(Coding::ALL.to_vec(), 1..=3).prop_shuffle(),
        ) {
            const NAMES: [&str; 7] = ["zstd", "br", "gzip", "identity", "*", "deflate", "x-gzip"];
            let text: Vec<String> = given
                .iter()
                .map(|(name, q)| format!("{};q={}.{:03}", NAMES[*name], q / 1000, q % 1000))
                .collect();
            let got = chosen(&text.join(", "), &offered);
            let said = |names: &[&str]| {
                given.iter().filter(|(n, _)| names.contains(&NAMES[*n])).map(|(_, q)| *q).min()
            };
            let weight = |coding: Coding| {
                let names: &[&str] = if coding == Coding::Gzip { &["gzip", "x-gzip"] } else { &[coding.name()] };
                said(names).or(said(&["*"])).unwrap_or(0)
            };
            let highest = offered.iter().map(|c| weight(*c)).max().unwrap_or(0);
            let identity = said(&["identity"]).unwrap_or(0);
            match got {
                None => prop_assert!(highest == 0 || identity > highest),
                Some(coding) => {
                    prop_assert!(offered.contains(&coding) && weight(coding) > 0 && weight(coding) >= identity);
                    let first_best = offered.iter().find(|c| weight(**c) == highest);
                    prop_assert_eq!(first_best, Some(&coding));
                }
            }
        }

        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = choose(std::iter::once(&bytes[..]), &offer(&Coding::ALL));
        }
    }
}
