//! Key files: a URI in a form that programs which read keys from files can pass to the OpenSSL provider. Nothing in them is
//! secret.
//!
//! ```text
//! SEQUENCE { VisibleString "AKV Provider URI v1.0", UTF8String uri }      in PEM with the label AKV PROVIDER URI
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::uri::KeyUri;

/// The label of PEM (RFC 7468).
pub const LABEL: &str = "AKV PROVIDER URI";
/// The text that stands before the URI.
pub const VERSION: &str = "AKV Provider URI v1.0";

const UTF8_STRING: u8 = 0x0c;
const VISIBLE_STRING: u8 = 0x1a;
const SEQUENCE: u8 = 0x30;

/// A key file in DER.
pub fn der(uri: &KeyUri) -> Vec<u8> {
    let version = element(VISIBLE_STRING, VERSION.as_bytes());
    let uri = element(UTF8_STRING, uri.to_string().as_bytes());
    element(SEQUENCE, &[version, uri].concat())
}

/// A key file in PEM.
pub fn pem(uri: &KeyUri) -> String {
    pem_block(LABEL, &der(uri))
}

/// PEM (RFC 7468), in lines of 64 characters.
pub fn pem_block(label: &str, content: &[u8]) -> String {
    let base64 = STANDARD.encode(content);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// An element whose content is no longer than the longest URI: less than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match content.len() {
        len @ 0..=0x7f => element.push(len as u8),
        len @ 0x80..=0xff => element.extend([0x81, len as u8]),
        len => element.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_the_known_bytes() {
        let uri: KeyUri = "managedhsm:MyHSM:k".parse().unwrap();
        let expected = b"\x30\x2b\x1a\x15AKV Provider URI v1.0\x0c\x12managedhsm:MyHSM:k";
        assert_eq!(der(&uri), expected);
        let pem = pem(&uri);
        assert!(
            pem.starts_with("-----BEGIN AKV PROVIDER URI-----\nMCsaFUFL"),
            "{pem}"
        );
        assert!(pem.ends_with("\n-----END AKV PROVIDER URI-----\n"), "{pem}");
        assert!(pem.lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn the_longest_uri_has_a_length_of_two_bytes() {
        let uri = format!(
            "managedhsm:A23456789012345678901234:{}?version={}",
            "k".repeat(127),
            "0".repeat(32)
        );
        let der = der(&uri.parse().unwrap());
        assert_eq!(&der[..3], [0x30, 0x81, (der.len() - 3) as u8]);
    }
}
