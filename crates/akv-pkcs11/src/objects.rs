//! Objects: their attributes read and changed, and the end of them.

use std::sync::Arc;

use cryptoki_sys::*;
use hsm_keys::{EcCurve, KeyType, PublicKey, der};
use managed_hsm::{KeyOperation, Life, Update};

use crate::aes_size::learn_size;
use crate::attributes::{Attribute, KeyObject, Missing, Rule, Value, name, unique_id};
use crate::catalogue::{self, CKA_AKV_INTERFACES, CKA_AKV_MECHANISMS};
use crate::certificates;
use crate::configuration::Options;
use crate::error::Error;
use crate::ffi::convert::{Place, TemplateIn};
use crate::fixed::{NewKeyFacts, Origin, check_fixed, check_given, differs, read_only};
use crate::import;
use crate::key_pairs::curve;
use crate::ml_dsa;
use crate::module::Module;
use crate::secret_keys;
use crate::sessions::check_change;
use crate::template::{self, Template};
use crate::token::Token;
use crate::token::objects::{Object, StoredKey};
use crate::token::tags::{self, Half};
use crate::token::turns::Turn;

/// The most characters of a tag's value.
const MAX_TAG_LEN: usize = 256;

/// Takes in a certificate; or a public key, to verify and encrypt with, or a secret key for as long
/// as the session. Other keys are made in the HSM, by C_GenerateKeyPair and C_GenerateKey, or
/// imported where that is allowed.
pub(crate) fn create(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    template: TemplateIn<'_>,
    mut place: Place<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    place.check()?;
    let template = Template::read(&template)?;
    let is_token_object = template.flag(CKA_TOKEN)?.unwrap_or(false);
    match template.number(CKA_CLASS)? {
        None => Err(Error::code(CKR_TEMPLATE_INCOMPLETE)),
        Some(CKO_CERTIFICATE) => {
            let certificate = certificates::objects::create(&session, &template)?;
            if !is_token_object {
                module.check_open(&session)?;
            }
            place.put(certificate)
        }
        Some(CKO_SECRET_KEY) if !is_token_object => {
            let key = secret_keys::create(&session, &template)?;
            place.put(module.bring(&session, key)?)
        }
        Some(CKO_PRIVATE_KEY | CKO_SECRET_KEY) => place.put(import::create(&session, &template)?),
        Some(CKO_PUBLIC_KEY) if !is_token_object => {
            let key = public_key(&template, session.handle)?;
            check_public(session.token.options(), &template, key.public())?;
            place.put(module.bring(&session, key)?)
        }
        Some(class) if class > CKO_TRUST && class < CKO_VENDOR_DEFINED => {
            Err(template::invalid(CKA_CLASS, "there is no such class"))
        }
        Some(_) => Err(Error::because(
            CKR_TOKEN_WRITE_PROTECTED,
            "the HSM keeps nothing but keys, and public ones with their private ones",
        )),
    }
}

/// Refuses what a template says that this public key of a session can't be.
fn check_public(
    options: &Options,
    template: &Template<'_>,
    public: &PublicKey,
) -> Result<(), Error> {
    let of = public.key_type();
    let new = NewKeyFacts {
        options,
        of,
        is_to_stay: false,
        from: Origin::Session,
    };
    let own_value = match of {
        KeyType::Rsa => CKA_MODULUS,
        KeyType::Ec => CKA_EC_POINT,
        KeyType::MlDsa(_) | KeyType::Aes => CKA_VALUE,
    };
    for (type_, value) in template.iter() {
        let is_good = match (type_, &Attribute::require(type_)?.rule) {
            (CKA_MODULUS | CKA_EC_POINT | CKA_VALUE, _) => type_ == own_value,
            (CKA_PUBLIC_KEY_INFO, _) => {
                value.is_empty() || told_by(value)?.as_ref() == Some(public)
            }
            (CKA_MODULUS_BITS, _) if of == KeyType::Rsa => {
                let bits = template::number(type_, value)?;
                matches!(public, PublicKey::Rsa(rsa) if rsa.bits() as CK_ULONG == bits)
            }
            (_, Rule::Never) => return Err(read_only(type_)),
            (_, Rule::Given) => check_given(of, Half::Public, type_, value).map(|()| true)?,
            (_, Rule::Fixed) => check_fixed(new, Half::Public, type_, value).map(|()| true)?,
            (_, Rule::Usage(_)) => {
                let is_there = type_ == CKA_VERIFY
                    || of == KeyType::Rsa && matches!(type_, CKA_ENCRYPT | CKA_WRAP);
                if template::flag(type_, value)? && !is_there {
                    differs(options, type_)?;
                }
                true
            }
            (_, Rule::Start | Rule::End) => {
                if template::seconds(type_, value)?.is_some() {
                    differs(options, type_)?;
                }
                true
            }
            (_, Rule::Label | Rule::Id) => true,
        };
        if !is_good {
            return Err(template::of_another_key(type_));
        }
    }
    Ok(())
}

/// The key in a `SubjectPublicKeyInfo`, if it is one of a type that the HSM has.
pub(crate) fn told_by(value: &[u8]) -> Result<Option<PublicKey>, Error> {
    PublicKey::from_spki(value)
        .map_err(|error| template::invalid(CKA_PUBLIC_KEY_INFO, &error.to_string()))
}

/// The point in an OCTET STRING of it. Programs of old have the point itself, so what holds no
/// point of either length is left as it is.
pub(crate) fn bare_point<'a>(curve: &EcCurve, value: &'a [u8]) -> &'a [u8] {
    let mut ends = [curve.point_len(), 1 + curve.coordinate_len]
        .into_iter()
        .filter_map(|len| value.get(value.len().checked_sub(len)?..));
    ends.find(|end| der::octet_string(end) == value)
        .unwrap_or(value)
}

fn public_key(template: &Template<'_>, session: CK_SESSION_HANDLE) -> Result<StoredKey, Error> {
    let bytes = |type_| {
        template.bytes(type_).ok_or_else(|| {
            Error::because(
                CKR_TEMPLATE_INCOMPLETE,
                format!("the template lacks {}", name(type_)),
            )
        })
    };
    let public = match template.number(CKA_KEY_TYPE)? {
        Some(CKK_RSA) => {
            let (n, e) = (bytes(CKA_MODULUS)?, bytes(CKA_PUBLIC_EXPONENT)?);
            PublicKey::rsa(n.to_vec(), e.to_vec())
        }
        Some(CKK_EC) => {
            let (curve, point) = (curve(template)?, bytes(CKA_EC_POINT)?);
            PublicKey::ec(curve, bare_point(curve, point))
        }
        Some(CKK_ML_DSA) => PublicKey::ml_dsa(ml_dsa::parameter_set(template)?, bytes(CKA_VALUE)?),
        Some(_) => {
            return Err(template::invalid(
                CKA_KEY_TYPE,
                "it is none of RSA, EC and ML-DSA",
            ));
        }
        None => return Err(Error::code(CKR_TEMPLATE_INCOMPLETE)),
    };
    let public =
        public.map_err(|error| Error::because(CKR_ATTRIBUTE_VALUE_INVALID, error.to_string()))?;
    let label = template.bytes(CKA_LABEL).unwrap_or_default();
    let mut operations = Vec::new();
    for (type_, operation) in [
        (CKA_VERIFY, KeyOperation::Verify),
        (CKA_ENCRYPT, KeyOperation::Encrypt),
        (CKA_WRAP, KeyOperation::WrapKey),
    ] {
        let is_possible = type_ == CKA_VERIFY || public.key_type() == KeyType::Rsa;
        if is_possible && template.flag(type_)?.unwrap_or(true) {
            operations.push(operation);
        }
    }
    let id = template.bytes(CKA_ID).unwrap_or_default();
    Ok(StoredKey::brought(
        public,
        None,
        session,
        (template::text(CKA_LABEL, label)?, id.to_vec()),
        operations,
    ))
}

/// Has a key that was made for a session stay in the token, as programs ask for by a copy; or a
/// certificate. Nothing else can be copied.
pub(crate) fn copy(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
    template: TemplateIn<'_>,
    mut place: Place<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    place.check()?;
    let object = session.token.object(handle)?;
    let template = Template::read(&template)?;
    let prohibited = || Err(Error::code(CKR_ACTION_PROHIBITED));
    let (key, half) = match object {
        Object::Key(key, half) => (key, half),
        Object::Certificate(certificate) => {
            return place.put(certificates::objects::copy(
                &session,
                &certificate,
                &template,
            )?);
        }
        Object::Profile(_) => return prohibited(),
    };
    let is_to_stay = template.flag(CKA_TOKEN)? == Some(true);
    if key.session.is_none() || key.hsm_id().is_none() || !is_to_stay {
        return prohibited();
    }
    session.check_read_write()?;
    let _turn = session.token.turn_to_update();
    // Its session may have ended before the turn had come.
    session.token.object(handle)?;
    let current = session.token.reload(&key)?;
    // The private one would stay as well, and nobody has asked for that.
    if half == Half::Public && current.session.is_some() {
        return Err(Error::because(
            CKR_ACTION_PROHIBITED,
            "the HSM keeps public keys with their private ones: copy the private key first",
        ));
    }
    let without_token = template.without(|type_| type_ == CKA_TOKEN);
    let mut update = changes(&session.token, &current, half, &without_token)?;
    update
        .tags
        .get_or_insert_with(|| current.tags.to_map())
        .remove(tags::SESSION);
    // The other object of a pair may be copied as well: the key is in the token already then.
    let stored = match current.session {
        Some(_) => session.token.adopt(&current, &update),
        None => session.token.update(&current, &update),
    }?;
    place.put(stored.handle(half))
}

/// Destroys a certificate that a program has written; or a key with all its versions, where that is
/// allowed. A key's public object alone is only hidden, since the HSM has no key without it.
pub(crate) fn destroy(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    if session.token.destroy_gone(handle) {
        return Ok(());
    }
    let _turn = turn_of_sessions_key(&session.token, handle);
    let object = session.token.object(handle)?;
    check_change(&session, &object)?;
    let (key, half) = match object {
        Object::Key(key, half) => (key, half),
        Object::Certificate(certificate) => {
            return certificates::objects::destroy(&session, &certificate);
        }
        Object::Profile(_) => return Err(Error::code(CKR_ACTION_PROHIBITED)),
    };
    key.to_use()?;
    if !session.token.view(&key, half).is(CKA_DESTROYABLE) {
        return Err(Error::because(
            CKR_ACTION_PROHIBITED,
            format!(
                "key {} is not deleted: allow it with allowDelete in the configuration file, or with \
                 AKV_ALLOW_DELETE=yes",
                key.name()
            ),
        ));
    }
    match half {
        Half::Public if session.token.table().has_adopted(&key) => {
            session.token.forget_handle(handle);
            Ok(())
        }
        Half::Public if key.hsm_id().is_some() => {
            // That of a session's key has its turn.
            let _turn = key
                .session
                .is_none()
                .then(|| session.token.turn_to_update());
            let current = session.token.reload(&key)?;
            key.check_unadopted(&current)?;
            let mut tags = current.tags.to_map();
            tags.insert(tags::PUBLIC_HIDDEN.to_owned(), "1".to_owned());
            let hidden = Update {
                tags: Some(tags),
                ..Update::default()
            };
            session.token.update(&key, &hidden).map(drop)
        }
        Half::Private => session.token.delete_by_private(&key),
        Half::Public => session.token.delete(&key),
    }
}

/// A turn for a session's key of the HSM: it is not to be deleted while another thread has it stay.
fn turn_of_sessions_key(token: &Token, handle: CK_OBJECT_HANDLE) -> Option<Turn<'_>> {
    let Ok(Object::Key(key, _)) = token.object(handle) else {
        return None;
    };
    let is_sessions = key.session.is_some() && key.hsm_id().is_some();
    is_sessions.then(|| token.turn_to_update())
}

/// How much room it takes is nobody's business.
pub(crate) fn get_size(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    mut size: Place<'_, CK_ULONG>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    session.token.object(object)?;
    size.put(CK_UNAVAILABLE_INFORMATION)
}

pub(crate) fn get_attributes(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: TemplateIn<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    match session.token.object(object)? {
        Object::Profile(id) => template.answer(|type_| match type_ {
            CKA_UNIQUE_ID => Ok(Value::Bytes(unique_id(object).into_bytes())),
            CKA_AKV_MECHANISMS => Ok(Value::Bytes(catalogue::of_mechanisms(
                &module.options,
                session.token.vault().service,
            ))),
            CKA_AKV_INTERFACES => Ok(Value::Bytes(catalogue::of_interfaces())),
            _ => profile_attribute(id, type_),
        }),
        Object::Certificate(certificate) => {
            let table = session.token.table();
            let object = table.view(&certificate);
            template.answer(|type_| object.get(type_))
        }
        Object::Key(key, half) => {
            if template.asks_for(CKA_VALUE_LEN)? {
                learn_size(&session.token, &key)?;
            }
            let object = session.token.view(&key, half);
            template.answer(|type_| object.get(type_))
        }
    }
}

/// An attribute of a profile.
pub(crate) fn profile_attribute(
    id: CK_PROFILE_ID,
    type_: CK_ATTRIBUTE_TYPE,
) -> Result<Value, Missing> {
    match type_ {
        CKA_CLASS => Ok(Value::Number(CKO_PROFILE)),
        CKA_PROFILE_ID => Ok(Value::Number(id)),
        CKA_TOKEN => Ok(Value::Flag(true)),
        CKA_PRIVATE | CKA_MODIFIABLE | CKA_COPYABLE | CKA_DESTROYABLE => Ok(Value::Flag(false)),
        CKA_LABEL => Ok(Value::Bytes(Vec::new())),
        _ => Err(Missing::NotThere),
    }
}

/// Changes a key: all at once, by one request, after one for what others have changed meanwhile.
/// That comes first also where nothing seems to be left to do: what is known may be so no more.
pub(crate) fn set_attributes(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: TemplateIn<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    session.token.object(object)?;
    let template = Template::read(&template)?;
    // It may be another one when its turn has come.
    let _turn = session.token.turn_to_update();
    let object = session.token.object(object)?;
    check_change(&session, &object)?;
    let (key, half) = match object {
        Object::Key(key, half) => (key, half),
        Object::Certificate(certificate) => {
            return certificates::objects::set(&session, &certificate, &template);
        }
        Object::Profile(_) => return Err(Error::code(CKR_ACTION_PROHIBITED)),
    };
    if session.token.table().has_adopted(&key) {
        return Err(Error::because(
            CKR_ACTION_PROHIBITED,
            format!(
                "key {} is in the token since it was copied: change the copy, whose attributes the \
                 HSM has",
                key.name()
            ),
        ));
    }
    let key = match key.hsm_id() {
        Some(_) => session.token.reload(&key)?,
        None => key,
    };
    let update = changes(&session.token, &key, half, &template)?;
    if update == Update::default() {
        return Ok(());
    }
    session.token.update(&key, &update).map(drop)
}

/// What has to change for a key to be as a template has it.
fn changes(
    token: &Token,
    key: &StoredKey,
    half: Half,
    template: &Template<'_>,
) -> Result<Update, Error> {
    let mut update = Update::default();
    let object = token.view(key, half);
    for (type_, value) in template.iter() {
        if type_ == CKA_ID {
            check_id(token, key, half, value)?;
        }
        set(&mut update, &object, type_, value)?;
    }
    if update.not_before.is_some() || update.expires.is_some() {
        check_life(Life {
            not_before: update.not_before.or(key.not_before),
            expires: update.expires.or(key.expires),
        })?;
    }
    Ok(update)
}

/// Refuses an id by which another version of the key is found: of two with one id only one shows
/// it, so it would be set without effect, or taken from the other.
fn check_id(token: &Token, key: &StoredKey, half: Half, id: &[u8]) -> Result<(), Error> {
    let Some(own) = key.hsm_id() else {
        return Ok(());
    };
    let table = token.table();
    let mut others = table
        .versions(&own.key)
        .filter(|other| other.hsm_id().is_some_and(|id| id.version != own.version));
    match others.find(|other| *other.id(half) == *id && *key.id(half) != *id) {
        None => Ok(()),
        Some(other) => Err(template::invalid(
            CKA_ID,
            &format!(
                "it is that of another version of the key, {}, by which certificates may find that \
                 one: give another id",
                other.name()
            ),
        )),
    }
}

/// Refuses a key that could never be used.
pub(crate) fn check_life(life: Life) -> Result<(), Error> {
    match life.not_before.zip(life.expires) {
        Some((not_before, expires)) if not_before >= expires => Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            "CKA_START_DATE is later than CKA_END_DATE: the key could never be used",
        )),
        _ => Ok(()),
    }
}

fn set(
    update: &mut Update,
    object: &KeyObject<'_>,
    type_: CK_ATTRIBUTE_TYPE,
    value: &[u8],
) -> Result<(), Error> {
    let invalid = || Error::code(CKR_ATTRIBUTE_TYPE_INVALID);
    let rule = &Attribute::find(type_).ok_or_else(invalid)?.rule;
    let current = match object.get(type_) {
        Ok(current) => current,
        Err(Missing::NotThere) => return Err(invalid()),
        Err(Missing::Sensitive) => return Err(Error::code(CKR_ATTRIBUTE_READ_ONLY)),
    };
    if *current.bytes() == *value {
        return Ok(());
    }
    let key: &StoredKey = object.key;
    let mut tag = |attribute, text: String| {
        check_tag(type_, &text)?;
        let tags = update.tags.get_or_insert_with(|| key.tags.to_map());
        tags::write(tags, object.half, attribute, text);
        Ok(())
    };
    match rule {
        Rule::Label => tag("LABEL", template::text(type_, value)?),
        Rule::Id => {
            tag("ID", tags::encode_id(value))?;
            // As long as one of its tags has another version's id, both its objects show their own.
            let other = object.half.other();
            if let Some(tags) = &mut update.tags
                && key.hides_tagged_id(other)
            {
                tags::write(tags, other, "ID", tags::encode_id(&key.id(other)));
            }
            Ok(())
        }
        Rule::Usage(operation) => {
            let allowed = template::flag(type_, value)?;
            let operations = update
                .operations
                .get_or_insert_with(|| key.operations.to_vec());
            change_use(operations, operation, allowed);
            Ok(())
        }
        Rule::Start => {
            update.not_before = Some(first_second(type_, value)?);
            Ok(())
        }
        Rule::End => {
            update.expires = Some(first_second(type_, value)? + template::DAY);
            Ok(())
        }
        Rule::Given | Rule::Fixed | Rule::Never => Err(Error::because(
            CKR_ATTRIBUTE_READ_ONLY,
            format!("{} can't be changed", name(type_)),
        )),
    }
}

/// Refuses a value that is too long for a tag.
pub(crate) fn check_tag(type_: CK_ATTRIBUTE_TYPE, text: &str) -> Result<(), Error> {
    match text.chars().count() > MAX_TAG_LEN {
        true => Err(template::invalid(
            type_,
            "it is longer than a tag of the HSM",
        )),
        false => Ok(()),
    }
}

fn change_use(operations: &mut Vec<KeyOperation>, operation: &KeyOperation, allowed: bool) {
    operations.retain(|known| known != operation);
    if allowed {
        operations.push(operation.clone());
    }
}

/// The first second of a day that has to be told: the HSM can't forget a time.
pub(crate) fn first_second(type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<i64, Error> {
    template::seconds(type_, value)?
        .ok_or_else(|| template::invalid(type_, "the HSM can't take a date away"))
}
