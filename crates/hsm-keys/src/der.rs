//! The few elements and structures of DER that keys and signatures need.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const VISIBLE_STRING: u8 = 0x1a;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The encoding of NULL.
pub const NULL: &[u8] = &[0x05, 0x00];

/// SEQUENCE of the given encodings.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// OBJECT IDENTIFIER with the given content octets.
pub fn object_identifier(content: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, content)
}

/// OCTET STRING.
pub fn octet_string(content: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, content)
}

/// BIT STRING of whole bytes.
pub fn bit_string(content: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], content].concat())
}

/// INTEGER of an unsigned number, most significant byte first; leading zeros don't matter.
pub fn unsigned_integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let mut content = Vec::with_capacity(number.len() + 1);
    if number.get(zeros).is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(&number[zeros..]);
    element(INTEGER, &content)
}

/// A constructed element with an explicit context tag.
pub fn explicit(tag: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | tag, content)
}

/// `ECDSA-Sig-Value` (RFC 3279, section 2.2.3) from r‖s, two halves of equal length.
pub fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    sequence(&[&unsigned_integer(r), &unsigned_integer(s)])
}

/// The longest `ECDSA-Sig-Value` for numbers of `coordinate_len` bytes whose topmost bit may be
/// set.
pub fn ecdsa_signature_max_len(coordinate_len: usize, order_bits: usize) -> usize {
    let integer = element(INTEGER, &vec![0; order_bits / 8 + 1]).len();
    debug_assert!(order_bits.div_ceil(8) == coordinate_len);
    element(SEQUENCE, &vec![0; 2 * integer]).len()
}

/// Reads an `ECDSA-Sig-Value` into r‖s, each of `coordinate_len` bytes. None: it isn't DER, has
/// trailing bytes, or a number that is negative or too long.
pub fn parse_ecdsa_signature(der: &[u8], coordinate_len: usize) -> Option<Vec<u8>> {
    let (body, rest) = read(SEQUENCE, der)?;
    let (r, body) = read(INTEGER, body)?;
    let (s, body) = read(INTEGER, body)?;
    if !rest.is_empty() || !body.is_empty() {
        return None;
    }
    let mut raw = vec![0; 2 * coordinate_len];
    for (number, half) in [r, s].into_iter().zip(raw.chunks_exact_mut(coordinate_len)) {
        let number = match number {
            [] => return None,
            [0, next, ..] if next & 0x80 == 0 => return None,
            [first, ..] if first & 0x80 != 0 => return None,
            [0, number @ ..] => number,
            number => number,
        };
        let start = coordinate_len.checked_sub(number.len())?;
        half[start..].copy_from_slice(number);
    }
    Some(raw)
}

/// An element with `tag`, of less than 64 KiB.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 4);
    out.push(tag);
    match content.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// Splits an element with `tag` and a definite, shortest-form length of at most two bytes off
/// `input`.
pub(crate) fn read(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, input) = input.split_first()?;
    if first != tag {
        return None;
    }
    let (len, input) = match input {
        [len @ 0..=0x7f, rest @ ..] => (usize::from(*len), rest),
        [0x81, len @ 0x80..=0xff, rest @ ..] => (usize::from(*len), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            (usize::from(*high) << 8 | usize::from(*low), rest)
        }
        _ => return None,
    };
    input.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ecdsa_signature_survives_both_conversions() {
        for raw in [[0x80; 64], [0; 64], [0x7f; 64]] {
            let der = ecdsa_signature(&raw);
            assert_eq!(parse_ecdsa_signature(&der, 32).unwrap(), raw);
        }
    }

    #[test]
    fn ecdsa_signatures_that_are_not_strict_der_are_refused() {
        let good = ecdsa_signature(&[0x11; 64]);
        assert!(parse_ecdsa_signature(&good, 32).is_some());
        let mut trailing = good.clone();
        trailing.push(0);
        let cases: [&[u8]; 8] = [
            &[],
            &trailing,
            &good[..good.len() - 1],
            &[0x30, 0x06, 0x02, 0x01, 0x81, 0x02, 0x01, 0x01],
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01],
            &[0x30, 0x05, 0x02, 0x00, 0x02, 0x01, 0x01],
            &[0x30, 0x81, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01],
            &[0x31, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01],
        ];
        for case in cases {
            assert_eq!(parse_ecdsa_signature(case, 32), None, "{case:02x?}");
        }
    }

    #[test]
    fn the_longest_ecdsa_signatures_have_the_known_lengths() {
        let lengths = [(32, 256, 72), (48, 384, 104), (66, 521, 139)];
        for (coordinate_len, order_bits, expected) in lengths {
            assert_eq!(
                ecdsa_signature_max_len(coordinate_len, order_bits),
                expected
            );
        }
    }
}
