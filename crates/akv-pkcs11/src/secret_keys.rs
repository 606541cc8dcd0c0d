//! Secret keys: made in the HSM, or a program's own for as long as its session. Those can be
//! wrapped by keys of the HSM, and come in by being unwrapped; a key of the HSM never leaves it.

use std::sync::Arc;

use cryptoki_sys::*;
use hsm_keys::aes::BLOCK;
use hsm_keys::{KeyType, PublicKey};
use managed_hsm::{NewKeyKind, Service};
use zeroize::Zeroizing;

use crate::attributes::{Attribute, Rule};
use crate::ciphers::{Cipher, Use};
use crate::configuration::Options;
use crate::error::{Error, Purpose};
use crate::ffi::convert::{Bytes, MechanismIn, Output, Place, TemplateIn, Wanted};
use crate::fixed::{self, NewKeyFacts, Origin};
use crate::import;
use crate::key_pairs::{self, NewKeyTemplate, Source};
use crate::mechanisms::{Kind, Mechanism};
use crate::message::LONGEST;
use crate::module::Module;
use crate::rsa_aes::RsaAes;
use crate::sessions::Session;
use crate::template::{self, Template};
use crate::token::objects::{SecretKey, StoredKey};
use crate::token::tags::Half;

/// The lengths of AES keys in bytes, the usual one first.
const AES_LENGTHS: [usize; 3] = [32, 16, 24];

/// Has the HSM make a key.
pub(crate) fn generate(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    template: TemplateIn<'_>,
    mut place: Place<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    place.check()?;
    let given = mechanism.ok_or_else(|| Error::code(CKR_ARGUMENTS_BAD))?;
    check_vault(&session, CKR_MECHANISM_INVALID)?;
    let kind = match Mechanism::find(given.type_).map(|mechanism| mechanism.kind) {
        Some(Kind::AesKey) => CKK_AES,
        Some(Kind::GenericKey) => CKK_GENERIC_SECRET,
        _ => return Err(Error::code(CKR_MECHANISM_INVALID)),
    };
    if !given.parameter()?.is_empty() {
        return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
    }
    let template = Template::read(&template)?;
    if template
        .number(CKA_KEY_TYPE)?
        .is_some_and(|wanted| wanted != kind)
    {
        return Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            "CKA_KEY_TYPE is not what the mechanism makes",
        ));
    }
    let len = template
        .number(CKA_VALUE_LEN)?
        .ok_or_else(|| template::incomplete(CKA_VALUE_LEN))?;
    if !AES_LENGTHS.contains(&usize::try_from(len).unwrap_or_default()) {
        return Err(Error::because(
            CKR_KEY_SIZE_RANGE,
            format!("the HSM makes secret keys of 16, 24 and 32 bytes, not of {len}"),
        ));
    }
    let is_token_key = template.flag(CKA_TOKEN)?.unwrap_or(false);
    let lives_in = key_pairs::lives_in(module, &session, is_token_key)?;
    let mut wanted = NewKeyTemplate::default();
    let new = NewKeyFacts {
        options: &module.options,
        of: KeyType::Aes,
        is_to_stay: lives_in.is_none(),
        from: Origin::Hsm,
    };
    wanted.read(new, Half::Private, &template)?;
    wanted.note_secret(Some(kind), usize::try_from(len).ok());
    let bits = 8 * u32::try_from(len).unwrap_or_default();
    let source = Source::Made(NewKeyKind::Oct { bits });
    let made = wanted.make_for(module, &session, source, lives_in)?;
    place.put(made.handle(Half::Private))
}

/// Takes in a key with its value.
pub(crate) fn create(session: &Session, template: &Template<'_>) -> Result<StoredKey, Error> {
    let value = template.bytes(CKA_VALUE);
    let value = value.ok_or_else(|| template::incomplete(CKA_VALUE))?;
    bring(session, template, Zeroizing::new(value.to_vec()))
}

/// Refuses a secret key that is to be the vault's, where that has none.
pub(crate) fn check_vault(session: &Session, code: CK_RV) -> Result<(), Error> {
    match session.token.vault().service {
        Service::ManagedHsm => Ok(()),
        Service::KeyVault => Err(Error::because(
            code,
            "a key vault has no secret keys: a Managed HSM has, or bring one for the session alone",
        )),
    }
}

/// Which lengths a key of the template's kind may have; none: any.
fn lengths(template: &Template<'_>) -> Result<Vec<usize>, Error> {
    let told = template.number(CKA_VALUE_LEN)?;
    let told = told.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    match (template.number(CKA_KEY_TYPE)?, told) {
        (None, _) => Err(template::incomplete(CKA_KEY_TYPE)),
        (Some(CKK_AES), None) => Ok(AES_LENGTHS.to_vec()),
        (Some(CKK_AES), Some(len)) if !AES_LENGTHS.contains(&len) => Err(template::invalid(
            CKA_VALUE_LEN,
            "AES has keys of 16, 24 and 32 bytes",
        )),
        (Some(CKK_AES | CKK_GENERIC_SECRET), told) => Ok(told.into_iter().collect()),
        (Some(_), _) => Err(template::invalid(
            CKA_KEY_TYPE,
            "secret keys are AES or generic here",
        )),
    }
}

fn bring(
    session: &Session,
    template: &Template<'_>,
    value: Zeroizing<Vec<u8>>,
) -> Result<StoredKey, Error> {
    // What is private is there for whoever has logged in.
    if !session.token.is_open() {
        return Err(Error::code(CKR_USER_NOT_LOGGED_IN));
    }
    let fitting = lengths(template)?;
    if value.is_empty() || !(fitting.is_empty() || fitting.contains(&value.len())) {
        return Err(template::invalid(
            CKA_VALUE,
            "it has not the length that the key's type or CKA_VALUE_LEN says",
        ));
    }
    for (type_, value) in template.iter() {
        check(session.token.options(), type_, value)?;
    }
    let label = template.bytes(CKA_LABEL).unwrap_or_default();
    let id = template.bytes(CKA_ID).unwrap_or_default();
    let secret = SecretKey {
        kind: template.number(CKA_KEY_TYPE)?.unwrap_or(CKK_GENERIC_SECRET),
        value,
        sensitive: template.flag(CKA_SENSITIVE)?.unwrap_or(false),
        extractable: template.flag(CKA_EXTRACTABLE)?.unwrap_or(true),
    };
    Ok(StoredKey::brought(
        PublicKey::Aes,
        Some(secret),
        session.handle,
        (template::text(CKA_LABEL, label)?, id.to_vec()),
        Vec::new(),
    ))
}

/// Refuses what a template says that a key of a session can't be.
fn check(options: &Options, type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<(), Error> {
    let rule = &Attribute::require(type_)?.rule;
    let is_kept = match (type_, rule) {
        (CKA_VALUE | CKA_SENSITIVE | CKA_EXTRACTABLE, _) => true,
        // Only the HSM's keys do something, and have never been elsewhere.
        (CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE, _) | (_, Rule::Usage(_)) => {
            !template::flag(type_, value)?
        }
        (_, Rule::Start | Rule::End) => template::seconds(type_, value)?.is_none(),
        (_, Rule::Given) => {
            return fixed::check_given(KeyType::Aes, Half::Private, type_, value);
        }
        (_, Rule::Fixed) => {
            let new = NewKeyFacts {
                options,
                of: KeyType::Aes,
                is_to_stay: false,
                from: Origin::Session,
            };
            return fixed::check_fixed(new, Half::Private, type_, value);
        }
        (_, Rule::Never) => return Err(fixed::read_only(type_)),
        (_, Rule::Label | Rule::Id) => true,
    };
    match is_kept {
        true => Ok(()),
        false => fixed::differs(options, type_),
    }
}

pub(crate) fn wrap(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let token = &session.token;
    let given = mechanism.ok_or_else(|| Error::code(CKR_ARGUMENTS_BAD))?;
    let way = Way::new(&given, Use::Wrap, &module.options)?;
    let (wrapping, half) = token_key(&session, wrapping_key, CKR_WRAPPING_KEY_HANDLE_INVALID)?;
    let wrapping = token.usable(Purpose::Wrap, wrapping, |wrapping| match &way {
        Way::Cipher(cipher) => cipher.check_key(wrapping, half, Use::Wrap),
        Way::RsaAes(_) => RsaAes::check_key(wrapping, half, true),
    })?;
    let (key, half) = token.key(key)?;
    let secret = match (&key.secret, half) {
        (Some(secret), _) if secret.extractable => secret,
        (Some(_), _) => return Err(Error::code(CKR_KEY_UNEXTRACTABLE)),
        (None, Half::Public) => return Err(Error::code(CKR_KEY_NOT_WRAPPABLE)),
        (None, Half::Private) => {
            return Err(Error::because(
                CKR_KEY_UNEXTRACTABLE,
                format!("key {} never leaves the HSM", key.name()),
            ));
        }
    };
    let value = way.to_be_wrapped(&secret.value);
    let len = match &way {
        Way::Cipher(cipher) => cipher.output_len(&wrapping, Use::Wrap, value.len())?,
        Way::RsaAes(_) => RsaAes::output_len(&wrapping, value.len()),
    };
    if output.wanted(len)? == Wanted::Size {
        return Ok(());
    }
    output.put(&match &way {
        Way::Cipher(cipher) => cipher.encrypt(token, &wrapping, Use::Wrap, &value)?,
        Way::RsaAes(way) => way.wrap(&wrapping, &value)?,
    })
}

/// How a key is wrapped.
enum Way {
    Cipher(Cipher),
    RsaAes(RsaAes),
}

impl Way {
    fn new(given: &MechanismIn<'_>, of: Use, options: &Options) -> Result<Self, Error> {
        match given.type_ {
            CKM_RSA_AES_KEY_WRAP => RsaAes::new(given).map(Self::RsaAes),
            _ => Cipher::new(given, of, options).map(Self::Cipher),
        }
    }

    /// What is encrypted of a key.
    fn to_be_wrapped(&self, key: &[u8]) -> Zeroizing<Vec<u8>> {
        let len = match self {
            Self::Cipher(cipher) if cipher.is_unpadded_cbc() => key.len().next_multiple_of(BLOCK),
            _ => key.len(),
        };
        let mut value = Zeroizing::new(vec![0; len]);
        value[..key.len()].copy_from_slice(key);
        value
    }
}

pub(crate) fn unwrap(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: Bytes<'_>,
    template: TemplateIn<'_>,
    mut place: Place<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let token = &session.token;
    place.check()?;
    let given = mechanism.ok_or_else(|| Error::code(CKR_ARGUMENTS_BAD))?;
    let template = Template::read(&template)?;
    let is_token_key = template.flag(CKA_TOKEN)?.unwrap_or(false);
    let way = Way::new(&given, Use::Unwrap, &module.options)?;
    let (unwrapping, half) =
        token_key(&session, unwrapping_key, CKR_UNWRAPPING_KEY_HANDLE_INVALID)?;
    let cipher = match way {
        Way::Cipher(cipher) => cipher,
        Way::RsaAes(_) => {
            let check = |key: &StoredKey| RsaAes::check_key(key, half, false);
            let unwrapping = token.usable(Purpose::Unwrap, unwrapping, check)?;
            let wrapped = wrapped.get()?;
            Use::Unwrap.check_len(wrapped.len(), LONGEST)?;
            return place.put(import::transfer(&session, &template, &unwrapping, wrapped)?);
        }
    };
    if template.bytes(CKA_VALUE).is_some() {
        return Err(fixed::read_only(CKA_VALUE));
    }
    let class = template.number(CKA_CLASS)?.unwrap_or(CKO_SECRET_KEY);
    if class != CKO_SECRET_KEY || is_token_key {
        return Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            "what is unwrapped so is a secret key of the session: into the HSM keys come by \
             CKM_RSA_AES_KEY_WRAP",
        ));
    }
    let check = |key: &StoredKey| cipher.check_key(key, half, Use::Unwrap);
    let unwrapping = token.usable(Purpose::Unwrap, unwrapping, check)?;
    let (wrapped, fitting) = (wrapped.get()?, lengths(&template)?);
    let mut value = cipher.decrypt(token, &unwrapping, Use::Unwrap, wrapped, &fitting)?;
    if let [len] = fitting[..]
        && cipher.is_unpadded_cbc()
        && value.len() == len.next_multiple_of(BLOCK)
    {
        value.truncate(len);
    }
    if value.is_empty() || !(fitting.is_empty() || fitting.contains(&value.len())) {
        return Err(Error::because(
            CKR_WRAPPED_KEY_INVALID,
            "what was unwrapped has not the length that the key's type or CKA_VALUE_LEN says",
        ));
    }
    place.put(module.bring(&session, bring(&session, &template, value)?)?)
}

/// A key that wraps or unwraps, or the code for a handle that is of none.
fn token_key(
    session: &Session,
    handle: CK_OBJECT_HANDLE,
    invalid: CK_RV,
) -> Result<(Arc<StoredKey>, Half), Error> {
    session.token.key(handle).map_err(|error| match error.code {
        CKR_KEY_HANDLE_INVALID => Error::code(invalid),
        _ => error,
    })
}
