//! Backup and restore, and rotation by a policy.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::Call;
use super::body::Bundle;
use super::failure::Failure;
use super::keys::{missing, rotate_after};
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::duration::Duration;
use crate::service::Service;
use crate::store::POLICIES;

const DAY: i64 = 86_400;
/// Days: no version is to expire sooner.
const MIN_EXPIRY: i64 = 28;
/// What a vault does before a version expires unless its policy says otherwise.
const NOTICE: &str = "P30D";

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
    let blob =
        blob.map_err(|error| Failure::from_store(call, error, name, missing(call, name, None)))?;
    Reply::ok(&BackupBlob {
        value: encode_base64url(&blob),
    })
}

pub(super) fn restore(call: &Call<'_>) -> Result<Reply, Failure> {
    let request: RestoreRequest = call.parse()?;
    let text = request
        .value
        .ok_or_else(|| unconfirmed::missing_member("value"))?;
    let blob = decode_base64url(&text).ok_or_else(|| Failure::malformed_backup(call.service))?;
    let restored = call.store.restore(&blob);
    let key = restored.map_err(|error| Failure::from_restore(call, error))?;
    Reply::ok(&Bundle::new(call, &key, key.newest()))
}

/// Days: automatic rotation comes no sooner after a version's creation and, in a vault, before its
/// expiry.
fn min_rotation(service: Service) -> i64 {
    match service {
        Service::ManagedHsm => 28,
        Service::KeyVault => 7,
    }
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
    #[serde(default, deserialize_with = "or_default")]
    attributes: PolicyAttributes,
    #[serde(rename = "lifetimeActions", default, deserialize_with = "or_default")]
    lifetime_actions: Vec<LifetimeAction>,
}

/// A null is as good as nothing: what a service shows of a key without a policy can be sent back.
fn or_default<'de, T, D>(input: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl Policy {
    fn of(call: &Call<'_>, name: &str) -> Option<Self> {
        call.store.document(POLICIES, &name.to_ascii_lowercase())
    }

    /// How long after its creation a version expires, in seconds.
    fn expiry(&self) -> Option<i64> {
        seconds(self.attributes.expiry_time.as_deref())
    }

    /// When a version is to be followed by another. A trigger before expiry counts only for a
    /// version that expires.
    fn rotation_time(&self, created: i64, exp: Option<i64>) -> Option<i64> {
        let rotations = self.lifetime_actions.iter();
        let rotations = rotations.filter(|action| action.is("rotate"));
        let times = rotations.filter_map(|action| {
            let after = seconds(action.trigger.time_after_create.as_deref());
            let before = seconds(action.trigger.time_before_expiry.as_deref());
            match after {
                Some(after) => created.checked_add(after),
                None => exp?.checked_sub(before?),
            }
        });
        times.min()
    }
}

impl LifetimeAction {
    fn is(&self, kind: &str) -> bool {
        self.action.kind.eq_ignore_ascii_case(kind)
    }

    /// With the name of its type as a vault writes it.
    fn in_vault(mut self) -> Self {
        let kind = if self.is("notify") {
            "Notify"
        } else {
            "Rotate"
        };
        kind.clone_into(&mut self.action.kind);
        self
    }

    fn notice() -> Self {
        Self {
            action: Action {
                kind: "Notify".to_owned(),
            },
            trigger: Trigger {
                time_after_create: None,
                time_before_expiry: Some(NOTICE.to_owned()),
            },
        }
    }
}

fn seconds(duration: Option<&str>) -> Option<i64> {
    duration?.parse::<Duration>().ok().map(Duration::seconds)
}

/// When a version made now expires, if the key has a policy that says so.
pub(super) fn expiry_by_policy(call: &Call<'_>, name: &str, now: i64) -> Option<i64> {
    Some(now + Policy::of(call, name)?.expiry()?)
}

/// Whether somebody has set a rotation policy of a key.
pub(super) fn has_policy(call: &Call<'_>, name: &str) -> bool {
    Policy::of(call, name).is_some()
}

/// Rotates a key whose policy says that it is time. The service does so by itself; here it happens
/// when the key is next asked for, which nobody can tell apart.
pub(super) fn rotate_if_due(call: &Call<'_>, name: &str) {
    let (Some(policy), Some(key)) = (Policy::of(call, name), call.store.active(name)) else {
        return;
    };
    let newest = &key.newest().metadata;
    let due = policy.rotation_time(newest.created, newest.exp);
    if due.is_some_and(|due| due <= unix_seconds())
        && let Err(failure) = rotate_after(call, &key)
    {
        crate::log::event(format_args!(
            "rotating the key {name} by its policy failed: {}",
            failure.message
        ));
    }
}

pub(super) fn policy(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    exists(call, name)?;
    match (Policy::of(call, name), call.service) {
        (Some(policy), _) => Reply::ok(&policy),
        (None, Service::ManagedHsm) => Reply::ok(&json!({
            "attributes": {"created": 0, "expiryTime": "", "updated": 0},
            "id": "",
        })),
        (None, Service::KeyVault) => Reply::ok(&json!({
            "attributes": null,
            "lifetimeActions": [LifetimeAction::notice()],
        })),
    }
}

pub(super) fn set_policy(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    exists(call, name)?;
    let request: PolicyRequest = call.parse()?;
    check(call.service, &request)?;
    let now = unix_seconds();
    let created = Policy::of(call, name).and_then(|policy| policy.attributes.created);
    let path = format!("keys/{name}/rotationpolicy");
    let mut lifetime_actions = request.lifetime_actions;
    if call.service == Service::KeyVault {
        let actions = lifetime_actions.into_iter();
        lifetime_actions = actions.map(LifetimeAction::in_vault).collect();
        if !lifetime_actions.iter().any(|action| action.is("notify")) {
            lifetime_actions.push(LifetimeAction::notice());
        }
    }
    let policy = Policy {
        attributes: PolicyAttributes {
            created: created.or(Some(now)),
            expiry_time: request.attributes.expiry_time,
            updated: Some(now),
        },
        id: match call.service {
            Service::ManagedHsm => path,
            Service::KeyVault => format!("https://{}/{path}", call.host),
        },
        lifetime_actions,
    };
    // A policy must not outlive the key, or the next one of its name had it.
    let kept = || exists(call, name);
    call.put_checked(POLICIES, &name.to_ascii_lowercase(), &policy, kept)?;
    Reply::ok(&policy)
}

/// What the services document: an HSM rotates, a vault also notifies; how soon a version may be
/// followed, and expire.
fn check(service: Service, request: &PolicyRequest) -> Result<(), Failure> {
    let read = |text: &Option<String>| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            let duration: Result<Duration, ()> = text.parse();
            let duration = duration.map_err(|()| unconfirmed::duration(text))?;
            Ok(Some(duration.seconds()))
        }
    };
    let at_least = |what, seconds: i64, days| match seconds < days * DAY {
        true => Err(unconfirmed::policy_period(what, days)),
        false => Ok(()),
    };
    let sooner = min_rotation(service);
    let expiry = read(&request.attributes.expiry_time)?;
    if let Some(expiry) = expiry {
        at_least("expiryTime", expiry, MIN_EXPIRY)?;
    }
    let (rotations, others): (Vec<_>, Vec<_>) = request
        .lifetime_actions
        .iter()
        .partition(|action| action.is("rotate"));
    let allowed = match service {
        Service::ManagedHsm => 0,
        Service::KeyVault => 1,
    };
    let mut unknown = others
        .iter()
        .filter(|action| allowed == 0 || !action.is("notify"));
    if let Some(other) = unknown.next() {
        return Err(unconfirmed::lifetime_action(&other.action.kind));
    }
    if rotations.len() > 1 || others.len() > allowed {
        return Err(unconfirmed::lifetime_actions());
    }
    for LifetimeAction { trigger, .. } in rotations {
        let after = read(&trigger.time_after_create)?;
        let before = read(&trigger.time_before_expiry)?;
        match (after, before, expiry) {
            (Some(after), None, _) => at_least("timeAfterCreate", after, sooner)?,
            (None, Some(before), Some(expiry)) => {
                if service == Service::KeyVault {
                    at_least("timeBeforeExpiry", before, sooner)?;
                }
                at_least("expiryTime less timeBeforeExpiry", expiry - before, sooner)?;
            }
            (None, Some(_), None) => {
                return Err(unconfirmed::missing_member("attributes.expiryTime"));
            }
            (None, None, _) | (Some(_), Some(_), _) => return Err(unconfirmed::trigger()),
        }
    }
    Ok(())
}

fn exists(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    match call.store.active(name) {
        Some(_) => Ok(()),
        None => Err(missing(call, name, None)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn policy(expiry: &str, trigger: Value) -> PolicyRequest {
        let action = json!({"action": {"type": "Rotate"}, "trigger": trigger});
        let body = json!({"attributes": {"expiryTime": expiry}, "lifetimeActions": [action]});
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn no_version_is_demanded_sooner_than_after_28_days() {
        for (expiry, trigger, fits) in [
            ("P28D", json!({"timeAfterCreate": "P28D"}), true),
            ("P28D", json!({"timeAfterCreate": "P27D"}), false),
            ("P27D", json!({"timeAfterCreate": "P28D"}), false),
            ("P56D", json!({"timeBeforeExpiry": "P28D"}), true),
            ("P56D", json!({"timeBeforeExpiry": "P29D"}), false),
            (
                "P2Y",
                json!({"timeAfterCreate": "P18M", "timeBeforeExpiry": null}),
                true,
            ),
            (
                "P2Y",
                json!({"timeAfterCreate": "P18M", "timeBeforeExpiry": "P28D"}),
                false,
            ),
            ("P2Y", json!({}), false),
        ] {
            let request = policy(expiry, trigger.clone());
            let checked = check(Service::ManagedHsm, &request);
            assert_eq!(checked.is_ok(), fits, "{expiry} {trigger}");
        }
    }

    #[test]
    fn a_rotation_is_due_after_creation_or_before_the_expiry_that_the_version_has() {
        let stored = |expiry, trigger| {
            let request = policy(expiry, trigger);
            Policy {
                attributes: request.attributes,
                id: String::new(),
                lifetime_actions: request.lifetime_actions,
            }
        };
        let after = stored("P90D", json!({"timeAfterCreate": "P30D"}));
        assert_eq!(after.rotation_time(1, None), Some(30 * DAY + 1));
        let before = stored("P90D", json!({"timeBeforeExpiry": "P30D"}));
        assert_eq!(before.rotation_time(1, Some(40 * DAY)), Some(10 * DAY));
        assert_eq!(before.rotation_time(1, None), None);
        assert_eq!(after.expiry(), Some(90 * DAY));
    }

    #[test]
    fn a_vault_notifies_too_and_rotates_sooner() {
        let both = json!({"attributes": {"expiryTime": "P90D"}, "lifetimeActions": [
            {"action": {"type": "rotate"}, "trigger": {"timeAfterCreate": "P7D"}},
            {"action": {"type": "notify"}, "trigger": {"timeBeforeExpiry": "P10D"}},
        ]});
        let request: PolicyRequest = serde_json::from_value(both).unwrap();
        assert!(check(Service::KeyVault, &request).is_ok());
        assert!(check(Service::ManagedHsm, &request).is_err());
        let sooner = policy("P90D", json!({"timeAfterCreate": "P6D"}));
        assert!(check(Service::KeyVault, &sooner).is_err());
    }
}
