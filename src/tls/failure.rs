//! Handshakes that came to nothing, in the sentences HAProxy writes for them.
//!
//! HAProxy 2.8 puts OpenSSL's last error in parentheses behind `SSL handshake failure`: its packed code and reason.
//! Where one of our library's errors has a clear equivalent there, that is what is written; where not, the library's own
//! words stand in the parentheses. OpenSSL's codes are in its `sslerr.h`; those of alerts are 1000 and the alert's number
//! (RFC 8446, 6).

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::acceptor::HandshakeError;

/// Bytes of a connection's beginning that tell what a client spoke, if not TLS.
pub const FIRST_BYTES: usize = 5;

/// OpenSSL packs the library's number into the upper bits of an error's code.
const LIBRARY_SSL: u32 = 20 << 23;

/// The sentence for the log; `first` are the first bytes the client sent.
pub fn sentence(error: &HandshakeError, first: &[u8]) -> String {
    let HandshakeError::Failure(failure) = error else { return error.to_string() };
    match reason(failure, first) {
        Some((code, text)) => {
            format!("{} (error:{:08X}:SSL routines::{text})", error.phrase(), LIBRARY_SSL | u32::from(code))
        }
        None => format!("{} ({failure})", error.phrase()),
    }
}

/// OpenSSL's number and words for an error.
fn reason(error: &Error, first: &[u8]) -> Option<(u16, &'static str)> {
    Some(match error {
        Error::InvalidMessage(_) => return not_tls(first),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => (244, "unexpected message"),
        Error::PeerIncompatible(incompatible) => match incompatible {
            PeerIncompatible::NoCipherSuitesInCommon => (193, "no shared cipher"),
            PeerIncompatible::NoKxGroupsInCommon => (101, "no suitable key share"),
            PeerIncompatible::NoSignatureSchemesInCommon => (118, "no suitable signature algorithm"),
            PeerIncompatible::NullCompressionRequired => (187, "no compression specified"),
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => (258, "unsupported protocol"),
            _ => return None,
        },
        Error::NoApplicationProtocol => (235, "no application protocol"),
        Error::DecryptError => (281, "decryption failed or bad record mac"),
        Error::PeerSentOversizedRecord => (198, "packet length too long"),
        Error::AlertReceived(alert) => return alert_reason(*alert),
        _ => return None,
    })
}

/// What cannot be a TLS record, by how it begins: another version's, or HTTP on the wrong port.
fn not_tls(first: &[u8]) -> Option<(u16, &'static str)> {
    const MAJOR: u8 = 3;
    match first {
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'U', b'T', b' ', ..] | b"POST " | b"HEAD " => {
            Some((156, "http request"))
        }
        b"CONNE" => Some((155, "https proxy request")),
        [_, major, ..] if *major != MAJOR => Some((267, "wrong version number")),
        _ => None,
    }
}

fn alert_reason(alert: AlertDescription) -> Option<(u16, &'static str)> {
    let text = match alert {
        AlertDescription::UnexpectedMessage => "sslv3 alert unexpected message",
        AlertDescription::BadRecordMac => "sslv3 alert bad record mac",
        AlertDescription::DecryptionFailed => "tlsv1 alert decryption failed",
        AlertDescription::RecordOverflow => "tlsv1 alert record overflow",
        AlertDescription::DecompressionFailure => "sslv3 alert decompression failure",
        AlertDescription::HandshakeFailure => "sslv3 alert handshake failure",
        AlertDescription::NoCertificate => "sslv3 alert no certificate",
        AlertDescription::BadCertificate => "sslv3 alert bad certificate",
        AlertDescription::UnsupportedCertificate => "sslv3 alert unsupported certificate",
        AlertDescription::CertificateRevoked => "sslv3 alert certificate revoked",
        AlertDescription::CertificateExpired => "sslv3 alert certificate expired",
        AlertDescription::CertificateUnknown => "sslv3 alert certificate unknown",
        AlertDescription::IllegalParameter => "sslv3 alert illegal parameter",
        AlertDescription::UnknownCA => "tlsv1 alert unknown ca",
        AlertDescription::AccessDenied => "tlsv1 alert access denied",
        AlertDescription::DecodeError => "tlsv1 alert decode error",
        AlertDescription::DecryptError => "tlsv1 alert decrypt error",
        AlertDescription::ExportRestriction => "tlsv1 alert export restriction",
        AlertDescription::ProtocolVersion => "tlsv1 alert protocol version",
        AlertDescription::InsufficientSecurity => "tlsv1 alert insufficient security",
        AlertDescription::InternalError => "tlsv1 alert internal error",
        AlertDescription::InappropriateFallback => "tlsv1 alert inappropriate fallback",
        AlertDescription::UserCanceled => "tlsv1 alert user cancelled",
        AlertDescription::NoRenegotiation => "tlsv1 alert no renegotiation",
        AlertDescription::UnsupportedExtension => "tlsv1 unsupported extension",
        AlertDescription::UnrecognisedName => "tlsv1 unrecognized name",
        AlertDescription::BadCertificateStatusResponse => "tlsv1 bad certificate status response",
        AlertDescription::CertificateRequired => "tlsv13 alert certificate required",
        AlertDescription::NoApplicationProtocol => "tlsv1 alert no application protocol",
        _ => return None,
    };
    Some((1000 + u16::from(u8::from(alert)), text))
}

#[cfg(test)]
mod tests {
    use rustls::InvalidMessage;

    use super::*;

    #[test]
    fn haproxys_sentences() {
        let not_tls = || Error::InvalidMessage(InvalidMessage::InvalidContentType);
        for (error, first, expected) in [
            (not_tls(), "GET /", "(error:0A00009C:SSL routines::http request)"),
            (not_tls(), "POST ", "(error:0A00009C:SSL routines::http request)"),
            (not_tls(), "CONNE", "(error:0A00009B:SSL routines::https proxy request)"),
            (not_tls(), "SSH-2", "(error:0A00010B:SSL routines::wrong version number)"),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "\x16\x03\x01\x02\x00",
                "(error:0A000418:SSL routines::tlsv1 alert unknown ca)",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "\x16\x03\x01\x02\x00",
                "(error:0A0000C1:SSL routines::no shared cipher)",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                "\x16\x03\x01\x02\x00",
                "(error:0A000102:SSL routines::unsupported protocol)",
            ),
            (Error::EncryptError, "", "(cannot encrypt message)"),
        ] {
            let error = HandshakeError::Failure(error);
            assert_eq!(sentence(&error, first.as_bytes()), format!("SSL handshake failure {expected}"));
        }
        assert_eq!(sentence(&HandshakeError::Closed, b""), "Connection closed during SSL handshake");
        assert_eq!(sentence(&HandshakeError::Timeout, b""), "Timeout during SSL handshake");
    }
}
