//! Private keys from files, as the JSON Web Keys that an import takes.

use azure_core::Bytes;
use azure_security_keyvault_keys::models::{CurveName, ImportKeyParameters, JsonWebKey, KeyType};
use der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Sequence};
use hsm_keys::{EcCurve, EcPair};
use managed_hsm::Curve;
use managed_hsm::number::{minimal, padded};
use pkcs8::PrivateKeyInfoRef;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

use crate::failure::Failure;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const CURVES: [(&str, CurveName, Curve); 4] = [
    ("1.2.840.10045.3.1.7", CurveName::P256, Curve::P256),
    ("1.3.132.0.34", CurveName::P384, Curve::P384),
    ("1.3.132.0.35", CurveName::P521, Curve::P521),
    ("1.3.132.0.10", CurveName::P256K, Curve::P256K),
];
const WITHOUT_CURVE: &str = "the EC key describes its curve and doesn't name it: write it again with 'openssl pkey -in <file> \
     -ec_param_enc named_curve -out <other>'";

/// A key with its private part, which is wiped from memory when dropped.
pub(crate) struct PrivateKey(pub(crate) JsonWebKey);

impl Drop for PrivateKey {
    fn drop(&mut self) {
        let key = &mut self.0;
        for part in [
            &mut key.d,
            &mut key.dp,
            &mut key.dq,
            &mut key.qi,
            &mut key.p,
            &mut key.q,
            &mut key.k,
        ] {
            part.zeroize();
        }
    }
}

impl PrivateKey {
    /// The body of an import request, wiped from memory when it was sent.
    pub(crate) fn into_body(
        mut self,
        wrap: impl FnOnce(JsonWebKey) -> ImportKeyParameters,
    ) -> Result<Bytes, Failure> {
        let mut parameters = wrap(std::mem::take(&mut self.0));
        let mut body = Zeroizing::new(Vec::with_capacity(1 << 14));
        let written = serde_json::to_writer(&mut *body, &parameters);
        drop(parameters.key.take().map(Self));
        written.map_err(|error| Failure::told(format!("no request can be made: {error}")))?;
        Ok(Bytes::from_owner(body))
    }
}

/// An AES key as it is.
pub(crate) fn aes_key(key: &[u8]) -> Result<PrivateKey, String> {
    match key.len() {
        16 | 24 | 32 => Ok(PrivateKey(JsonWebKey {
            kty: Some(KeyType::OctHsm),
            k: Some(key.to_vec()),
            ..JsonWebKey::default()
        })),
        other => Err(format!(
            "an AES key has 16, 24 or 32 bytes, and not {other}"
        )),
    }
}

/// A key in a key transfer blob, which another HSM has wrapped: nobody here sees it.
pub(crate) fn transferred(blob: &[u8], kty: KeyType) -> Result<PrivateKey, String> {
    let json: serde_json::Value = serde_json::from_slice(blob)
        .map_err(|error| format!("it is no key transfer blob: not JSON ({error})"))?;
    match json["ciphertext"].is_string() && json["header"]["kid"].is_string() {
        true => Ok(PrivateKey(JsonWebKey {
            kty: Some(kty),
            t: Some(blob.to_vec()),
            ..JsonWebKey::default()
        })),
        false => {
            Err("it is no key transfer blob: it lacks 'header.kid' or 'ciphertext'".to_owned())
        }
    }
}

/// A private key in PEM, DER or as a JSON Web Key. In an HSM its type says so.
pub(crate) fn private_key(file: &[u8], in_hsm: bool) -> Result<PrivateKey, String> {
    let mut key = match file.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => jwk(file)?,
        _ => der_or_pem(file)?,
    };
    key.0.kty = key.0.kty.take().map(|kty| match (kty, in_hsm) {
        (KeyType::Rsa | KeyType::RsaHsm, true) => KeyType::RsaHsm,
        (KeyType::Rsa | KeyType::RsaHsm, false) => KeyType::Rsa,
        (KeyType::Ec | KeyType::EcHsm, true) => KeyType::EcHsm,
        (KeyType::Ec | KeyType::EcHsm, false) => KeyType::Ec,
        (KeyType::Oct, true) => KeyType::OctHsm,
        (other, _) => other,
    });
    write_numbers(&mut key.0);
    Ok(key)
}

/// Has numbers be as JSON Web Keys have them, whatever zeros they came with.
fn write_numbers(key: &mut JsonWebKey) {
    match key.kty {
        Some(KeyType::Rsa | KeyType::RsaHsm) => {
            let public = [&mut key.n, &mut key.e];
            let further = [
                &mut key.d,
                &mut key.p,
                &mut key.q,
                &mut key.dp,
                &mut key.dq,
                &mut key.qi,
            ];
            for number in public.into_iter().chain(further).flatten() {
                let zeros = number.len() - minimal(number).len();
                number.drain(..zeros);
            }
        }
        Some(KeyType::Ec | KeyType::EcHsm) => {
            let curve = CURVES
                .iter()
                .find(|(_, name, _)| key.crv.as_ref() == Some(name));
            let Some((.., curve)) = curve else { return };
            let len = EcCurve::of(*curve).coordinate_len;
            for number in [&mut key.x, &mut key.y, &mut key.d].into_iter().flatten() {
                // One that is too long is for the HSM to refuse.
                if let Some(mut padded) = padded(number, len) {
                    number.zeroize();
                    *number = std::mem::take(&mut *padded);
                }
            }
        }
        _ => {}
    }
}

fn jwk(file: &[u8]) -> Result<PrivateKey, String> {
    let mut key: JsonWebKey = serde_json::from_slice(file)
        .map_err(|error| format!("it is not a JSON Web Key ({error})"))?;
    // Whatever it was called before.
    key.kid = None;
    let key = PrivateKey(key);
    match key.0.d.is_some() || key.0.k.is_some() {
        true => Ok(key),
        false => Err("the JSON Web Key has no private part ('d' or 'k')".to_owned()),
    }
}

fn der_or_pem(file: &[u8]) -> Result<PrivateKey, String> {
    let is_encrypted = file
        .windows(9)
        .any(|words| words == b"ENCRYPTED" || words == b"ncrypted\n");
    let count = PrivateKeyDer::pem_slice_iter(file)
        .filter(Result::is_ok)
        .count();
    if count > 1 {
        return Err(format!(
            "it holds {count} private keys: give a file with the one"
        ));
    }
    let key = match PrivateKeyDer::from_pem_slice(file) {
        Ok(key) => key,
        Err(_) if is_encrypted => {
            return Err(
                "the private key is encrypted: decrypt it first, with 'openssl pkey -in <file> -out <other>'"
                    .to_owned(),
            );
        }
        Err(_) => PrivateKeyDer::try_from(file)
            .map_err(|_| {
                "it holds no private key in PEM, DER or as a JSON Web Key; give --aes for the bytes of an AES key"
                    .to_owned()
            })?
            .clone_key(),
    };
    match &key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => ec(key.secret_sec1_der(), None),
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
        _ => Err("the private key has a form that is not known".to_owned()),
    }
}

fn pkcs8(der: &[u8]) -> Result<PrivateKey, String> {
    let info =
        PrivateKeyInfoRef::from_der(der).map_err(|error| format!("it is not PKCS#8 ({error})"))?;
    match info.algorithm.oid {
        RSA => rsa(info.private_key.as_bytes()),
        EC => {
            let curve = info.algorithm.parameters_oid();
            let curve = curve.map_err(|_| WITHOUT_CURVE.to_owned())?;
            ec(info.private_key.as_bytes(), Some(curve))
        }
        other => Err(format!("it is neither an RSA nor an EC key ({other})")),
    }
}

/// RFC 8017, appendix A.1.2.
#[derive(Sequence)]
struct RsaPrivateKey<'a> {
    version: u8,
    n: UintRef<'a>,
    e: UintRef<'a>,
    d: UintRef<'a>,
    p: UintRef<'a>,
    q: UintRef<'a>,
    dp: UintRef<'a>,
    dq: UintRef<'a>,
    qi: UintRef<'a>,
}

fn rsa(der: &[u8]) -> Result<PrivateKey, String> {
    let key = RsaPrivateKey::from_der(der)
        .map_err(|error| format!("it is not an RSA private key of two primes ({error})"))?;
    let bytes = |number: UintRef<'_>| Some(number.as_bytes().to_vec());
    Ok(PrivateKey(JsonWebKey {
        kty: Some(KeyType::Rsa),
        n: bytes(key.n),
        e: bytes(key.e),
        d: bytes(key.d),
        p: bytes(key.p),
        q: bytes(key.q),
        dp: bytes(key.dp),
        dq: bytes(key.dq),
        qi: bytes(key.qi),
        ..JsonWebKey::default()
    }))
}

/// RFC 5915.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<der::asn1::BitStringRef<'a>>,
}

fn ec(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<PrivateKey, String> {
    let key = EcPrivateKey::from_der(der)
        .map_err(|error| format!("it is not an EC private key ({error})"))?;
    let curve = curve.or(key.curve);
    let curve = curve.ok_or_else(|| WITHOUT_CURVE.to_owned())?;
    let mut known = CURVES.into_iter();
    let (.., name, curve) = known
        .find(|(oid, ..)| ObjectIdentifier::new_unwrap(oid) == curve)
        .ok_or_else(|| format!("the service does not have the curve {curve}"))?;
    // Files have the public part in several forms, or not at all.
    let pair = EcPair::of_scalar(EcCurve::of(curve), key.private_key.as_bytes());
    let EcPair { d, x, y } =
        pair.ok_or_else(|| "the EC key's number is none of its curve".to_owned())?;
    Ok(PrivateKey(JsonWebKey {
        kty: Some(KeyType::Ec),
        crv: Some(name),
        x: Some(x),
        y: Some(y),
        d: Some(d.to_vec()),
        ..JsonWebKey::default()
    }))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn what_is_no_private_key_is_told_as_what_it_is() {
        for (file, words) in [
            (&b"{}"[..], "no private part"),
            (b"{", "not a JSON Web Key"),
            (b"hello", "no private key in PEM"),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "encrypted",
            ),
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "not PKCS#8",
            ),
        ] {
            let problem = private_key(file, true).err().unwrap();
            assert!(problem.contains(words), "{problem}");
        }
        assert!(aes_key(&[0; 15]).err().unwrap().contains("15"));
        for blob in [&b"{}"[..], b"x", br#"{"ciphertext":"AA"}"#] {
            let problem = transferred(blob, KeyType::RsaHsm).err().unwrap();
            assert!(problem.contains("no key transfer blob"), "{problem}");
        }
    }

    #[test]
    fn a_file_has_one_private_key_and_its_public_part_follows_from_it() {
        // RFC 5915, of the number 1, whose point is the curve's generator.
        let scalar = [&[0; 31][..], &[1]].concat();
        let curve = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let der = [&b"\x30\x31\x02\x01\x01\x04\x20"[..], &scalar, curve].concat();
        let read = private_key(&der, true).unwrap();
        let (x, y) = (read.0.x.clone().unwrap(), read.0.y.clone().unwrap());
        let generator = EcCurve::of(Curve::P256).generator;
        assert_eq!([&[4][..], &x, &y].concat(), generator);
        assert_eq!(read.0.d.as_ref(), Some(&scalar));
        let text = STANDARD.encode(&der);
        let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n");
        assert!(private_key(pem.as_bytes(), true).is_ok());
        let problem = private_key(pem.repeat(2).as_bytes(), true).err().unwrap();
        assert!(problem.contains("2 private keys"), "{problem}");
        let none = [&b"\x30\x31\x02\x01\x01\x04\x20"[..], &[0; 32], curve].concat();
        let problem = private_key(&none, true).err().unwrap();
        assert!(problem.contains("none of its curve"), "{problem}");
    }

    /// RFC 7518, sections 6.2.1.2, 6.2.2.1 and 6.3: and files of others have it otherwise.
    #[test]
    fn numbers_of_a_json_web_key_are_written_as_the_standard_has_them() {
        let rsa = br#"{"kty":"RSA","n":"AP8","e":"AAEAAQ","d":"AAD_","p":"AAE","q":"AAI",
            "dp":"AAM","dq":"AAQ","qi":"AAU"}"#;
        let key = private_key(rsa, true).unwrap();
        for (number, expected) in [
            (&key.0.n, &[0xff][..]),
            (&key.0.e, &[1, 0, 1]),
            (&key.0.d, &[0xff]),
            (&key.0.p, &[1]),
            (&key.0.q, &[2]),
            (&key.0.dp, &[3]),
            (&key.0.dq, &[4]),
            (&key.0.qi, &[5]),
        ] {
            assert_eq!(number.as_deref(), Some(expected));
        }
        for (_, curve, of) in CURVES {
            let len = EcCurve::of(of).coordinate_len;
            let text = format!(r#"{{"kty":"EC","crv":"{curve}","x":"AQ","y":"AAAC","d":"AAM"}}"#);
            let key = private_key(text.as_bytes(), true).unwrap();
            for (number, last) in [(&key.0.x, 1), (&key.0.y, 2), (&key.0.d, 3)] {
                let mut expected = vec![0; len];
                expected[len - 1] = last;
                assert_eq!(number.as_ref(), Some(&expected), "{curve}");
            }
        }
    }
}
