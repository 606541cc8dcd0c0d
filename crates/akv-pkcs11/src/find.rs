//! Searches. What is found is known when a search begins; the HSM is asked then, if at all.

use std::sync::Arc;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKA_CLASS, CKA_ID, CKA_LABEL, CKA_TOKEN, CKA_VALUE_LEN,
    CKO_CERTIFICATE, CKO_PRIVATE_KEY, CKO_PROFILE, CKO_PUBLIC_KEY, CKO_SECRET_KEY,
};

use crate::aes_size::learn_size;
use crate::attributes::CKA_AKV_SESSION;
use crate::certificates::{CertificateObject, StoredCertificate};
use crate::error::Error;
use crate::ffi::convert::{Batch, TemplateIn};
use crate::module::Module;
use crate::objects::profile_attribute;
use crate::operation::{self, Slot};
use crate::report;
use crate::template::Template;
use crate::token::Token;
use crate::token::loading::Sought;
use crate::token::objects::StoredKey;
use crate::token::tags::Half;

const SEARCH: Slot<Vec<CK_OBJECT_HANDLE>> = |operations| &mut operations.search;

pub(crate) fn init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    template: TemplateIn<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin_with(&session, SEARCH, || {
        let mut found = match Template::sought(&template)? {
            Some(template) => search(&session.token, &template)?,
            None => Vec::new(),
        };
        found.reverse();
        Ok(found)
    })
}

/// What a search finds: certificates and keys, those keys first that certificates are of.
fn search(token: &Token, template: &Template<'_>) -> Result<Vec<CK_OBJECT_HANDLE>, Error> {
    let class = template.number(CKA_CLASS)?;
    let halves: &[Half] = match class {
        // Only who asks for them has a use for them.
        Some(CKO_PROFILE) => return Ok(profiles(token, template)),
        None => &Half::BOTH,
        Some(CKO_PRIVATE_KEY | CKO_SECRET_KEY) => &[Half::Private],
        Some(CKO_PUBLIC_KEY) => &[Half::Public],
        // Whatever the HSM has, it has no other objects.
        Some(_) => &[],
    };
    let sought = Sought {
        label: template.bytes(CKA_LABEL),
        id: template.bytes(CKA_ID),
    };
    token.refresh_certificates();
    let wants_others = template.bytes(CKA_AKV_SESSION).is_some();
    // What lives as long as a session of this process is here, and the HSM needn't be asked.
    let asks = wants_others || template.flag(CKA_TOKEN)? != Some(false);
    let mut found = Vec::new();
    if matches!(class, None | Some(CKO_CERTIFICATE)) {
        found.extend(certificates(token, template, sought, asks)?);
    }
    if !halves.is_empty() {
        // Before a login there are none of the HSM's; that is no failure.
        match asks && token.is_open() {
            true if wants_others => token.load_of_sessions()?,
            true => token.load(sought)?,
            false => {}
        }
        found.extend(keys(token, template, sought, halves, wants_others)?);
    }
    Ok(found)
}

fn certificates(
    token: &Token,
    template: &Template<'_>,
    sought: Sought<'_>,
    asks: bool,
) -> Result<Vec<CK_OBJECT_HANDLE>, Error> {
    let of_vault = match asks {
        true => token.load_vault_certificates(sought),
        false => Ok(()),
    };
    let table = token.table();
    let may_fit = |certificate: &&Arc<StoredCertificate>| {
        let object = CertificateObject {
            certificate,
            key: None,
        };
        let mut attributes = template.iter();
        attributes.all(|(type_, value)| object.may_have(type_, value))
    };
    let shown = table.shown_certificates().into_iter();
    let candidates: Vec<_> = shown.filter(may_fit).collect();
    let of_keys = token.load_keys_of(&candidates, sought);
    let table = token.table();
    let fits = |certificate: &&&Arc<StoredCertificate>| {
        let object = table.view(certificate);
        template
            .iter()
            .all(|(type_, value)| object.has(type_, value))
    };
    let fitting = candidates.iter().filter(fits);
    let found: Vec<_> = fitting.map(|certificate| certificate.handle).collect();
    go_without(&found, of_vault, "the vault's certificates can't be told")?;
    let less = "certificates are shown without what their keys would add";
    go_without(&found, of_keys, less)?;
    Ok(found)
}

/// Goes on with the certificates that there are where others can't be told. That none can be told
/// just now is not told as "there are none".
fn go_without(
    found: &[CK_OBJECT_HANDLE],
    outcome: Result<(), Error>,
    less: &'static str,
) -> Result<(), Error> {
    match outcome {
        Err(error) if !found.is_empty() || error.is_refusal() => {
            let cause = error.cause.unwrap_or_default();
            report::repeated_warning(less, &format!("{less}: {cause}"));
            Ok(())
        }
        outcome => outcome,
    }
}

fn keys(
    token: &Token,
    template: &Template<'_>,
    sought: Sought<'_>,
    halves: &[Half],
    wants_others: bool,
) -> Result<Vec<CK_OBJECT_HANDLE>, Error> {
    let table = token.table();
    let candidates = table.candidates(sought).into_iter();
    let objects = candidates.flat_map(|key| halves.iter().map(move |half| (key, *half)));
    let (len, others) = (
        template.bytes(CKA_VALUE_LEN),
        template.without(|type_| type_ == CKA_VALUE_LEN),
    );
    let objects = objects.filter(|(key, half)| {
        let object = token.view(key, *half);
        token.shows(key, *half)
            && (wants_others || !key.is_of_others())
            && others.iter().all(|(type_, value)| object.has(type_, value))
    });
    let mut fitting = Vec::new();
    for (key, half) in objects {
        if let Some(len) = len {
            // To find it out may take requests, so all else was looked at first.
            learn_size(token, key)?;
            if !token.view(key, half).has(CKA_VALUE_LEN, len) {
                continue;
            }
        }
        fitting.push((key, half));
    }
    // What only may be meant is found where nothing has just what is sought.
    if fitting
        .iter()
        .any(|(key, half)| key.has_just(*half, sought))
    {
        fitting.retain(|(key, half)| key.has_just(*half, sought));
    }
    // Where the label is a key's name, those that have it by a tag aren't meant, known or not.
    let name = sought
        .label
        .and_then(|label| std::str::from_utf8(label).ok());
    let named = name.and_then(|name| table.newest(name));
    if let Some(named) = named.filter(|key| key.is_named(sought)) {
        let of = |key: &StoredKey| key.hsm_id().map(|id| id.key.clone());
        let is_named = |(key, _): &(&Arc<StoredKey>, Half)| of(key) == of(named);
        // It may be of another kind than is sought.
        if fitting.iter().any(is_named) {
            fitting.retain(|one| one.0.hsm_id().is_none() || is_named(one));
        }
    }
    let mut found: Vec<_> = fitting
        .into_iter()
        .map(|(key, half)| (!table.has_certificate(key), key.handle(half)))
        .collect();
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, handle)| handle).collect())
}

fn profiles(token: &Token, template: &Template<'_>) -> Vec<CK_OBJECT_HANDLE> {
    let table = token.table();
    let profiles = table.profiles.iter().filter(|(_, id)| {
        template.iter().all(|(type_, sought)| {
            profile_attribute(*id, type_).is_ok_and(|value| *value.bytes() == *sought)
        })
    });
    profiles.map(|(handle, _)| *handle).collect()
}

pub(crate) fn find(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mut objects: Batch<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut operations = session.operations();
    // Whatever is wrong with a call, the search goes on until it is ended.
    let left = SEARCH(&mut operations)
        .as_mut()
        .ok_or_else(operation::not_initialized)?;
    let count = objects.room()?.min(left.len());
    let mut handed_out = left.split_off(left.len() - count);
    handed_out.reverse();
    objects.put(&handed_out)
}

pub(crate) fn finish(module: &Arc<Module>, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::take(&session, SEARCH).map(drop)
}
