//! The attributes of certificates.

use std::borrow::Cow;

use cryptoki_sys::*;

use super::StoredCertificate;
use crate::attributes::{Missing, Value, unique_id};
use crate::template;
use crate::token::objects::StoredKey;
use crate::token::tags::{self, Half};

/// The name of an attribute that certificates have and keys don't.
pub(crate) const fn name_of_certificates(type_: CK_ATTRIBUTE_TYPE) -> Option<&'static str> {
    Some(match type_ {
        CKA_CERTIFICATE_TYPE => "CKA_CERTIFICATE_TYPE",
        CKA_CERTIFICATE_CATEGORY => "CKA_CERTIFICATE_CATEGORY",
        CKA_JAVA_MIDP_SECURITY_DOMAIN => "CKA_JAVA_MIDP_SECURITY_DOMAIN",
        CKA_ISSUER => "CKA_ISSUER",
        CKA_SERIAL_NUMBER => "CKA_SERIAL_NUMBER",
        CKA_CHECK_VALUE => "CKA_CHECK_VALUE",
        CKA_URL => "CKA_URL",
        CKA_HASH_OF_SUBJECT_PUBLIC_KEY => "CKA_HASH_OF_SUBJECT_PUBLIC_KEY",
        CKA_HASH_OF_ISSUER_PUBLIC_KEY => "CKA_HASH_OF_ISSUER_PUBLIC_KEY",
        _ => return None,
    })
}

/// A certificate, to be asked for attributes, with its key if that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateObject<'a> {
    pub(crate) certificate: &'a StoredCertificate,
    pub(crate) key: Option<&'a StoredKey>,
}

impl CertificateObject<'_> {
    /// That of its key; else what a program has given, or the subject key identifier.
    pub(super) fn id(&self) -> Cow<'_, [u8]> {
        let certificate = self.certificate;
        let own = || certificate.id.as_deref();
        match self.key {
            Some(key) => key.id(Half::Private),
            None => own().unwrap_or(&certificate.x509.key_id).into(),
        }
    }

    /// What a program has given; else that of its key, or the subject's common name.
    fn label(&self) -> String {
        let certificate = self.certificate;
        let of_key = || self.key.map(|key| key.label(Half::Private).into_owned());
        let label = certificate.label.clone().or_else(of_key);
        label
            .or_else(|| certificate.x509.common_name.clone())
            .unwrap_or_default()
    }

    /// The value of an attribute.
    pub(crate) fn get(&self, type_: CK_ATTRIBUTE_TYPE) -> Result<Value, Missing> {
        let x509 = &self.certificate.x509;
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let day = |at: fn((i64, i64)) -> i64| {
            Value::Bytes(
                x509.validity
                    .map_or_else(Vec::new, |both| template::date(at(both))),
            )
        };
        Ok(match type_ {
            CKA_CLASS => Value::Number(CKO_CERTIFICATE),
            CKA_TOKEN => Value::Flag(self.certificate.session().is_none()),
            CKA_PRIVATE | CKA_TRUSTED => Value::Flag(false),
            CKA_MODIFIABLE | CKA_DESTROYABLE => Value::Flag(self.certificate.is_programs()),
            CKA_COPYABLE => Value::Flag(self.certificate.session().is_some()),
            CKA_LABEL => bytes(self.label().as_bytes()),
            CKA_UNIQUE_ID => match self.certificate.session() {
                Some(_) => bytes(unique_id(self.certificate.handle).as_bytes()),
                None => bytes(tags::encode_id(&self.certificate.fingerprint).as_bytes()),
            },
            CKA_CERTIFICATE_TYPE => Value::Number(CKC_X_509),
            CKA_CERTIFICATE_CATEGORY => Value::Number(match (x509.is_authority, self.key) {
                (true, _) => CK_CERTIFICATE_CATEGORY_AUTHORITY,
                (false, Some(_)) => CK_CERTIFICATE_CATEGORY_TOKEN_USER,
                (false, None) => CK_CERTIFICATE_CATEGORY_OTHER_ENTITY,
            }),
            CKA_CHECK_VALUE => bytes(&x509.check_value().ok_or(Missing::NotThere)?),
            CKA_START_DATE => day(|(first, _)| first),
            CKA_END_DATE => day(|(_, last)| last),
            CKA_PUBLIC_KEY_INFO => bytes(&x509.public_key_info),
            CKA_SUBJECT => bytes(&x509.subject),
            CKA_ISSUER => bytes(&x509.issuer),
            CKA_SERIAL_NUMBER => bytes(&x509.serial),
            CKA_VALUE => bytes(&x509.der),
            CKA_ID => bytes(&self.id()),
            // There is a value, so there is no need to tell where one is.
            CKA_URL | CKA_HASH_OF_SUBJECT_PUBLIC_KEY | CKA_HASH_OF_ISSUER_PUBLIC_KEY => bytes(&[]),
            CKA_JAVA_MIDP_SECURITY_DOMAIN => Value::Number(CK_SECURITY_DOMAIN_UNSPECIFIED),
            _ => return Err(Missing::NotThere),
        })
    }

    /// Whether an attribute has a value that a program looks for.
    pub(crate) fn has(&self, type_: CK_ATTRIBUTE_TYPE, sought: &[u8]) -> bool {
        let of_key = match (type_, self.key) {
            // Whoever has written it finds it by the id that it was given, too.
            (CKA_ID, Some(key)) => {
                self.certificate.id.as_deref() == Some(sought) || key.has_id(Half::Private, sought)
            }
            (CKA_LABEL, Some(key)) => {
                self.certificate.label.is_none() && key.has_label(Half::Private, sought)
            }
            // Java has the bare number.
            (CKA_SERIAL_NUMBER, _) => is_number(&self.certificate.x509.serial, sought),
            _ => false,
        };
        of_key || self.get(type_).is_ok_and(|value| *value.bytes() == *sought)
    }

    /// The same of what the certificate itself says; what its key decides may be anything.
    pub(crate) fn may_have(&self, type_: CK_ATTRIBUTE_TYPE, sought: &[u8]) -> bool {
        match type_ {
            CKA_ID | CKA_LABEL | CKA_CERTIFICATE_CATEGORY => true,
            _ => self.has(type_, sought),
        }
    }
}

/// Whether bytes are the number in an INTEGER of DER, of less than 128 bytes.
pub(super) fn is_number(der: &[u8], bytes: &[u8]) -> bool {
    matches!(der, [_, _, number @ ..] if number == bytes)
}
