//! `DigestInfo` (RFC 8017, appendix A.2.4): a digest, and which hash function made it.

use crate::der;
use crate::digest::{DIGESTS, Digest};

/// The encoding of a digest's value.
pub fn encode(digest: &Digest, value: &[u8]) -> Vec<u8> {
    der::sequence(&[
        &der::sequence(&[&der::object_identifier(digest.oid), der::NULL]),
        &der::octet_string(value),
    ])
}

/// The hash function and the value in a `DigestInfo`. None: it isn't one of a known hash function.
pub fn parse(bytes: &[u8]) -> Option<(&'static Digest, &[u8])> {
    DIGESTS.iter().find_map(|digest| {
        let value = &bytes[bytes.len().checked_sub(digest.len)?..];
        (encode(digest, value) == bytes).then_some((digest, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digest_is_read_back_and_nothing_else() {
        for digest in DIGESTS {
            let value = digest.of(b"abc");
            let info = encode(digest, &value);
            assert_eq!(parse(&info), Some((digest, &*value)));
            assert_eq!(parse(&info[1..]), None);
            assert_eq!(parse(&info[..info.len() - 1]), None);
            assert_eq!(parse(&[&info[..], &[0]].concat()), None);
            assert_eq!(parse(&value), None);
        }
        assert_eq!(parse(b""), None);
    }

    /// RFC 8017, section 9.2, note 1.
    #[test]
    fn sha_256_has_the_known_prefix() {
        let info = encode(Digest::by_name("SHA256").unwrap(), &[7; 32]);
        let prefix =
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
        assert_eq!(info, [&prefix[..], &[7; 32]].concat());
    }
}
