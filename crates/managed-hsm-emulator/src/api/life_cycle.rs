//! Backup and restore, and rotation by a policy.

use serde::{Deserialize, Serialize};

use super::Call;
use super::body::Bundle;
use super::failure::Failure;
use super::keys::{missing, rotate_now};
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::duration::Duration;
use crate::store::POLICIES;

#[derive(Serialize)]
struct BackupBlob {
    value: String,
}

#[derive(Deserialize)]
struct RestoreRequest {
    value: Option<String>,
}

pub(super) fn backup(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let blob = call.store.back_up(name);
    let blob = blob.map_err(|error| Failure::from_store(error, name, missing(call, name, None)))?;
    Reply::ok(&BackupBlob {
        value: encode_base64url(&blob),
    })
}

pub(super) fn restore(call: &Call<'_>) -> Result<Reply, Failure> {
    let request: RestoreRequest = call.parse()?;
    let text = request
        .value
        .ok_or_else(|| unconfirmed::missing_member("value"))?;
    let blob = decode_base64url(&text).ok_or_else(Failure::malformed_backup)?;
    let restored = call.store.restore(&blob);
    let key = restored.map_err(Failure::from_restore)?;
    Reply::ok(&Bundle::new(call.host, &key, key.newest()))
}

/// A rotation policy as it is stored and shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Policy {
    attributes: PolicyAttributes,
    id: String,
    #[serde(rename = "lifetimeActions")]
    lifetime_actions: Vec<LifetimeAction>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct PolicyAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(rename = "expiryTime", skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LifetimeAction {
    action: Action,
    #[serde(default)]
    trigger: Trigger,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Trigger {
    #[serde(rename = "timeAfterCreate", skip_serializing_if = "Option::is_none")]
    time_after_create: Option<String>,
    #[serde(rename = "timeBeforeExpiry", skip_serializing_if = "Option::is_none")]
    time_before_expiry: Option<String>,
}

#[derive(Deserialize)]
struct PolicyRequest {
    #[serde(default)]
    attributes: PolicyAttributes,
    #[serde(rename = "lifetimeActions", default)]
    lifetime_actions: Vec<LifetimeAction>,
}

impl Policy {
    fn of(call: &Call<'_>, name: &str) -> Option<Self> {
        call.store.document(POLICIES, &name.to_ascii_lowercase())
    }

    /// How long after its creation a version expires, in seconds.
    fn expiry(&self) -> Option<i64> {
        seconds(self.attributes.expiry_time.as_deref())
    }

    /// When a version that was made at `created` is to be followed by another.
    fn rotation_time(&self, created: i64) -> Option<i64> {
        let triggers = self
            .lifetime_actions
            .iter()
            .filter(|action| action.action.kind.eq_ignore_ascii_case("rotate"));
        triggers
            .filter_map(|action| {
                let after = seconds(action.trigger.time_after_create.as_deref());
                let before = seconds(action.trigger.time_before_expiry.as_deref());
                after.or_else(|| Some(self.expiry()? - before?))
            })
            .map(|after| created + after)
            .min()
    }
}

fn seconds(duration: Option<&str>) -> Option<i64> {
    duration?.parse::<Duration>().ok().map(Duration::seconds)
}

/// When a version made now expires, if the key has a policy that says so.
pub(super) fn expiry_by_policy(call: &Call<'_>, name: &str, now: i64) -> Option<i64> {
    Some(now + Policy::of(call, name)?.expiry()?)
}

/// Rotates a key whose policy says that it is time. The service does so by itself; here it happens when the key is next
/// asked for, which nobody can tell apart.
pub(super) fn rotate_if_due(call: &Call<'_>, name: &str) {
    let (Some(policy), Some(key)) = (Policy::of(call, name), call.store.active(name)) else {
        return;
    };
    let due = policy.rotation_time(key.newest().metadata.created);
    if due.is_some_and(|due| due <= unix_seconds())
        && let Err(failure) = rotate_now(call, name)
    {
        crate::log::event(format_args!(
            "rotating the key {name} by its policy failed: {}",
            failure.message
        ));
    }
}

pub(super) fn policy(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    exists(call, name)?;
    let none = || unconfirmed::policy_of_a_key_without_one(name);
    match Policy::of(call, name) {
        Some(policy) => Reply::ok(&policy),
        None => Reply::ok(&none()),
    }
}

pub(super) fn set_policy(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    exists(call, name)?;
    let request: PolicyRequest = call.parse()?;
    let valid = |duration: &Option<String>| match duration {
        Some(text) => text
            .parse::<Duration>()
            .map(drop)
            .map_err(|()| unconfirmed::duration(text)),
        None => Ok(()),
    };
    valid(&request.attributes.expiry_time)?;
    for action in &request.lifetime_actions {
        valid(&action.trigger.time_after_create)?;
        valid(&action.trigger.time_before_expiry)?;
        if !["rotate", "notify"].contains(&action.action.kind.to_ascii_lowercase().as_str()) {
            return Err(unconfirmed::lifetime_action(&action.action.kind));
        }
        if action.trigger.time_before_expiry.is_some() && request.attributes.expiry_time.is_none() {
            return Err(unconfirmed::missing_member("attributes.expiryTime"));
        }
    }
    let now = unix_seconds();
    let created = Policy::of(call, name).and_then(|policy| policy.attributes.created);
    let policy = Policy {
        attributes: PolicyAttributes {
            created: created.or(Some(now)),
            expiry_time: request.attributes.expiry_time,
            updated: Some(now),
        },
        id: format!("keys/{name}/rotationpolicy"),
        lifetime_actions: request.lifetime_actions,
    };
    call.put(POLICIES, &name.to_ascii_lowercase(), &policy)?;
    Reply::ok(&policy)
}

fn exists(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    match call.store.active(name) {
        Some(_) => Ok(()),
        None => Err(missing(call, name, None)),
    }
}
