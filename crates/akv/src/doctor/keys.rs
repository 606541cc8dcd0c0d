//! What may be done with a key, tried.

use std::time::Instant;

use hsm_keys::{Check, Key, Scheme};
use managed_hsm::{Client, Error, KeyId, KeyOperation, KeyUri, Service};
use serde_json::json;

use super::credential::Token;
use super::steps::{Status, Steps};
use crate::bench::Latencies;
use crate::session::Session;
use crate::signing::{digest, hasher};

/// What is signed. Whoever has the signature can do nothing with it.
const MESSAGE: &[u8] = b"akv doctor: a signature that only shows that the key can sign";
/// What is wrapped.
const SAMPLE: [u8; 32] = [0; 32];

pub(crate) fn check(
    steps: &mut Steps,
    session: &Session,
    uri: &KeyUri,
    token: &Token,
    samples: u16,
) {
    let key = match session.client.get_key(uri) {
        Ok(key) => key,
        Err(error) => {
            let remedy = remedy(&error, uri, token, "Managed HSM Crypto User");
            steps.add("read-key", Status::Failed, error.to_string(), remedy);
            return;
        }
    };
    let own = Key::from(key.clone());
    let operations: Vec<String> = key.operations.iter().map(ToString::to_string).collect();
    steps.good_with(
        "read-key",
        format!(
            "{}: {}, for {}",
            key.id,
            own.public.kind(),
            operations.join(", ")
        ),
        json!({ "key": key.id.to_string(), "operations": operations, "enabled": key.enabled }),
    );
    if is_usable(steps, session, uri, token, &key, &own) && samples > 0 {
        latency(steps, &session.client, &own, samples);
    }
}

/// Uses the key once for what keys of its type are usually used for. Whether that went well.
fn is_usable(
    steps: &mut Steps,
    session: &Session,
    uri: &KeyUri,
    token: &Token,
    key: &managed_hsm::Key,
    own: &Key,
) -> bool {
    let (step, operation) = match own.public.usual_signature() {
        Some(_) => ("sign", KeyOperation::Sign),
        None => ("wrap", KeyOperation::WrapKey),
    };
    let id = &key.id;
    let (detail, remedy) = if !key.enabled {
        let of_az = format!("az keyvault key set-attributes {}", named_for_az(id));
        (
            format!("{id} is disabled"),
            format!("enable it: {of_az} --enabled true"),
        )
    } else if !key.permits(&operation) {
        let of_az = format!("az keyvault key set-attributes {}", named_for_az(id));
        (
            format!("{id}: its key_ops do not hold {operation}"),
            format!("add it: {of_az} --ops {operation} and those that it has"),
        )
    } else {
        match once(&session.client, own) {
            Ok(done) => {
                steps.good(step, format!("{id}: {done}"));
                return true;
            }
            Err(Trouble::Refused(error)) => (
                error.to_string(),
                remedy(&error, uri, token, "Managed HSM Crypto User"),
            ),
            Err(Trouble::Wrong(problem)) => (
                format!("{id}: {problem}"),
                "check that the endpoint is the HSM, and nothing between here and there changes answers".to_owned(),
            ),
        }
    };
    steps.add(step, Status::Failed, detail, remedy);
    false
}

enum Trouble {
    Refused(Error),
    Wrong(String),
}

/// Signs or wraps. Returns what was done.
fn once(client: &Client, key: &Key) -> Result<String, Trouble> {
    if let Some(algorithm) = key.public.usual_signature() {
        let scheme = Scheme::of(algorithm);
        let digest = hasher(&scheme, &key.public, None)
            .and_then(|hasher| Ok(digest(hasher, &mut &*MESSAGE)?))
            .map_err(|error| Trouble::Wrong(error.to_string()))?;
        return match hsm_keys::sign(client, key, &scheme, &digest, Check::Signature) {
            Ok(_) => Ok(format!("{algorithm} gives a signature that verifies")),
            Err(hsm_keys::Error::Client(error)) => Err(Trouble::Refused(error)),
            Err(error) => Err(Trouble::Wrong(format!("{algorithm}: {error}"))),
        };
    }
    let (Some(algorithm), Some(id)) = (key.public.usual_wrapping(), key.id()) else {
        return Err(Trouble::Wrong("it can neither sign nor wrap".to_owned()));
    };
    let wrapped = client.wrap_key(id, algorithm, &SAMPLE);
    wrapped.map_err(Trouble::Refused)?;
    Ok(format!("{algorithm} wraps"))
}

fn latency(steps: &mut Steps, client: &Client, key: &Key, samples: u16) {
    let mut latencies = Vec::with_capacity(samples.into());
    let mut errors = 0;
    let mut last = None;
    for _ in 0..samples {
        let started = Instant::now();
        match once(client, key) {
            Ok(_) => latencies.push(started.elapsed()),
            Err(trouble) => {
                errors += 1;
                last = Some(match trouble {
                    Trouble::Refused(error) => error.to_string(),
                    Trouble::Wrong(problem) => problem,
                });
            }
        }
    }
    let latencies = Latencies::new(latencies);
    if let Some(error) = last {
        steps.add(
            "latency",
            Status::Failed,
            format!("{errors} of {samples} requests failed; the last: {error}"),
            "see whether the HSM is asked for more than it can do: its metrics in Azure, and 'akv bench'",
        );
        return;
    }
    let at = |percent| latencies.percentile(percent).unwrap_or_default();
    steps.good_with(
        "latency",
        format!(
            "{samples} requests, one after the other: half within {:.1} ms, 95 % within {:.1} ms, 99 % within {:.1} ms",
            at(50),
            at(95),
            at(99)
        ),
        json!({ "samples": samples, "p50_ms": at(50), "p95_ms": at(95), "p99_ms": at(99) }),
    );
}

/// A key as the Azure CLI has it, of names that were checked: what the service calls it may be
/// anything.
fn named_for_az(id: &KeyId) -> String {
    let option = match id.vault.service {
        Service::ManagedHsm => "--hsm-name",
        Service::KeyVault => "--vault-name",
    };
    let (vault, key, version) = (&id.vault.name, &id.key, &id.version);
    format!("{option} {vault} --name {key} --version {version}")
}

/// What to do when a request with a key was refused.
fn remedy(error: &Error, uri: &KeyUri, token: &Token, role: &str) -> String {
    match error {
        Error::Service { code, .. } => match code.raw() {
            "AccessDenied" | "ForbiddenByRbac" => format!(
                "have a role assigned to {}: az keyvault role assignment create --hsm-name {} --role '{role}' \
                 --scope /keys/{} --assignee-object-id <object id>",
                token.principal, uri.vault.name, uri.key
            ),
            "KeyNotFound" => format!(
                "check the key's name: akv keys list {}; a deleted one comes back with akv keys recover {}:{}",
                uri.vault, uri.vault, uri.key
            ),
            "Throttled" => {
                "the HSM is asked for more than it can do: spread the load, or add another HSM".to_owned()
            }
            "Forbidden" => {
                "check the key's attributes with 'akv keys show': enabled, not_before, expires, operations".to_owned()
            }
            _ => "see the service's message".to_owned(),
        },
        Error::Unauthorized { credential, .. } => format!(
            "the service does not accept the token of {}: check its tenant and its audience with 'akv token'",
            credential.name()
        ),
        Error::Timeout { .. } => {
            "the service is slow or does not answer: check its load; AKV_OPERATION_TIMEOUT allows more time".to_owned()
        }
        Error::Response { .. } => {
            "check that the endpoint is a Managed HSM or key vault, and not a proxy's page".to_owned()
        }
        _ => "check the network between this machine and the HSM".to_owned(),
    }
}
