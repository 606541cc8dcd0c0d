//! What an X.509 certificate says (RFC 5280), as far as programs look for it. Names and numbers
//! stay in the bytes that they have there: whoever compares them compares bytes.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode, Reader, Sequence, SliceReader, Tag, Tagged};
use hsm_keys::{Digest, EcCurve, PublicKey};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use x509_cert::time::Validity;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// The longest certificate: many times one with every extension that there is.
const MAX_LEN: usize = 1 << 20;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct X509 {
    /// All of it, DER.
    pub(crate) der: Vec<u8>,
    /// DER, as are the next three.
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) public_key_info: Vec<u8>,
    /// The key, if it is of a kind that the HSM may have.
    pub(crate) public: Option<PublicKey>,
    /// The subject key identifier, as it stands there or else by RFC 5280 (section 4.2.1.2,
    /// method 1).
    pub(crate) key_id: Vec<u8>,
    /// The common name of the subject.
    pub(crate) common_name: Option<String>,
    /// Whether it is a CA's.
    pub(crate) is_authority: bool,
    /// From when until when it is good: seconds since 1970.
    pub(crate) validity: Option<(i64, i64)>,
}

#[derive(Sequence)]
struct Certificate<'a> {
    content: Content<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
struct Content<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    serial: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: AnyRef<'a>,
    subject: AnyRef<'a>,
    public_key_info: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Sequence)]
struct PublicKeyInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    key: BitStringRef<'a>,
}

#[derive(Sequence)]
struct RsaKey<'a> {
    modulus: der::asn1::UintRef<'a>,
    exponent: der::asn1::UintRef<'a>,
}

impl X509 {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        if der.len() > MAX_LEN {
            return Err(format!("is longer than {MAX_LEN} bytes"));
        }
        Self::decode(der).map_err(|error| format!("is no X.509 certificate ({error})"))
    }

    fn decode(der: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let certificate = Certificate::decode(&mut reader)?;
        reader.finish()?;
        let content = certificate.content;
        for (element, tag) in [
            (&content.serial, Tag::Integer),
            (&content.issuer, Tag::Sequence),
            (&content.subject, Tag::Sequence),
            (&content.public_key_info, Tag::Sequence),
        ] {
            element.tag().assert_eq(tag)?;
        }
        let public_key_info = content.public_key_info.to_der()?;
        let info = PublicKeyInfo::from_der(&public_key_info)?;
        let extensions = content.extensions.unwrap_or_default();
        let extension = |id: ObjectIdentifier| {
            let found = extensions.iter().find(|extension| extension.extn_id == id);
            found.map(|found| found.extn_value.as_bytes())
        };
        let told_id = extension(SUBJECT_KEY_ID)
            .and_then(|value| SubjectKeyIdentifier::from_der(value).ok())
            .map(|id| id.0.as_bytes().to_vec());
        let constraints = extension(BASIC_CONSTRAINTS);
        let constraints = constraints.and_then(|value| BasicConstraints::from_der(value).ok());
        let subject = content.subject.to_der()?;
        Ok(Self {
            key_id: told_id.unwrap_or_else(|| key_id(info.key.raw_bytes())),
            common_name: common_name(&subject),
            subject,
            issuer: content.issuer.to_der()?,
            serial: content.serial.to_der()?,
            public: public_key(&info, &public_key_info),
            is_authority: constraints.is_some_and(|constraints| constraints.ca),
            validity: validity(&content.validity),
            public_key_info,
            der: der.to_vec(),
        })
    }

    /// The first three bytes of its SHA-1 digest, which the standard calls its checksum.
    pub(crate) fn check_value(&self) -> Option<Vec<u8>> {
        let sha1 = Digest::by_name("SHA1")?;
        Some(sha1.of(&self.der)[..3].to_vec())
    }

    /// What names it in its file's name, and everywhere: the SHA-256 of all of it.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        let digest = Digest::by_name("SHA256");
        digest.map_or_else(Vec::new, |sha256| sha256.of(&self.der).into_vec())
    }
}

/// The SHA-1 of the bits of the public key.
fn key_id(bits: &[u8]) -> Vec<u8> {
    let digest = Digest::by_name("SHA1");
    digest.map_or_else(Vec::new, |sha1| sha1.of(bits).into_vec())
}

/// The key of an element, which is `der`. None: of a kind that no HSM has, or no key at all.
fn public_key(info: &PublicKeyInfo<'_>, der: &[u8]) -> Option<PublicKey> {
    let bits = info.key.as_bytes()?;
    match info.algorithm.oid {
        RSA | RSA_PSS => {
            let key = RsaKey::from_der(bits).ok()?;
            let bytes = |number: der::asn1::UintRef<'_>| number.as_bytes().to_vec();
            PublicKey::rsa(bytes(key.modulus), bytes(key.exponent)).ok()
        }
        EC => {
            let curve = info.algorithm.parameters_oid().ok()?;
            let mut curves = managed_hsm::Curve::ALL.map(EcCurve::of).into_iter();
            let curve = curves.find(|known| known.oid == curve.as_bytes())?;
            PublicKey::ec(curve, bits).ok()
        }
        // There is one form only of the others.
        _ => PublicKey::from_spki(der).ok().flatten(),
    }
}

/// The last common name, which is the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let name = Name::from_der(subject).ok()?;
    let names = name.iter().filter(|part| part.oid == COMMON_NAME);
    let value = &names.last()?.value;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            Some(String::from_utf8_lossy(value.value()).into_owned())
        }
        Tag::BmpString => {
            let units = value.value().chunks_exact(2);
            let units = units.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(String::from_utf16_lossy(&units.collect::<Vec<_>>()))
        }
        _ => None,
    }
}

fn validity(element: &AnyRef<'_>) -> Option<(i64, i64)> {
    let validity: Validity = element.decode_as().ok()?;
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs());
    Some((
        seconds(validity.not_before).ok()?,
        seconds(validity.not_after).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_what_openssl_says_of_it() {
        let judge = testing::Certificate::for_localhost().certificate;
        let der = judge.to_der().unwrap();
        let read = X509::read(&der).unwrap();
        assert_eq!(read.der, der);
        assert_eq!(read.subject, judge.subject_name().to_der().unwrap());
        assert_eq!(read.issuer, judge.issuer_name().to_der().unwrap());
        let public = judge.public_key().unwrap().public_key_to_der().unwrap();
        assert_eq!(read.public_key_info, public);
        assert_eq!(read.public.and_then(|public| public.spki()), Some(public));
        assert_eq!(read.common_name.as_deref(), Some("localhost"));
        assert!(!read.is_authority);
        let (first, last) = read.validity.unwrap();
        assert_eq!(last - first, 2 * 86_400);
    }

    #[test]
    fn the_key_of_a_certificate_is_known_whatever_its_type() {
        let der = testing::Certificate::for_localhost().certificate.to_der();
        let der = der.unwrap();
        let of = |spki: &[u8]| {
            let mut certificate = Certificate::from_der(&der).unwrap();
            certificate.content.public_key_info = AnyRef::from_der(spki).unwrap();
            X509::read(&certificate.to_der().unwrap()).unwrap().public
        };
        for set in managed_hsm::ParameterSet::ALL {
            let public = PublicKey::ml_dsa(set, &vec![7; set.public_key_len()]).unwrap();
            assert_eq!(of(&public.spki().unwrap()), Some(public), "{set:?}");
        }
        for curve in managed_hsm::Curve::ALL.map(EcCurve::of) {
            let public = PublicKey::ec(curve, curve.generator).unwrap();
            let (x, y) = curve.generator[1..].split_at(curve.coordinate_len);
            let compressed = [&[2 | y[y.len() - 1] & 1], x].concat();
            let spki = |point: &[u8]| {
                let ec = hsm_keys::der::object_identifier(EC.as_bytes());
                let curve = hsm_keys::der::object_identifier(curve.oid);
                let algorithm = hsm_keys::der::sequence(&[&ec, &curve]);
                hsm_keys::der::sequence(&[&algorithm, &hsm_keys::der::bit_string(point)])
            };
            assert_eq!(Some(spki(curve.generator)), public.spki());
            assert_eq!(of(&spki(&compressed)), Some(public), "{curve:?}");
        }
        // One that no HSM has.
        let ed25519 = [
            &b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..],
            &[7; 32],
        ]
        .concat();
        assert_eq!(of(&ed25519), None);
    }

    #[test]
    fn damaged_certificates_are_refused_or_others_and_nothing_panics() {
        let der = testing::Certificate::for_localhost().certificate.to_der();
        let der = der.unwrap();
        for len in 0..der.len() {
            assert!(X509::read(&der[..len]).is_err(), "{len}");
        }
        assert!(X509::read(&[&der[..], &[0]].concat()).is_err());
        assert!(X509::read(&vec![0; MAX_LEN + 1]).is_err());
        for at in 0..der.len() {
            for flipped in [0x01, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[at] ^= flipped;
                if let Ok(read) = X509::read(&damaged) {
                    assert_eq!(read.der, damaged);
                }
            }
        }
    }
}
