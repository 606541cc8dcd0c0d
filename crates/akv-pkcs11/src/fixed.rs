//! What templates say of attributes that aren't the program's to choose.

use cryptoki_sys::*;
use hsm_keys::KeyType;

use crate::attributes::{key_type, name};
use crate::configuration::Options;
use crate::error::Error;
use crate::ml_dsa;
use crate::report;
use crate::template;
use crate::token::tags::Half;

/// What is known of a new key beside its templates.
#[derive(Clone, Copy)]
pub(crate) struct NewKeyFacts<'a> {
    pub(crate) options: &'a Options,
    pub(crate) of: KeyType,
    /// Whether it is to outlive the session.
    pub(crate) is_to_stay: bool,
    pub(crate) from: Origin,
}

/// Where a new key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is born in the HSM.
    Hsm,
    /// A program brings it into the HSM.
    Imported,
    /// A program brings it to its session, and it never gets into the HSM.
    Session,
}

/// A template for a new key has an attribute that isn't the program's to set.
pub(crate) fn read_only(type_: CK_ATTRIBUTE_TYPE) -> Error {
    Error::because(
        CKR_ATTRIBUTE_READ_ONLY,
        format!("{} can't be set: leave it out of the template", name(type_)),
    )
}

/// Refuses what contradicts what a key is anyway.
pub(crate) fn check_given(
    of: KeyType,
    half: Half,
    type_: CK_ATTRIBUTE_TYPE,
    value: &[u8],
) -> Result<(), Error> {
    let is_secret = of == KeyType::Aes;
    let is_foreign = match type_ {
        CKA_VALUE_LEN => !is_secret,
        CKA_MODULUS_BITS | CKA_PUBLIC_EXPONENT => of != KeyType::Rsa,
        CKA_EC_PARAMS => of != KeyType::Ec,
        CKA_PARAMETER_SET => !matches!(of, KeyType::MlDsa(_)),
        _ => false,
    };
    if is_foreign {
        return Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            format!("keys of this type have no {}", name(type_)),
        ));
    }
    let expected = match (type_, half) {
        (CKA_CLASS, Half::Private) if is_secret => CKO_SECRET_KEY,
        (CKA_CLASS, Half::Private) => CKO_PRIVATE_KEY,
        (CKA_CLASS, Half::Public) => CKO_PUBLIC_KEY,
        // Whoever has the HSM make it has looked.
        (CKA_KEY_TYPE, _) if !is_secret => key_type(of),
        (CKA_PARAMETER_SET, _) => match of {
            KeyType::MlDsa(set) => ml_dsa::number(set),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    match template::number(type_, value)? == expected {
        true => Ok(()),
        false => Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            format!("{} is not what the mechanism makes", name(type_)),
        )),
    }
}

/// What attributes of new keys come to, whatever the template says.
pub(crate) fn check_fixed(
    new: NewKeyFacts<'_>,
    half: Half,
    type_: CK_ATTRIBUTE_TYPE,
    value: &[u8],
) -> Result<(), Error> {
    let is_rsa = new.of == KeyType::Rsa;
    let is_true = match type_ {
        // Whoever restricts a key is told that it isn't.
        CKA_ALLOWED_MECHANISMS => return differs(new.options, type_),
        // Nobody keeps a name, and the HSM alone knows what a new key will be.
        CKA_SUBJECT | CKA_PUBLIC_KEY_INFO => match value.is_empty() {
            true => return Ok(()),
            false => return differs(new.options, type_),
        },
        CKA_PRIVATE | CKA_SENSITIVE => half == Half::Private,
        CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE => {
            half == Half::Private && new.from == Origin::Hsm
        }
        CKA_MODIFIABLE => new.from != Origin::Session,
        CKA_DESTROYABLE => new.options.allow_delete || !new.is_to_stay,
        // Whoever can sign or verify can do it so as well, if anybody can.
        CKA_SIGN_RECOVER | CKA_VERIFY_RECOVER if !template::flag(type_, value)? => return Ok(()),
        CKA_SIGN_RECOVER => half == Half::Private && is_rsa && new.options.rsnull,
        CKA_VERIFY_RECOVER => half == Half::Public && is_rsa,
        // Extractable, derives, asks for a PIN each time, is trusted or wraps for those alone,
        // can be copied.
        _ => false,
    };
    match template::flag(type_, value)? == is_true {
        true => Ok(()),
        false => differs(new.options, type_),
    }
}

/// The HSM does otherwise than a template says.
pub(crate) fn differs(options: &Options, type_: CK_ATTRIBUTE_TYPE) -> Result<(), Error> {
    let problem = format!(
        "the HSM makes no key with {} as the template has it",
        name(type_)
    );
    differs_for(options, problem)
}

/// The same with a sentence of its own.
pub(crate) fn differs_for(options: &Options, problem: String) -> Result<(), Error> {
    if options.strict_templates {
        return Err(Error::because(CKR_TEMPLATE_INCONSISTENT, problem));
    }
    let text = format!("{problem}; it is ignored (strictTemplates would refuse it)");
    report::repeated_text("a template that differs", &text);
    Ok(())
}
