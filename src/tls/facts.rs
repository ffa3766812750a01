//! What a certificate says of itself, in the forms `openssl x509` prints.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use crate::core::admin::certificates::CertificateFacts;
use crate::core::tls::facts::{ClientCertificate, DistinguishedName};

/// The facts of a chain, the server's own certificate first. `None` when that one cannot be parsed.
pub fn facts(chain: &[CertificateDer<'_>]) -> Option<CertificateFacts> {
    let (leaf, further) = chain.split_first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let subject_and_issuer = |der: &CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some((one_line(parsed.subject()), one_line(parsed.issuer())))
    };
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
    Some(CertificateFacts {
        serial: hex(without_zeros(parsed.raw_serial())),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        alternative_names: alternative_names(&parsed),
        algorithm: algorithm(&parsed),
        sha1: hex(sha1.as_ref()),
        subject: one_line(parsed.subject()),
        issuer: one_line(parsed.issuer()),
        chain: further.iter().filter_map(subject_and_issuer).collect(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// DER puts a zero before a number whose first bit is set.
pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => without_zeros(rest),
        bytes => bytes,
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return String::new() };
    let names = names.value.general_names.iter().map(|name| match name {
        GeneralName::DNSName(name) => format!("DNS:{}", printable(name)),
        GeneralName::RFC822Name(name) => format!("email:{}", printable(name)),
        GeneralName::URI(uri) => format!("URI:{}", printable(uri)),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => format!("IP Address:{}", IpAddr::from(v4)),
            (_, Ok(v6)) => format!("IP Address:{}", IpAddr::from(v6)),
            _ => "IP Address:<invalid>".to_owned(),
        },
        GeneralName::DirectoryName(name) => format!("DirName:{}", one_line(name)),
        GeneralName::RegisteredID(id) => format!("Registered ID:{}", id.to_id_string()),
        _ => "othername:<unsupported>".to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// `RSA2048`, `EC256`, `ED25519`
fn algorithm(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match (key.algorithm.algorithm.to_id_string().as_str(), key.parsed()) {
        ("1.3.101.112", _) => "ED25519".to_owned(),
        ("1.3.101.113", _) => "ED448".to_owned(),
        (_, Ok(PublicKey::RSA(rsa))) => {
            let modulus = without_zeros(rsa.modulus);
            let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
            format!("RSA{}", (modulus.len() * 8).saturating_sub(unused))
        }
        // The coordinates of P-521 take 66 bytes.
        (_, Ok(PublicKey::EC(point))) => format!("EC{}", if point.key_size() == 528 { 521 } else { point.key_size() }),
        _ => "unknown".to_owned(),
    }
}

/// `/C=AT/O=Example/CN=a.example`. OpenSSL: `X509_NAME_oneline`.
pub(super) fn one_line(name: &X509Name<'_>) -> String {
    attributes(name).into_iter().fold(String::new(), |mut out, (word, value)| {
        let _ = write!(out, "/{word}={value}");
        out
    })
}

/// The attributes of a name: OpenSSL's short names (numbers where there is none) and printable values.
fn attributes(name: &X509Name<'_>) -> Vec<(Box<str>, Box<str>)> {
    let attribute = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let id = attribute.attr_type().to_id_string();
        let word = match id.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.4" => "SN",
            "2.5.4.5" => "serialNumber",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.9" => "street",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "2.5.4.12" => "title",
            "2.5.4.15" => "businessCategory",
            "2.5.4.17" => "postalCode",
            "2.5.4.42" => "GN",
            "2.5.4.97" => "organizationIdentifier",
            "1.2.840.113549.1.9.1" => "emailAddress",
            "0.9.2342.19200300.100.1.1" => "UID",
            "0.9.2342.19200300.100.1.25" => "DC",
            other => other,
        };
        let value = match attribute.as_str() {
            Ok(text) => printable(text),
            Err(_) => format!("#{}", hex(attribute.as_slice())),
        };
        (word.into(), value.into())
    };
    name.iter_attributes().map(attribute).collect()
}

/// What rules and logs may ask of a client's certificate. `None` when it cannot be parsed.
pub(super) fn client_certificate(leaf: &CertificateDer<'_>, verify: u32) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let name = |name: &X509Name<'_>| DistinguishedName { attributes: attributes(name), line: one_line(name).into() };
    let digest_of = |algorithm| hex(digest::digest(algorithm, leaf).as_ref()).into();
    Some(ClientCertificate {
        subject: name(parsed.subject()),
        issuer: name(parsed.issuer()),
        serial: hex(without_zeros(parsed.raw_serial())).into(),
        sha1: digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        sha256: digest_of(&digest::SHA256),
        not_before: short_date(parsed.validity().not_before.timestamp()),
        not_after: short_date(parsed.validity().not_after.timestamp()),
        verify,
    })
}

/// `261122034500Z`: HAProxy's form of a certificate's dates.
fn short_date(second: i64) -> Box<str> {
    jiff::Timestamp::from_second(second)
        .map_or_else(|_| "".into(), |at| at.strftime("%y%m%d%H%M%SZ").to_string().into())
}

/// A certificate's text for a reply of lines: no control character may begin a line of its own.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "*.a.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::1".parse().unwrap()));
        params.subject_alt_names.push(SanType::URI("https://a.example/".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "AT");
        params.distinguished_name.push(DnType::OrganizationName, "Acme,\nInc.");
        params.distinguished_name.push(DnType::CommonName, "a.example");
        params.serial_number = Some(SerialNumber::from_slice(&[0xf0, 0x01]));
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn facts_are_openssls() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let facts = facts(&[der.clone(), der.clone()]).unwrap();
        assert_eq!(facts.serial, "F001");
        assert_eq!(
            facts.alternative_names,
            "DNS:a.example, DNS:*.a.example, IP Address:10.0.0.1, IP Address:2001:db8::1, URI:https://a.example/"
        );
        assert_eq!(facts.subject, "/C=AT/O=Acme,?Inc./CN=a.example", "no certificate can add lines to a reply");
        assert_eq!(facts.chain, [(facts.subject.clone(), facts.issuer.clone())]);
        assert_eq!((facts.sha1.len(), facts.algorithm.as_str()), (40, "EC256"));
        assert!(facts.not_before < facts.not_after);
    }

    #[test]
    fn a_clients_certificate() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let client = client_certificate(&der, 18).unwrap();
        assert_eq!(&*client.subject.line, "/C=AT/O=Acme,?Inc./CN=a.example");
        assert_eq!((client.subject.get("CN"), client.issuer.get("O")), (Some("a.example"), Some("Acme,?Inc.")));
        assert_eq!((&*client.serial, client.sha1.len(), client.sha256.len(), client.verify), ("F001", 40, 64, 18));
        assert_eq!((&*client.not_before, &*client.not_after), ("750101000000Z", "960101000000Z"), "rcgen's dates");
        assert_eq!(client_certificate(&CertificateDer::from(vec![1, 2]), 0), None);
    }

    #[test]
    fn algorithms() {
        for (algorithm, word) in [
            (&rcgen::PKCS_RSA_SHA256, "RSA2048"),
            (&rcgen::PKCS_ECDSA_P384_SHA384, "EC384"),
            (&rcgen::PKCS_ECDSA_P521_SHA512, "EC521"),
            (&rcgen::PKCS_ED25519, "ED25519"),
        ] {
            assert_eq!(facts(&[certificate(algorithm)]).unwrap().algorithm, word);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(facts(&[]), None);
        assert_eq!(facts(&[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])]), None);
    }
}
