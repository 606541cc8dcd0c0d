//! Import of keys that the caller brings, as JSON Web Keys (RFC 7517, RFC 7518 section 6).

use zeroize::Zeroizing;

use super::Call;
use super::body::{ImportRequest, PrivateJwk};
use super::failure::Failure;
use super::keys::{add, kept_as, new_metadata};
use super::reply::Reply;
use super::{transfer, unconfirmed};
use crate::algorithm::decode_base64url;
use crate::curve::Curve;
use crate::keys::{KeyError, KeyMaterial, KeyType, RsaMembers};
use crate::rsa::exponents;
use crate::service::Service;

/// 1024 bits were recorded to be accepted, though no such key can be created.
const RSA_BITS: [usize; 4] = [1024, 2048, 3072, 4096];

/// Bytes of a symmetric key, which may be one for HMAC.
const MAX_OCT: usize = 64;

pub(super) fn import(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let request: ImportRequest = call.parse()?;
    let attributes = request.attributes.as_ref();
    if attributes.is_some_and(|attributes| attributes.external_key(call).is_some()) {
        return Err(unconfirmed::external_key_at_creation_only());
    }
    let jwk = request.key.unwrap_or_default();
    let kty = jwk.kty.as_deref().ok_or_else(|| match call.service {
        Service::ManagedHsm => Failure::key_type_missing(),
        Service::KeyVault => Failure::not_a_jwk(),
    })?;
    let (kind, software) = kept_as(call, kty, request.hsm)?;
    let material = match (&jwk.key_hsm, kind) {
        (Some(blob), _) => transfer::material(call, kind, jwk.crv.as_deref(), blob)?,
        (None, KeyType::Rsa) => rsa(call, &jwk)?,
        (None, KeyType::Ec) => ec(&jwk)?,
        (None, KeyType::Oct) => symmetric(member("k", secret(&jwk.k))?)?,
        (None, KeyType::Akp) => return Err(unconfirmed::import_of_akp()),
    };
    let mut metadata = new_metadata(
        call,
        kind,
        software,
        jwk.key_ops,
        request.attributes.as_ref(),
        request.tags,
        request.release_policy.as_ref(),
    )?;
    // It shows the curve that it was sent with a key that has none.
    if call.service == Service::KeyVault && kind == KeyType::Rsa {
        metadata.sent_crv = jwk.crv;
    }
    add(call, name, material, metadata)
}

fn rsa(call: &Call<'_>, jwk: &PrivateJwk) -> Result<KeyMaterial, Failure> {
    let mut members = RsaMembers {
        n: member("n", jwk.n.as_deref())?,
        e: member("e", jwk.e.as_deref())?,
        d: member("d", secret(&jwk.d))?,
        p: member("p", secret(&jwk.p))?,
        q: member("q", secret(&jwk.q))?,
        dp: member("dp", secret(&jwk.dp))?,
        dq: member("dq", secret(&jwk.dq))?,
        qi: member("qi", secret(&jwk.qi))?,
    };
    // Before OpenSSL sees it: checking a key of unbounded size takes unbounded time.
    let bits = bit_length(&members.n);
    // A rotation makes a key with the same exponent, which has 32 bits at most.
    if bit_length(&members.e) > 32 {
        return Err(unconfirmed::invalid_jwk("e"));
    }
    if !RSA_BITS.contains(&bits) {
        return Err(Failure::invalid_key_size(
            i64::try_from(bits).unwrap_or(i64::MAX),
        ));
    }
    if [&members.p, &members.q]
        .iter()
        .any(|prime| bit_length(prime) > bits)
    {
        return Err(unconfirmed::inconsistent_jwk());
    }
    // A vault takes a key whose private exponent is wrong, recorded by azure-sdk-for-cpp
    // (`ImportKey`): it needs the primes alone.
    if call.service == Service::KeyVault {
        let exponents = exponents(&members.e, &members.p, &members.q);
        let [d, dp, dq, qi] = exponents.map_err(|error| refused(&error.into()))?;
        members = RsaMembers {
            d,
            dp,
            dq,
            qi,
            ..members
        };
    }
    KeyMaterial::import_rsa(&members).map_err(|error| refused(&error))
}

fn ec(jwk: &PrivateJwk) -> Result<KeyMaterial, Failure> {
    let crv = jwk.crv.as_deref().unwrap_or_default();
    let curve = Curve::by_name(crv).ok_or_else(|| unconfirmed::curve(crv))?;
    let x = member("x", jwk.x.as_deref())?;
    let y = member("y", jwk.y.as_deref())?;
    let d = member("d", secret(&jwk.d))?;
    KeyMaterial::import_ec(curve, &x, &y, &d).map_err(|error| refused(&error))
}

/// Of 16, 24 or 32 bytes for AES; longer ones authenticate.
pub(super) fn symmetric(bytes: Zeroizing<Vec<u8>>) -> Result<KeyMaterial, Failure> {
    match bytes.len() {
        ..=MAX_OCT => Ok(KeyMaterial::from_oct(bytes)),
        _ => Err(Failure::symmetric_key_too_large()),
    }
}

fn secret(member: &Option<Zeroizing<String>>) -> Option<&str> {
    member.as_deref().map(String::as_str)
}

fn refused(error: &KeyError) -> Failure {
    crate::log::event(format_args!("a key to import was refused: {error}"));
    unconfirmed::inconsistent_jwk()
}

fn member(name: &str, value: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    value
        .and_then(decode_base64url)
        .map(Zeroizing::new)
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| unconfirmed::invalid_jwk(name))
}

/// Of a big-endian number, which may have leading zeros.
fn bit_length(bytes: &[u8]) -> usize {
    let leading = bytes.iter().take_while(|&&byte| byte == 0).count();
    let significant = &bytes[leading..];
    significant.first().map_or(0, |first| {
        significant.len() * 8 - first.leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_make_a_number_longer() {
        for (bytes, bits) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[1], 1),
            (&[0, 0x80, 0], 16),
            (&[0x7f, 0xff], 15),
        ] {
            assert_eq!(bit_length(bytes), bits);
        }
    }
}
