//! Key files: a PEM or DER file that holds a key's URI, for programs that take a key only from a
//! file. Nothing in it is secret.
//!
//! ```text
//! -----BEGIN AKV PROVIDER URI-----      the base64 of   SEQUENCE {
//! …                                                       VisibleString "AKV Provider URI v1.0",
//! -----END AKV PROVIDER URI-----                          UTF8String uri }
//! ```
//!
//! Whoever reads files may come upon any file, so what isn't one of ours is passed over without an
//! error.

use managed_hsm::KeyUri;

use crate::der::{SEQUENCE, UTF8_STRING, VISIBLE_STRING, element, read as read_element};
use crate::error::Error;
use crate::pem;

/// The label of PEM (RFC 7468).
const LABEL: &str = "AKV PROVIDER URI";
/// The text that stands before the URI.
const VERSION: &str = "AKV Provider URI v1.0";

/// The longest key file that is read, in bytes. A URI is far shorter.
pub const MAX_LEN: usize = 8192;

/// A key file in DER.
pub fn der(uri: &KeyUri) -> Vec<u8> {
    of_version(VERSION, &uri.to_string())
}

/// A key file in PEM.
pub fn pem(uri: &KeyUri) -> String {
    pem::encode(LABEL, &der(uri))
}

/// Reads one block of PEM from `next_line`, which gives None at the end of the file. Returns the
/// content of a key file, and None for another block, which is then read past.
///
/// # Errors
/// The block is ours, but it has no end or isn't base64.
pub fn read_pem(next_line: impl FnMut() -> Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
    pem::read(LABEL, MAX_LEN, next_line).map_err(|problem| Error::KeyFile(problem.to_owned()))
}

/// The URI in the content of a key file. None: it is something else.
///
/// # Errors
/// The content is of our form, but its version or its URI can't be used.
pub fn read_der(content: &[u8]) -> Result<Option<KeyUri>, Error> {
    let Some((version, uri)) = parse(content) else {
        return Ok(None);
    };
    let Some(number) = version.strip_prefix("AKV Provider URI ") else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(Error::KeyFile(format!(
            "its version '{}' is unknown, v1.0 is read here",
            number.escape_debug()
        )));
    }
    Ok(Some(uri.parse()?))
}

fn of_version(version: &str, uri: &str) -> Vec<u8> {
    let version = element(VISIBLE_STRING, version.as_bytes());
    let uri = element(UTF8_STRING, uri.as_bytes());
    element(SEQUENCE, &[version, uri].concat())
}

/// The version and the URI in a key file's content. None: it has another form.
fn parse(content: &[u8]) -> Option<(&str, &str)> {
    let (body, rest) = read_element(SEQUENCE, content)?;
    let (version, body) = read_element(VISIBLE_STRING, body)?;
    let (uri, body) = read_element(UTF8_STRING, body)?;
    if !rest.is_empty() || !body.is_empty() {
        return None;
    }
    Some((
        std::str::from_utf8(version).ok()?,
        std::str::from_utf8(uri).ok()?,
    ))
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
    }

    #[test]
    fn what_was_written_is_read_also_with_the_longest_uri() {
        let longest = format!(
            "managedhsm:A23456789012345678901234:{}?version={}",
            "k".repeat(127),
            "0".repeat(32)
        );
        for uri in ["managedhsm:MyHSM:mykey", &longest] {
            let uri: KeyUri = uri.parse().unwrap();
            let text = pem::encode("CERTIFICATE", b"x") + "comment\n" + &pem(&uri);
            let mut lines = text.lines().map(|line| line.as_bytes().to_vec());
            assert!(read_pem(|| lines.next()).unwrap().is_none());
            let content = read_pem(|| lines.next()).unwrap().unwrap();
            assert_eq!(content, der(&uri));
            assert_eq!(read_der(&content).unwrap().as_ref(), Some(&uri));
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        for content in [
            &b""[..],
            b"\x30\x00",
            &crate::der::ecdsa_signature(&[1; 64]),
            &of_version("PKCS#11", "pkcs11:x"),
            &[der(&"managedhsm:MyHSM:k".parse().unwrap()), vec![0]].concat(),
        ] {
            assert!(read_der(content).unwrap().is_none());
        }
    }

    #[test]
    fn a_broken_file_of_ours_is_an_error() {
        for text in ["!\n-----END AKV PROVIDER URI-----", "AAAA\n"] {
            let text = format!("-----BEGIN AKV PROVIDER URI-----\n{text}");
            let mut lines = text.lines().map(|line| line.as_bytes().to_vec());
            let error = read_pem(|| lines.next()).unwrap_err().to_string();
            assert!(
                error.contains("write it again with 'akv key pem'"),
                "{error}"
            );
        }
        let error = read_der(&of_version("AKV Provider URI v9", "managedhsm:MyHSM:k")).unwrap_err();
        assert!(error.to_string().contains("'v9' is unknown"), "{error}");
        let error = read_der(&of_version(VERSION, "managedhsm:My_HSM:k")).unwrap_err();
        assert!(matches!(error, Error::Uri(_)), "{error}");
    }
}
