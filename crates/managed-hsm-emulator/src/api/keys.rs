//! The life of a key: create, read, update, rotate, delete, recover, purge.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use super::body::{AttributesRequest, Bundle, CreateRequest, ReleasePolicyRequest, UpdateRequest};
use super::failure::Failure;
use super::life_cycle::{expiry_by_policy, has_policy};
use super::reply::Reply;
use super::{external, unconfirmed};
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::curve::Curve;
use crate::keys::{IMPORT, KeyError, KeyMaterial, KeyType, SECURE_WRAP};
use crate::ml_dsa::ParameterSet;
use crate::release_policy;
use crate::service::Service;
use crate::store::{Key, KeyVersion, Metadata, ReleasePolicy, StoreError};

const MAX_TAGS: usize = 15;
/// Characters of the name of a tag, and of its value.
const MAX_TAG: usize = 256;

pub(super) fn create(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let request: CreateRequest = call.parse()?;
    let attributes = request.attributes.as_ref();
    if let Some(id) = attributes.and_then(|attributes| attributes.external_key(call)) {
        return external::create(call, name, &request, id);
    }
    let kty = request.kty.as_deref();
    let kty = kty.ok_or_else(|| match call.service {
        Service::ManagedHsm => Failure::key_type_missing(),
        Service::KeyVault => {
            let others = public_exponent(call, &request).err().into_iter();
            Failure::invalid_properties(1 + others.count())
        }
    })?;
    let (kind, software) = kept_as(call, kty, None)?;
    let metadata = new_metadata(
        call,
        kind,
        software,
        request.key_ops.clone(),
        request.attributes.as_ref(),
        request.tags.clone(),
        request.release_policy.as_ref(),
    )?;
    key_is_free(call, name)?;
    let material = generate(call, kind, &request)?;
    add(call, name, material, metadata)
}

/// Refuses the name of a deleted key, before a key is generated, which takes seconds for RSA 4096.
pub(super) fn key_is_free(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    match call.store.deleted(name) {
        Some(_) => Err(unconfirmed::key_is_deleted(name)),
        None => Ok(()),
    }
}

/// The kind of a key by its `kty`, and whether it is kept outside of any HSM. An HSM has no such
/// keys; a vault has no symmetric ones, and where `hsm` is given that counts instead of the `-HSM`
/// of the name.
pub(super) fn kept_as(
    call: &Call<'_>,
    kty: &str,
    hsm: Option<bool>,
) -> Result<(KeyType, bool), Failure> {
    let kind = KeyType::by_name(kty);
    let kind = kind.filter(|kind| *kind != KeyType::Akp || call.version.has_ml_dsa());
    // The name without `-HSM` is older than such keys.
    let kind = kind.filter(|_| kty != "oct-HSM" || call.version.has_symmetric_keys());
    match call.service {
        Service::ManagedHsm => Ok((kind.ok_or_else(|| unconfirmed::key_type(kty))?, false)),
        Service::KeyVault if kty == "oct" => Err(Failure::no_symmetric_keys(kty)),
        Service::KeyVault => {
            let kind = kind.filter(|kind| *kind != KeyType::Oct);
            let kind = kind.ok_or_else(|| Failure::invalid_properties(1))?;
            Ok((kind, !(kty.ends_with("-HSM") || hsm == Some(true))))
        }
    }
}

fn generate(
    call: &Call<'_>,
    kind: KeyType,
    request: &CreateRequest,
) -> Result<KeyMaterial, Failure> {
    let size = |default: i64, allowed: &[i64]| {
        let bits = request.key_size.unwrap_or(default);
        u32::try_from(bits)
            .ok()
            .filter(|_| allowed.contains(&bits))
            .ok_or_else(|| Failure::invalid_key_size(bits))
    };
    generated(match kind {
        KeyType::Rsa => {
            let bits = size(2048, &[2048, 3072, 4096])?;
            KeyMaterial::generate_rsa(bits, public_exponent(call, request)?)
        }
        KeyType::Ec => {
            let crv = request.crv.as_deref().unwrap_or("P-256");
            let curve = Curve::by_name(crv).ok_or_else(|| unconfirmed::curve(crv))?;
            KeyMaterial::generate_ec(curve)
        }
        KeyType::Oct => KeyMaterial::generate_oct(size(256, &[128, 192, 256])?),
        KeyType::Akp => {
            let alg = request.alg.as_deref();
            let alg = alg.ok_or_else(|| unconfirmed::missing_member("alg"))?;
            let set = ParameterSet::by_name(alg).ok_or_else(|| unconfirmed::algorithm(alg))?;
            KeyMaterial::generate_akp(set)
        }
    })
}

/// Any that RSA can have: Microsoft's libraries are tested with 3 and with 17.
fn public_exponent(call: &Call<'_>, request: &CreateRequest) -> Result<u32, Failure> {
    let asked = request.public_exponent.unwrap_or(65537);
    let exponent = u32::try_from(asked).ok();
    let exponent = exponent.filter(|exponent| *exponent >= 3 && exponent % 2 == 1);
    exponent.ok_or_else(|| match call.service {
        Service::ManagedHsm => unconfirmed::public_exponent(asked),
        Service::KeyVault => Failure::invalid_properties(1),
    })
}

/// A new key, or what is told where there is none.
pub(super) fn generated(material: Result<KeyMaterial, KeyError>) -> Result<KeyMaterial, Failure> {
    material.map_err(|error| {
        crate::log::event(format_args!("generating a key failed: {error}"));
        unconfirmed::internal("the key could not be generated; the emulator's log says why")
    })
}

/// What is told about a version that is made now.
pub(super) fn new_metadata(
    call: &Call<'_>,
    kind: KeyType,
    software: bool,
    key_ops: Option<Vec<String>>,
    attributes: Option<&AttributesRequest>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<&ReleasePolicyRequest>,
) -> Result<Metadata, Failure> {
    let exportable = attributes.and_then(|attributes| attributes.exportable);
    let exportable = exportable.unwrap_or(false);
    check_key_ops(call, kind, key_ops.as_deref())?;
    let wraps = wraps_securely(key_ops.as_deref());
    match (exportable, release_policy) {
        _ if wraps => check_secure_wrap(exportable, release_policy.is_some())?,
        (true, _) if call.service == Service::KeyVault && !call.version.has_release() => {
            return Err(Failure::exportable_too_early());
        }
        (true, None) => return Err(Failure::exportable_without_policy(call.service)),
        (false, Some(_)) => return Err(Failure::policy_without_exportable(call.service)),
        _ => {}
    }
    check_tags(tags.as_ref())?;
    let now = unix_seconds();
    let key_ops = key_ops.unwrap_or_else(|| {
        let names = kind.default_operations(call.service).iter();
        names.map(|&name| name.to_owned()).collect()
    });
    Ok(Metadata {
        kind,
        software,
        key_ops,
        enabled: attributes
            .and_then(|attributes| attributes.enabled)
            .unwrap_or(true),
        exportable,
        created: now,
        updated: now,
        nbf: attributes.and_then(|attributes| attributes.nbf),
        exp: attributes.and_then(|attributes| attributes.exp),
        tags,
        release_policy: release_policy
            .map(|policy| checked_policy(call, policy))
            .transpose()?,
        certificate: None,
        external_key: None,
        sent_crv: None,
    })
}

/// A release policy as the service stores it: its JSON without spaces, with the members sorted by
/// an HSM, and in an order of its own by a vault.
fn checked_policy(
    call: &Call<'_>,
    request: &ReleasePolicyRequest,
) -> Result<ReleasePolicy, Failure> {
    let data = request.data.as_deref().and_then(decode_base64url);
    let policy = data.and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    let policy = policy.filter(serde_json::Value::is_object);
    let mut policy = policy.ok_or_else(unconfirmed::release_policy)?;
    if release_policy::version(&policy).is_none() {
        return Err(Failure::release_policy_without_version());
    }
    let text = match call.service {
        Service::ManagedHsm => {
            release_policy::write_out_authorities(&mut policy);
            policy.to_string()
        }
        // Unconfirmed: that authorities stay as they are.
        Service::KeyVault => release_policy::as_vaults_write(&policy),
    };
    let content_type = request.content_type.clone();
    Ok(ReleasePolicy {
        content_type: content_type.unwrap_or_else(|| "application/json; charset=utf-8".to_owned()),
        data: encode_base64url(text.as_bytes()),
        immutable: request.immutable.unwrap_or(false),
    })
}

fn check_key_ops(
    call: &Call<'_>,
    kind: KeyType,
    key_ops: Option<&[String]>,
) -> Result<(), Failure> {
    let key_ops = key_ops.unwrap_or_default();
    let mut named = key_ops.iter();
    let knows = |operation: &str| {
        let is_newer = SECURE_WRAP.contains(&operation) && !call.version.has_secure_wrap();
        kind.has_operation(operation, call.service) && !is_newer
    };
    if let Some(operation) = named.find(|operation| !knows(operation)) {
        return Err(unconfirmed::key_operation(operation, kind.name(false)));
    }
    // A key that others are wrapped for is for nothing else.
    let imports = |operation: &String| operation == IMPORT;
    match key_ops.iter().any(imports) && !key_ops.iter().all(imports) {
        true => Err(unconfirmed::import_with_others()),
        false => Ok(()),
    }
}

/// Whether a key with these operations wraps keys for attested environments.
fn wraps_securely(key_ops: Option<&[String]>) -> bool {
    let mut key_ops = key_ops.unwrap_or_default().iter();
    key_ops.any(|operation| SECURE_WRAP.contains(&operation.as_str()))
}

/// Such a key stays in the HSM, and its policy says which environments get what it wraps.
fn check_secure_wrap(exportable: bool, has_policy: bool) -> Result<(), Failure> {
    match (exportable, has_policy) {
        (true, _) => Err(unconfirmed::secure_wrap_exportable()),
        (false, false) => Err(unconfirmed::secure_wrap_without_policy()),
        (false, true) => Ok(()),
    }
}

fn check_tags(tags: Option<&BTreeMap<String, String>>) -> Result<(), Failure> {
    let Some(tags) = tags else {
        return Ok(());
    };
    if tags.len() > MAX_TAGS {
        return Err(unconfirmed::too_many_tags());
    }
    let is_long = |text: &String| text.chars().count() > MAX_TAG;
    match tags
        .iter()
        .any(|(name, value)| is_long(name) || is_long(value))
    {
        true => Err(unconfirmed::tag_too_long(MAX_TAG)),
        false => Ok(()),
    }
}

/// Stores a version and answers with it.
pub(super) fn add(
    call: &Call<'_>,
    name: &str,
    material: KeyMaterial,
    metadata: Metadata,
) -> Result<Reply, Failure> {
    let added = call.store.add_version(name, material, metadata);
    let (key, version) =
        added.map_err(|error| Failure::from_store(call, error, name, missing(call, name, None)))?;
    bundle(call, &key, &version)
}

pub(super) fn get(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<Reply, Failure> {
    let (key, version) = found(call, name, version)?;
    bundle(call, &key, &version)
}

/// The version that a request names, or the newest.
pub(super) fn found(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<(Arc<Key>, Arc<KeyVersion>), Failure> {
    let found = call.store.active(name).and_then(|key| {
        let version = key.version(version)?.clone();
        Some((key, version))
    });
    found.ok_or_else(|| missing(call, name, version))
}

pub(super) fn update(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<Reply, Failure> {
    let request: UpdateRequest = call.parse()?;
    let key = call.store.active(name);
    let current = key.as_deref().and_then(|key| key.version(version));
    let current = &current
        .ok_or_else(|| missing(call, name, version))?
        .metadata;
    check_key_ops(call, current.kind, request.key_ops.as_deref())?;
    check_tags(request.tags.as_ref())?;
    let attributes = request.attributes.unwrap_or_default();
    // What was read can be sent back.
    if attributes
        .exportable
        .is_some_and(|asked| asked != current.exportable)
    {
        return Err(unconfirmed::exportable_at_creation_only());
    }
    let external = attributes.external_key(call);
    if external.is_some_and(|id| current.external_key.as_deref() != Some(id)) {
        return Err(unconfirmed::external_key_at_creation_only());
    }
    let release_policy = request.release_policy.as_ref();
    let release_policy = release_policy.map(|policy| checked_policy(call, policy));
    let release_policy = release_policy.transpose()?;
    let key_ops = request.key_ops.as_deref().unwrap_or(&current.key_ops);
    if wraps_securely(Some(key_ops)) {
        let has_policy = release_policy.is_some() || current.release_policy.is_some();
        check_secure_wrap(current.exportable, has_policy)?;
    } else if release_policy.is_some() && !current.exportable {
        return Err(Failure::policy_without_exportable(call.service));
    }
    let updated = call.store.update_version(name, version, |metadata| {
        metadata.enabled = attributes.enabled.unwrap_or(metadata.enabled);
        metadata.nbf = attributes.nbf.or(metadata.nbf);
        metadata.exp = attributes.exp.or(metadata.exp);
        if let Some(key_ops) = request.key_ops {
            metadata.key_ops = key_ops;
        }
        if request.tags.is_some() {
            metadata.tags = request.tags;
        }
        if release_policy.is_some() {
            // Looked at here, where nobody else changes the key: a policy that has become immutable
            // stays.
            let policy = metadata.release_policy.as_ref();
            if policy.is_some_and(|policy| policy.immutable) {
                return Err(StoreError::ImmutablePolicy);
            }
            metadata.release_policy = release_policy;
        }
        Ok(())
    });
    let (key, version) = updated
        .map_err(|error| Failure::from_store(call, error, name, missing(call, name, version)))?;
    bundle(call, &key, &version)
}

pub(super) fn rotate(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let not_found = || Failure::key_to_rotate_not_found(call, name);
    let key = call.store.active(name).ok_or_else(not_found)?;
    if call.service == Service::ManagedHsm && !has_policy(call, name) {
        return Err(unconfirmed::rotation_without_policy());
    }
    let (material, metadata) = next_version(call, &key)?;
    let added = call.store.add_version(name, material, metadata);
    let (key, version) =
        added.map_err(|error| Failure::from_store(call, error, name, not_found()))?;
    bundle(call, &key, &version)
}

/// Makes the next version of a key, unless somebody else just did.
pub(super) fn rotate_after(call: &Call<'_>, key: &Key) -> Result<(), Failure> {
    let (material, metadata) = next_version(call, key)?;
    let (name, newest) = (&key.name, &key.newest().id);
    let added = call
        .store
        .add_version_after(name, newest, material, metadata);
    match added {
        Ok(_) | Err(StoreError::Superseded | StoreError::NotFound) => Ok(()),
        Err(error) => Err(Failure::from_store(
            call,
            error,
            name,
            missing(call, name, None),
        )),
    }
}

/// Of the same kind and size as the newest version, for the same operations.
fn next_version(call: &Call<'_>, key: &Key) -> Result<(KeyMaterial, Metadata), Failure> {
    let current = key.newest();
    if current.metadata.external_key.is_some() {
        return Err(unconfirmed::external_key_rotation());
    }
    let material = generated(current.material.generate_alike())?;
    let now = unix_seconds();
    let metadata = Metadata {
        enabled: true,
        created: now,
        updated: now,
        // The old version's dates are its own; a new one has dates only by a rotation policy.
        nbf: None,
        exp: expiry_by_policy(call, &key.name, now),
        certificate: None,
        sent_crv: None,
        ..current.metadata.clone()
    };
    Ok((material, metadata))
}

pub(super) fn delete(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let deleted = call.store.delete(name);
    let key = deleted
        .map_err(|error| Failure::from_store(call, error, name, missing(call, name, None)))?;
    bundle(call, &key, key.newest())
}

pub(super) fn get_deleted(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let key = call.store.deleted(name);
    let key = key.ok_or_else(|| missing_deleted(call, name))?;
    bundle(call, &key, key.newest())
}

pub(super) fn recover(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let recovered = call.store.recover(name);
    let not_found = || Failure::key_to_recover_not_found(call, name);
    let key = recovered.map_err(|error| Failure::from_store(call, error, name, not_found()))?;
    bundle(call, &key, key.newest())
}

pub(super) fn purge(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let purged = call.store.purge(name);
    purged.map_err(|error| Failure::from_store(call, error, name, missing_deleted(call, name)))?;
    Ok(Reply::no_content())
}

fn bundle(call: &Call<'_>, key: &Key, version: &KeyVersion) -> Result<Reply, Failure> {
    Reply::ok(&Bundle::new(call, key, version))
}

/// The answer when there is no such key, or no such version of it.
pub(super) fn missing(call: &Call<'_>, name: &str, version: Option<&str>) -> Failure {
    Failure::key_not_found(call, "keys", name, version)
}

fn missing_deleted(call: &Call<'_>, name: &str) -> Failure {
    Failure::key_not_found(call, "deletedkeys", name, None)
}
