//! Keys whose material an external key manager has. The emulator stands for that as well.
//!
//! Unconfirmed: which types and operations such keys have, whether they are rotated, and what an
//! external key manager without the key answers. Here there is a key for every id, made when the id
//! is first named, of the type that the id's beginning says.

use std::sync::{Mutex, PoisonError};

use super::Call;
use super::body::CreateRequest;
use super::failure::Failure;
use super::keys::{add, generated, key_is_free, new_metadata};
use super::reply::Reply;
use super::unconfirmed;
use crate::curve::Curve;
use crate::keys::{KeyError, KeyMaterial, KeyType};
use crate::service::Service;

const MAX_ID: usize = 64;

/// Held while a key is looked for and made, so that an id has one.
static MANAGER: Mutex<()> = Mutex::new(());

/// Makes a key of the HSM's, or a version, of the key `id` of the external key manager.
pub(super) fn create(
    call: &Call<'_>,
    name: &str,
    request: &CreateRequest,
    id: &str,
) -> Result<Reply, Failure> {
    check(call, request, id)?;
    let kind = kind_of(id);
    let mut metadata = new_metadata(
        call,
        kind,
        false,
        request.key_ops.clone(),
        request.attributes.as_ref(),
        request.tags.clone(),
        request.release_policy.as_ref(),
    )?;
    metadata.external_key = Some(id.to_owned());
    key_is_free(call, name)?;
    let _held = MANAGER.lock().unwrap_or_else(PoisonError::into_inner);
    let material = generated(material(call, kind, id))?;
    add(call, name, material, metadata)
}

/// The key `id` of the external key manager.
fn material(call: &Call<'_>, kind: KeyType, id: &str) -> Result<KeyMaterial, KeyError> {
    if let Some(known) = call.store.external_key(id) {
        let bytes = known.to_private_bytes()?;
        return KeyMaterial::from_private_bytes(kind, &bytes);
    }
    match kind {
        KeyType::Rsa => KeyMaterial::generate_rsa(2048, 65537),
        KeyType::Ec => KeyMaterial::generate_ec(Curve::P256),
        KeyType::Oct | KeyType::Akp => KeyMaterial::generate_oct(256),
    }
}

fn check(call: &Call<'_>, request: &CreateRequest, id: &str) -> Result<(), Failure> {
    if call.service == Service::KeyVault {
        return Err(unconfirmed::external_key_in_vault());
    }
    let attributes = request.attributes.as_ref();
    let is_exportable = attributes.and_then(|attributes| attributes.exportable);
    // The key manager has said already what the key is.
    let others = [
        ("kty", request.kty.is_some()),
        ("alg", request.alg.is_some()),
        ("crv", request.crv.is_some()),
        ("key_size", request.key_size.is_some()),
        ("public_exponent", request.public_exponent.is_some()),
        ("exportable", is_exportable == Some(true)),
    ];
    if let Some((member, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
        return Err(unconfirmed::excluded(member, "external_key"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed) {
        true => Ok(()),
        false => Err(unconfirmed::external_key_id()),
    }
}

fn kind_of(id: &str) -> KeyType {
    match id.split_once('-') {
        Some(("rsa", _)) => KeyType::Rsa,
        Some(("ec", _)) => KeyType::Ec,
        _ => KeyType::Oct,
    }
}
