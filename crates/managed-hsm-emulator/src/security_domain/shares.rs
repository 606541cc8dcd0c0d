//! Shamir's secret sharing, byte by byte, over the field of 257 elements.

use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use zeroize::Zeroizing;

const FIELD: u32 = 257;
/// Bits of a share's value; above them is its place on the polynomial.
const VALUE_BITS: u32 = 9;

/// Shares of a secret for so many recipients, of whom `required` can put it together. Each byte is
/// a number of 16 bits in a share, little-endian.
pub(super) fn split(
    secret: &[u8],
    recipients: usize,
    required: usize,
) -> Result<Vec<Zeroizing<Vec<u8>>>, ErrorStack> {
    let mut shares = vec![Zeroizing::new(Vec::with_capacity(2 * secret.len())); recipients];
    for byte in secret {
        let mut coefficients = Zeroizing::new(vec![u32::from(*byte)]);
        for _ in 1..required {
            coefficients.push(random()?);
        }
        for (place, share) in (1_u32..).zip(&mut shares) {
            // Horner's rule, from the highest power down.
            let value = coefficients.iter().rev().fold(0, |value, coefficient| {
                (value * place + coefficient) % FIELD
            });
            let number = (place << VALUE_BITS) | value;
            // At most 10 recipients: 13 bits.
            share.extend_from_slice(&number.to_le_bytes()[..2]);
        }
    }
    Ok(shares)
}

/// A uniform element of the field.
fn random() -> Result<u32, ErrorStack> {
    loop {
        let mut bytes = [0; 2];
        rand_bytes(&mut bytes)?;
        let number = u32::from(u16::from_le_bytes(bytes)) & 0x1ff;
        if number < FIELD {
            return Ok(number);
        }
    }
}

/// The secret of as many shares as are required.
#[cfg(test)]
pub(super) fn join(shares: &[Zeroizing<Vec<u8>>]) -> Zeroizing<Vec<u8>> {
    let number = |share: &[u8], index: usize| {
        u32::from(u16::from_le_bytes([share[2 * index], share[2 * index + 1]]))
    };
    let inverse = |element: u32| (1..FIELD).find(|one| one * element % FIELD == 1).unwrap();
    let bytes = (0..shares[0].len() / 2).map(|index| {
        let points = shares.iter().map(|share| number(share, index));
        let points: Vec<(u32, u32)> = points
            .map(|point| (point >> VALUE_BITS, point & 0x1ff))
            .collect();
        let terms = points.iter().map(|(x, value)| {
            let others = points.iter().filter(|(other, _)| other != x);
            others.fold(*value, |term, (other, _)| {
                term * other % FIELD * inverse((other + FIELD - x) % FIELD) % FIELD
            })
        });
        u8::try_from(terms.sum::<u32>() % FIELD).unwrap()
    });
    Zeroizing::new(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_enough_shares_give_the_secret_and_fewer_do_not() {
        let secret: Vec<u8> = (0..=255).collect();
        let shares = split(&secret, 5, 3).unwrap();
        for chosen in [[0, 1, 2], [4, 0, 2], [1, 3, 4]] {
            let chosen = chosen.map(|index| shares[index].clone());
            assert_eq!(**join(&chosen), *secret);
        }
    }
}
