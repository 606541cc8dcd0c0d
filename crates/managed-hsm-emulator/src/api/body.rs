//! Bodies, in and out. The members of answers stand in alphabetical order, which is Managed HSM's
//! order; `order` puts those of a vault into Key Vault's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Call;
use super::failure::Failure;
use super::unconfirmed;
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::json;
use crate::keys::PublicMembers;
use crate::service::Service;
use crate::store::{Deletion, Key, KeyVersion, ReleasePolicy};

#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) error: ErrorMembers<'a>,
}

#[derive(Serialize)]
pub(super) struct ErrorMembers<'a> {
    pub(super) code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) innererror: Option<InnerError>,
    pub(super) message: String,
}

#[derive(Serialize)]
pub(super) struct InnerError {
    pub(super) code: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    created: i64,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// This and the days of retention are not in a vault's answers of older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    exportable: Option<bool>,
    // With an underscore, like `key_size`.
    #[serde(rename = "external_key", skip_serializing_if = "Option::is_none")]
    external_key: Option<ExternalKey>,
    /// Of a vault's key: what it is kept in.
    #[serde(skip_serializing_if = "Option::is_none")]
    hsm_platform: Option<&'static str>,
    #[serde(rename = "key_size", skip_serializing_if = "Option::is_none")]
    key_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recoverable_days: Option<u32>,
    recovery_level: &'static str,
    updated: i64,
}

#[derive(Serialize)]
struct ExternalKey {
    id: String,
}

#[derive(Serialize)]
struct PublicJwk<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<Cow<'a, str>>,
    /// An HSM leaves an empty list out, as recorded by azure-sdk-for-go
    /// (`TestUpdateKeyProperties_HSM`).
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<&'a [String]>,
    kid: String,
    kty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<&'a str>,
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    public: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<&'a str>,
}

/// A key version in full.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle<'a> {
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_date: Option<i64>,
    key: PublicJwk<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_id: Option<String>,
    // The only member with an underscore.
    #[serde(rename = "release_policy", skip_serializing_if = "Option::is_none")]
    release_policy: Option<ShownPolicy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_purge_date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a BTreeMap<String, String>>,
}

/// Before release came into the API, an HSM showed a policy as what it says. Recorded in 7.0 by
/// azure-cli (`test_keyvault_hsm_key_release_policy`). Unconfirmed: that 7.1 and 7.2 do so, too.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownPolicy<'a> {
    Encoded(&'a ReleasePolicy),
    Decoded(Value),
}

impl<'a> ShownPolicy<'a> {
    fn new(call: &Call<'_>, policy: &'a ReleasePolicy) -> Option<Self> {
        match call.service {
            _ if call.version.has_release() => Some(Self::Encoded(policy)),
            Service::KeyVault => None,
            Service::ManagedHsm => {
                let json = decode_base64url(&policy.data)?;
                serde_json::from_slice(&json).ok().map(Self::Decoded)
            }
        }
    }
}

/// A key, or a version of one, in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_date: Option<i64>,
    kid: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_purge_date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// A vault's last page has a null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_link: Option<Option<String>>,
    pub(super) value: Vec<Item>,
}

/// Of what is left out, a vault doesn't tell it.
#[derive(Serialize)]
pub(super) struct OperationResult<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    pub(super) value: T,
}

#[derive(Serialize)]
pub(super) struct EncryptionResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aad: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iv: Option<String>,
    pub(super) kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    pub(super) value: String,
}

#[derive(Serialize)]
pub(super) struct RandomResult {
    pub(super) value: String,
}

impl<'a> Bundle<'a> {
    pub(super) fn new(call: &Call<'_>, key: &Key, version: &'a KeyVersion) -> Self {
        Self {
            attributes: Attributes::new(call, version),
            deleted_date: key.deletion.map(|deletion| deletion.date),
            key: PublicJwk::new(call, key, version),
            managed: version.metadata.certificate.is_some(),
            recovery_id: recovery_id(call.host, key),
            release_policy: version
                .metadata
                .release_policy
                .as_ref()
                .and_then(|policy| ShownPolicy::new(call, policy)),
            scheduled_purge_date: purge_date(key.deletion),
            tags: tags(call, version),
        }
    }
}

impl Item {
    /// A key of a list of keys: its id without version, and what its newest version says.
    pub(super) fn key(call: &Call<'_>, key: &Key) -> Self {
        Self::new(call, key, key.newest(), key_url(call.host, &key.name))
    }

    /// A version of a list of versions.
    pub(super) fn version(call: &Call<'_>, key: &Key, version: &KeyVersion) -> Self {
        Self::new(call, key, version, version_url(call.host, key, version))
    }

    fn new(call: &Call<'_>, key: &Key, version: &KeyVersion, kid: String) -> Self {
        Self {
            attributes: Attributes::new(call, version),
            deleted_date: key.deletion.map(|deletion| deletion.date),
            kid,
            managed: version.metadata.certificate.is_some(),
            recovery_id: recovery_id(call.host, key),
            scheduled_purge_date: purge_date(key.deletion),
            tags: tags(call, version).cloned(),
        }
    }
}

impl Attributes {
    fn new(call: &Call<'_>, version: &KeyVersion) -> Self {
        let metadata = &version.metadata;
        let soft_delete = call.store.soft_delete();
        // Recorded of HSMs in 7.0, 7.1 and 7.2 as in later versions (azure-cli, azure-sdk-for-net,
        // azure-sdk-for-java).
        let in_hsm = call.service == Service::ManagedHsm;
        let tells_exportable = in_hsm || call.version.has_release();
        let tells_retention = in_hsm || call.version.has_retention();
        Self {
            created: metadata.created,
            enabled: metadata.enabled,
            exp: metadata.exp,
            exportable: tells_exportable.then_some(metadata.exportable),
            external_key: metadata
                .external_key
                .clone()
                .filter(|_| call.version.has_external_keys())
                .map(|id| ExternalKey { id }),
            // As users show them: 0 is software, 2 the newest kind of HSM.
            hsm_platform: (call.service == Service::KeyVault && call.version.has_platform())
                .then_some(if metadata.software { "0" } else { "2" }),
            key_size: version
                .material
                .secret_bits()
                .filter(|_| call.version.has_key_size()),
            nbf: metadata.nbf,
            recoverable_days: tells_retention.then_some(soft_delete.retention_days),
            recovery_level: soft_delete.recovery_level(),
            updated: metadata.updated,
        }
    }
}

impl<'a> PublicJwk<'a> {
    fn new(call: &Call<'_>, key: &Key, version: &'a KeyVersion) -> Self {
        let mut jwk = Self {
            alg: None,
            crv: None,
            e: None,
            key_ops: Some(version.metadata.key_ops.as_slice())
                .filter(|names| call.service == Service::KeyVault || !names.is_empty()),
            kid: version_url(call.host, key, version),
            kty: version.metadata.kty(),
            n: None,
            public: None,
            x: None,
            y: None,
        };
        match version.material.public() {
            PublicMembers::Rsa { n, e } => {
                jwk.n = Some(n);
                jwk.crv = version.metadata.sent_crv.as_deref();
                let padded = call.service == Service::KeyVault && !version.metadata.software;
                jwk.e = Some(match padded {
                    false => Cow::Borrowed(e),
                    true => Cow::Owned(in_four_bytes(e)),
                });
            }
            PublicMembers::Ec { curve, x, y } => {
                jwk.crv = Some(curve.name());
                jwk.x = Some(x);
                jwk.y = Some(y);
            }
            // Unconfirmed: that a version which knows no such keys tells of one without what it
            // came with.
            PublicMembers::Akp { .. } if !call.version.has_ml_dsa() => {}
            PublicMembers::Akp { set, public } => {
                jwk.alg = Some(set.name());
                jwk.public = Some(public);
            }
            PublicMembers::None => {}
        }
        jwk
    }
}

/// An HSM tells of tags only where there are any.
fn tags<'a>(call: &Call<'_>, version: &'a KeyVersion) -> Option<&'a BTreeMap<String, String>> {
    let tags = version.metadata.tags.as_ref();
    tags.filter(|tags| call.service == Service::KeyVault || !tags.is_empty())
}

/// A public exponent as vaults show those of HSM-backed keys, by what was recorded: with a leading
/// zero.
fn in_four_bytes(exponent: &str) -> String {
    let bytes = decode_base64url(exponent).unwrap_or_default();
    let zeros = vec![0; 4_usize.saturating_sub(bytes.len())];
    encode_base64url(&[zeros, bytes].concat())
}

/// The id of a key without a version.
pub(super) fn key_url(host: &str, name: &str) -> String {
    format!("https://{host}/keys/{name}")
}

/// The `kid` of a version.
pub(super) fn version_url(host: &str, key: &Key, version: &KeyVersion) -> String {
    format!("{}/{}", key_url(host, &key.name), version.id)
}

fn recovery_id(host: &str, key: &Key) -> Option<String> {
    key.deletion
        .map(|_| format!("https://{host}/deletedkeys/{}", key.name))
}

fn purge_date(deletion: Option<Deletion>) -> Option<i64> {
    deletion.map(|deletion| deletion.scheduled_purge_date)
}

#[derive(Deserialize, Default)]
pub(super) struct AttributesRequest {
    pub(super) enabled: Option<bool>,
    pub(super) exportable: Option<bool>,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
    external_key: Option<ExternalKeyRequest>,
}

#[derive(Deserialize)]
struct ExternalKeyRequest {
    #[serde(default)]
    id: String,
}

impl AttributesRequest {
    /// The id of an external key, in versions that know such.
    pub(super) fn external_key(&self, call: &Call<'_>) -> Option<&str> {
        let asked = self.external_key.as_ref();
        let asked = asked.filter(|_| call.version.has_external_keys());
        asked.map(|external| external.id.as_str())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReleasePolicyRequest {
    pub(super) content_type: Option<String>,
    pub(super) data: Option<String>,
    pub(super) immutable: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct CreateRequest {
    pub(super) kty: Option<String>,
    pub(super) alg: Option<String>,
    pub(super) key_size: Option<i64>,
    pub(super) public_exponent: Option<i64>,
    pub(super) crv: Option<String>,
    pub(super) key_ops: Option<Vec<String>>,
    pub(super) release_policy: Option<ReleasePolicyRequest>,
    #[serde(default)]
    pub(super) attributes: Option<AttributesRequest>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct UpdateRequest {
    pub(super) release_policy: Option<ReleasePolicyRequest>,
    pub(super) key_ops: Option<Vec<String>>,
    #[serde(default)]
    pub(super) attributes: Option<AttributesRequest>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct ImportRequest {
    pub(super) release_policy: Option<ReleasePolicyRequest>,
    /// Whether a vault is to keep the key in an HSM, whatever its `kty`.
    #[serde(rename = "Hsm", alias = "hsm")]
    pub(super) hsm: Option<bool>,
    pub(super) key: Option<PrivateJwk>,
    #[serde(default)]
    pub(super) attributes: Option<AttributesRequest>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
pub(super) struct PrivateJwk {
    pub(super) kty: Option<String>,
    pub(super) key_ops: Option<Vec<String>>,
    pub(super) crv: Option<String>,
    pub(super) x: Option<String>,
    pub(super) y: Option<String>,
    pub(super) n: Option<String>,
    pub(super) e: Option<String>,
    pub(super) d: Option<Zeroizing<String>>,
    pub(super) p: Option<Zeroizing<String>>,
    pub(super) q: Option<Zeroizing<String>>,
    pub(super) dp: Option<Zeroizing<String>>,
    pub(super) dq: Option<Zeroizing<String>>,
    pub(super) qi: Option<Zeroizing<String>>,
    pub(super) k: Option<Zeroizing<String>>,
    /// A key that is wrapped for a key of the HSM.
    pub(super) key_hsm: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct OperationRequest {
    pub(super) alg: Option<String>,
    pub(super) value: Option<Zeroizing<String>>,
    pub(super) digest: Option<String>,
    pub(super) iv: Option<String>,
    pub(super) aad: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) external_mu: Option<String>,
    pub(super) context: Option<String>,
}

impl OperationRequest {
    pub(super) fn value(&self) -> Option<&str> {
        self.value.as_deref().map(String::as_str)
    }
}

#[derive(Deserialize)]
pub(super) struct RandomRequest {
    pub(super) count: Option<i64>,
}

impl Call<'_> {
    /// The request's body.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read(self.body).map_err(|error| unconfirmed::body_not_understood(&error))
    }
}
