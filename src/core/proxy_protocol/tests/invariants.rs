//! What holds for any bytes read as a PROXY header. The unit tests feed it with mutated headers, fuzzing with anything.

use crate::core::proxy_protocol::{HEADER_MAX_BYTES, Header, Malformed, Parsed, parse, tlv};

/// Reads the bytes piece by piece and whole, and looks at everything the header says.
pub fn proxy_header(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let read = parse(bytes);
    match &read {
        Ok(Parsed::Whole { header, len }) => {
            assert!(*len <= bytes.len() && *len <= HEADER_MAX_BYTES, "a header does not reach behind what is there");
            let alone = bytes.get(..*len).unwrap_or_default();
            assert_eq!(parse(alone), read, "what stands behind a header has no say in it");
            let mut known = 0;
            while known < *len {
                // Whoever waits for as much as was asked for gets there, and never waits for what is not a header's.
                match parse(alone.get(..known).unwrap_or_default()) {
                    Ok(Parsed::Partial { at_least }) => {
                        assert!(at_least > known && at_least <= *len, "{at_least} after {known} of {len}");
                        known = at_least;
                    }
                    other => panic!("{other:?} after {known} of {len}"),
                }
            }
            look(header, alone);
        }
        Ok(Parsed::Partial { at_least }) => {
            assert!(*at_least > bytes.len() && *at_least <= HEADER_MAX_BYTES, "{at_least} after {}", bytes.len());
        }
        Err(malformed) => {
            assert!(!malformed.phrase().is_empty());
        }
    }
    read
}

/// Whatever a header says stands in it.
fn look(header: &Header, bytes: &[u8]) {
    let stands = |value: &[u8]| {
        assert!(value.is_empty() || bytes.windows(value.len()).any(|window| window == value), "{value:?}");
    };
    let tlvs = &header.tlvs;
    for value in (0..=u8::MAX).filter_map(|kind| tlvs.get(kind)) {
        stands(value);
    }
    assert!(tlvs.authority().is_none_or(|authority| authority.len() <= tlv::AUTHORITY_MAX_BYTES));
    assert!(tlvs.unique_id().is_none_or(|id| id.len() <= tlv::UNIQUE_ID_MAX_BYTES));
    if let Some(tls) = tlvs.tls() {
        assert!(!tls.is_verified() || tls.has_certificate());
        (0..=u8::MAX).filter_map(|kind| tls.get(kind)).for_each(stands);
    }
    assert!(header.addresses().is_none() || !header.local);
}
