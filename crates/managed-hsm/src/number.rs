//! Unsigned numbers, the most significant byte first, in the two forms that JSON Web Keys have
//! (RFC 7518): those of RSA without leading zeros, those of a curve as long as its field.

use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// A number without its leading zeros.
pub fn minimal(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// A number in `len` bytes. None: it has more.
pub fn padded(number: &[u8], len: usize) -> Option<SecretBytes> {
    let number = minimal(number);
    let missing = len.checked_sub(number.len())?;
    let mut padded = Zeroizing::new(vec![0; len]);
    padded[missing..].copy_from_slice(number);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_no_leading_zeros_or_those_that_its_field_demands() {
        for (number, shortest, in_three) in [
            (&[][..], &[][..], Some([0, 0, 0])),
            (&[0, 0], &[], Some([0, 0, 0])),
            (&[0, 1, 0], &[1, 0], Some([0, 1, 0])),
            (&[0, 0, 1, 2, 3], &[1, 2, 3], Some([1, 2, 3])),
            (&[1, 2, 3, 4], &[1, 2, 3, 4], None),
        ] {
            assert_eq!(minimal(number), shortest);
            assert_eq!(
                padded(number, 3).map(|all| all.to_vec()),
                in_three.map(Vec::from)
            );
        }
    }
}
