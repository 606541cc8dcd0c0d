//! Key files: a PEM or DER file that holds a key's URI, for programs that take a key only from a file.
//!
//! ```text
//! -----BEGIN AKV PROVIDER URI-----      the base64 of   SEQUENCE {
//! …                                                       VisibleString "AKV Provider URI v1.0",
//! -----END AKV PROVIDER URI-----                          UTF8String uri }
//! ```
//!
//! OpenSSL hands every decoder every file, so what isn't one of ours is passed over without an error.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use managed_hsm::KeyUri;
use managed_hsm::key_file::{LABEL, VERSION};

use crate::der;
use crate::error::Error;

/// The name under which the PEM decoder passes content on to the DER decoders.
pub(crate) const STRUCTURE: &std::ffi::CStr = c"akv-uri";

/// The longest key file that is read, in bytes. A URI is far shorter.
pub(crate) const MAX_LEN: usize = 8192;

/// Reads one PEM block from `next_line` (None at the end of the file). Returns the content of a block of ours, and None
/// for another, which is then read past.
///
/// # Errors
/// The block is ours, but it has no end or isn't base64.
pub(crate) fn read_pem(
    mut next_line: impl FnMut() -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    let label = loop {
        let Some(line) = next_line() else {
            return Ok(None);
        };
        // Windows editors write a byte order mark before the first line.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if let Some(label) = delimiter(line, "-----BEGIN ") {
            break label;
        }
    };
    let ours = label == LABEL;
    let mut text = Vec::new();
    while let Some(line) = next_line() {
        if delimiter(&line, "-----END ").is_some_and(|end| end == label) {
            return match ours {
                true => STANDARD
                    .decode(&text)
                    .map(Some)
                    .map_err(|_| broken("its content is not base64")),
                false => Ok(None),
            };
        }
        if ours {
            text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            if text.len() > MAX_LEN {
                return Err(broken("it is too long"));
            }
        }
    }
    if ours {
        Err(broken("its END line is missing"))
    } else {
        Ok(None)
    }
}

/// The URI in the content of a key file. None: it is something else.
///
/// # Errors
/// The content is of our form, but its version or its URI can't be used.
pub(crate) fn read_der(content: &[u8]) -> Result<Option<KeyUri>, Error> {
    let Some((version, uri)) = der::parse_key_file(content) else {
        return Ok(None);
    };
    let Some(number) = version.strip_prefix("AKV Provider URI ") else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(broken(&format!(
            "its version '{}' is unknown, this provider reads v1.0",
            number.escape_debug()
        )));
    }
    Ok(Some(uri.parse()?))
}

/// The label of a PEM delimiter line (RFC 7468, section 3).
fn delimiter(line: &[u8], start: &str) -> Option<String> {
    let label = std::str::from_utf8(line)
        .ok()?
        .trim_end()
        .strip_prefix(start)?
        .strip_suffix("-----")?;
    Some(label.to_owned())
}

fn broken(problem: &str) -> Error {
    Error::InvalidKey(format!(
        "the key file ('{LABEL}') can't be read: {problem}; write it again with 'akv key pem'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(uri: &str) -> Vec<u8> {
        der::key_file(VERSION, uri)
    }

    fn pem(label: &str, content: &[u8]) -> String {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(content)
        )
    }

    fn read(text: &str) -> Vec<Result<Option<Vec<u8>>, Error>> {
        let mut lines = text.lines().map(|line| line.as_bytes().to_vec()).peekable();
        let mut blocks = Vec::new();
        while lines.peek().is_some() {
            blocks.push(read_pem(|| lines.next()));
        }
        blocks
    }

    #[test]
    fn a_key_file_gives_its_uri_also_behind_other_blocks() {
        let content = file("managedhsm:MyHSM:mykey");
        let text = pem("CERTIFICATE", b"x") + "comment\n" + &pem(LABEL, &content);
        let blocks = read(&text);
        assert!(matches!(&blocks[..], [Ok(None), Ok(Some(found))] if *found == content));
        assert_eq!(
            read_der(&content).unwrap().unwrap().to_string(),
            "managedhsm:MyHSM:mykey"
        );
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        assert!(matches!(read("no PEM at all\n")[..], [Ok(None)]));
        for content in [
            &b""[..],
            b"\x30\x00",
            &der::ecdsa_signature(&[1; 64]),
            &der::key_file("PKCS#11", "pkcs11:x"),
        ] {
            assert!(read_der(content).unwrap().is_none());
        }
    }

    #[test]
    fn a_broken_file_of_ours_is_an_error() {
        assert!(matches!(
            read("-----BEGIN AKV PROVIDER URI-----\n!\n-----END AKV PROVIDER URI-----")[..],
            [Err(_)]
        ));
        assert!(matches!(
            read("-----BEGIN AKV PROVIDER URI-----\nAAAA\n")[..],
            [Err(_)]
        ));
        assert!(read_der(&der::key_file("AKV Provider URI v9", "managedhsm:MyHSM:k")).is_err());
        assert!(read_der(&file("managedhsm:My_HSM:k")).is_err());
    }
}
