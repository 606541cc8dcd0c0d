//! What may be done with a key, tried.

use std::time::{Duration, Instant};

use managed_hsm::{Client, Error, Key, KeyUri, Service};
use serde_json::json;

use super::credential::Token;
use super::steps::{Status, Steps};
use crate::bench::Latencies;
use crate::output::milliseconds;
use crate::session::Session;
use crate::work::{Operation, Trouble, Work};

/// How many zeros are signed or wrapped. Whoever has the result can do nothing with it.
const SAMPLE: usize = 32;
/// How long the latency is measured at most, but for the request that is under way.
const LATENCY_LIMIT: Duration = Duration::from_secs(10);

/// The doctor's checks of a key.
pub(super) fn check(
    steps: &mut Steps,
    session: &Session,
    uri: &KeyUri,
    token: &Token,
    samples: u16,
) {
    let Some(subject) = Subject::read(steps, session, uri, token) else {
        return;
    };
    let operation = Operation::usual(&subject.own.public);
    if let Some(work) = subject.tried(steps, operation)
        && samples > 0
    {
        latency(steps, &session.client, &work, samples);
    }
}

/// A key that was loaded, and who asks for it.
pub(crate) struct Subject<'a> {
    session: &'a Session,
    uri: &'a KeyUri,
    token: &'a Token,
    pub(crate) key: Key,
    pub(crate) own: hsm_keys::Key,
}

impl<'a> Subject<'a> {
    /// Loads the key.
    pub(crate) fn read(
        steps: &mut Steps,
        session: &'a Session,
        uri: &'a KeyUri,
        token: &'a Token,
    ) -> Option<Self> {
        steps.doing(format!("asking for {uri}"));
        let key = match session.client.get_key(uri) {
            Ok(key) => key,
            Err(error) => {
                let remedy = remedy(&error, uri, token);
                steps.add("read-key", Status::Failed, error.to_string(), remedy);
                return None;
            }
        };
        let own = hsm_keys::Key::from(key.clone());
        let operations = operations(&key);
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
        Some(Self {
            session,
            uri,
            token,
            key,
            own,
        })
    }

    /// What is wrong with the key if it is disabled, and what to do.
    pub(crate) fn disabled(&self) -> Option<(String, String)> {
        (!self.key.enabled).then(|| {
            (
                format!("{} is disabled", self.key.id),
                format!("enable it: akv keys set {} --enabled", self.uri),
            )
        })
    }

    /// What is wrong with the key if it may not be used for an operation, and what to do.
    pub(crate) fn not_permitted(&self, operation: Operation) -> Option<(String, String)> {
        let wanted = operation.permission()?;
        (!self.key.permits(&wanted)).then(|| {
            let mut all = operations(&self.key);
            all.push(wanted.to_string());
            (
                format!("{}: its key_ops do not hold {wanted}", self.key.id),
                format!(
                    "add it: akv keys set {} --operations {}",
                    self.uri,
                    all.join(",")
                ),
            )
        })
    }

    /// Uses the key once, unless it is plain that this would fail. The work, if it went well.
    pub(crate) fn tried(&self, steps: &mut Steps, operation: Operation) -> Option<Work> {
        let step = operation.name();
        let known = self.disabled().or_else(|| self.not_permitted(operation));
        if let Some((detail, remedy)) = known {
            steps.add(step, Status::Failed, detail, remedy);
            return None;
        }
        steps.doing(format!("using {} once: {step}", self.uri));
        let client = &self.session.client;
        let work = Work::prepare(client, self.key.clone(), operation, None, SAMPLE);
        let done = work.and_then(|work| Ok((work.proven(client)?, work)));
        let (detail, remedy) = match done {
            Ok((done, work)) => {
                steps.good(step, format!("{}: {done}", self.key.id));
                return Some(work);
            }
            Err(Trouble::Refused(error)) => {
                (error.to_string(), remedy(&error, self.uri, self.token))
            }
            Err(Trouble::Wrong(problem)) => (
                format!("{}: {problem}", self.key.id),
                "check that the key is of the type that is needed, that the endpoint is the HSM, and that nothing \
                 between here and there changes answers"
                    .to_owned(),
            ),
        };
        steps.add(step, Status::Failed, detail, remedy);
        None
    }
}

/// What a key may be used for.
fn operations(key: &Key) -> Vec<String> {
    key.operations.iter().map(ToString::to_string).collect()
}

/// Does the work again and again for a while, and says how long it takes.
pub(crate) fn latency(steps: &mut Steps, client: &Client, work: &Work, samples: u16) {
    let seconds = LATENCY_LIMIT.as_secs();
    steps.doing(format!(
        "measuring {samples} requests, for {seconds} s at most"
    ));
    let begun = Instant::now();
    let mut latencies = Vec::with_capacity(samples.into());
    let mut errors = 0;
    let mut last = None;
    for _ in 0..samples {
        if begun.elapsed() > LATENCY_LIMIT {
            break;
        }
        let started = Instant::now();
        match work.once(client) {
            Ok(()) => latencies.push(started.elapsed()),
            Err(trouble) => {
                errors += 1;
                last = Some(trouble.to_string());
            }
        }
    }
    let latencies = Latencies::new(latencies);
    let made = latencies.len() + errors;
    if let Some(error) = last {
        steps.add(
            "latency",
            Status::Failed,
            format!("{errors} of {made} requests failed; the last: {error}"),
            "see how busy the HSM is: its metrics in Azure, and 'akv bench'",
        );
        return;
    }
    let at = |percent| latencies.percentile(percent).unwrap_or_default();
    let count = match made == usize::from(samples) {
        true => format!("{made} requests"),
        false => format!("{made} of {samples} requests, in the {seconds} s that are allowed"),
    };
    let shown = |percent| milliseconds(at(percent));
    steps.good_with(
        "latency",
        format!(
            "{count}, one after the other: half within {}, 95 % within {}, 99 % within {}",
            shown(50),
            shown(95),
            shown(99)
        ),
        json!({ "samples": made, "p50_ms": at(50), "p95_ms": at(95), "p99_ms": at(99) }),
    );
}

/// What to do when a request with a key was refused.
fn remedy(error: &Error, uri: &KeyUri, token: &Token) -> String {
    match error {
        Error::Service { code, .. } => match code.raw() {
            "AccessDenied" | "ForbiddenByRbac" => match uri.vault.service {
                Service::ManagedHsm => format!(
                    "have a role assigned to {}: akv roles assign {}:{} --role 'Managed HSM Crypto User' \
                     --assignee <object id>",
                    token.principal, uri.vault, uri.key
                ),
                Service::KeyVault => format!(
                    "have a role assigned to {}: az role assignment create --role 'Key Vault Crypto User' \
                     --scope <id of the key vault>/keys/{} --assignee-object-id <object id>",
                    token.principal, uri.key
                ),
            },
            "KeyNotFound" => format!(
                "check the key's name: akv keys list {}; a deleted one comes back with akv keys recover {}:{}",
                uri.vault, uri.vault, uri.key
            ),
            "Throttled" => {
                "a key vault, or a gateway on the way, allows no more requests: spread the load, or \
                 take a Managed HSM"
                    .to_owned()
            }
            "Forbidden" => {
                format!("'akv keys check {uri}' tells which of the key's attributes forbids it")
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
