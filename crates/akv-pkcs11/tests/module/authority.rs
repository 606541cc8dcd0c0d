//! A CA of the tests', which issues certificates for keys of the HSM.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use testing::Rest;

pub(crate) struct Authority {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let name = name("the test's CA");
        let mut builder = builder(&name, &name, 1);
        builder.set_pubkey(&key).unwrap();
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
        let context = builder.x509v3_context(None, None);
        let id = SubjectKeyIdentifier::new().build(&context).unwrap();
        builder.append_extension(id).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        Self { certificate, key }
    }

    /// A certificate for a public key, with this common name.
    pub(crate) fn issue(&self, public: &PKey<Public>, common_name: &str, serial: u32) -> X509 {
        let subject = name(common_name);
        let mut builder = builder(&subject, self.certificate.subject_name(), serial);
        builder.set_pubkey(public).unwrap();
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let names = SubjectAlternativeName::new()
            .dns("localhost")
            .build(&context);
        builder.append_extension(names.unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    /// The same for the newest version of a key of the HSM.
    pub(crate) fn issue_for(&self, rest: &Rest, key: &str, serial: u32) -> X509 {
        self.issue(&public_key(rest, key), key, serial)
    }
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("O", "Tests").unwrap();
    name.append_entry_by_text("CN", common_name).unwrap();
    name.build()
}

fn builder(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    serial: u32,
) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    let day = |days| Asn1Time::days_from_now(days).unwrap();
    builder.set_not_before(&day(0)).unwrap();
    builder.set_not_after(&day(30)).unwrap();
    builder
}

/// The public part of the newest version of a key of the HSM.
pub(crate) fn public_key(rest: &Rest, key: &str) -> PKey<Public> {
    let told = rest.call("GET", &format!("/keys/{key}"), "");
    let jwk = &told["key"];
    let number = |member: &str| {
        let text = jwk[member].as_str().expect("it is there");
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let bytes = base64::Engine::decode(&engine, text).unwrap();
        BigNum::from_slice(&bytes).unwrap()
    };
    if jwk["kty"] == "RSA-HSM" {
        let rsa = Rsa::from_public_components(number("n"), number("e"));
        return PKey::from_rsa(rsa.unwrap()).unwrap();
    }
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = EcKey::from_public_key_affine_coordinates(&group, &number("x"), &number("y"));
    PKey::from_ec_key(key.unwrap()).unwrap()
}
