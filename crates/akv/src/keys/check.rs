//! `akv keys check`: whether a key is fit for what somebody wants, with the remedy of each point
//! that isn't.

use std::time::{Duration, SystemTime};

use clap::Args;
use managed_hsm::{KeyUri, PublicKey};

use super::kind::{Kind, NamedCurve};
use crate::doctor::{Status, Steps, Subject, check_credential, latency};
use crate::duration::duration;
use crate::failure::Failure;
use crate::output::{OutputOptions, Report, from_unix, time};
use crate::session::Session;
use crate::work::Operation;

/// A key that ends sooner is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 86_400);

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys check managedhsm:MyHSM:web
  akv keys check managedhsm:MyHSM:doc --for sign,decrypt --type rsa \\
      --size 3072 --valid-for 1year
  akv keys check managedhsm:MyHSM:kek --for wrap,unwrap --type oct")]
pub(crate) struct Check {
    /// The key
    uri: KeyUri,
    /// What it is wanted for, separated by commas; each is tried [default: sign, or wrap with a
    /// symmetric key]
    #[arg(
        long = "for",
        value_enum,
        value_name = "OPERATIONS",
        value_delimiter = ','
    )]
    operations: Vec<Operation>,
    /// The type that it has to have
    #[arg(
        long = "type",
        visible_alias = "kty",
        value_enum,
        ignore_case = true,
        value_name = "TYPE"
    )]
    kind: Option<Kind>,
    /// The bits that an RSA or AES key has to have at least
    #[arg(long, value_name = "BITS")]
    size: Option<u32>,
    /// The curve that it has to be on
    #[arg(long, value_enum, ignore_case = true, value_name = "CURVE")]
    curve: Option<NamedCurve>,
    /// How long it has to be valid, such as 90d [default: a warning below 30 days]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    valid_for: Option<Duration>,
    /// Requests for the latency; 0 for none
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    samples: u16,
}

impl Check {
    /// The report is bad if a check failed.
    pub(super) fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        let session = Session::start()?;
        let mut steps = Steps::shown(output);
        match check_credential(&mut steps, &session, &self.uri.vault, None) {
            None => steps.skip("read-key", "there is no token that will do"),
            Some(token) => {
                if let Some(key) = Subject::read(&mut steps, &session, &self.uri, &token) {
                    self.judge(&mut steps, &session, &key);
                }
            }
        }
        Ok(steps.report())
    }

    fn judge(&self, steps: &mut Steps, session: &Session, subject: &Subject<'_>) {
        match subject.disabled() {
            None => steps.good("enabled", "it may be used".to_owned()),
            Some((detail, remedy)) => steps.add("enabled", Status::Failed, detail, remedy),
        }
        self.not_before(steps, subject);
        self.expires(steps, subject);
        self.of_type(steps, session, subject);
        let wanted = match self.operations.is_empty() {
            true => vec![Operation::usual(&subject.own.public)],
            false => self.operations.clone(),
        };
        let mut first = None;
        for operation in wanted {
            match subject.key.enabled {
                true => {
                    let work = subject.tried(steps, operation);
                    first = first.or(work);
                }
                false => steps.skip(operation.name(), "the key is disabled"),
            }
        }
        match first.filter(|_| self.samples > 0) {
            Some(work) => latency(steps, &session.client, &work, self.samples),
            None => steps.skip("latency", "nothing was done that could be measured"),
        }
    }

    fn not_before(&self, steps: &mut Steps, subject: &Subject<'_>) {
        let since = subject.key.properties.not_before.map(from_unix);
        match since.filter(|since| *since > SystemTime::now()) {
            None => steps.good("not-before", "its time has begun".to_owned()),
            Some(since) => steps.add(
                "not-before",
                Status::Failed,
                format!("it may be used from {} on", time(since)),
                format!(
                    "wait, or let it begin now: akv keys set {} --not-before {}",
                    self.uri,
                    time(SystemTime::now())
                ),
            ),
        }
    }

    fn expires(&self, steps: &mut Steps, subject: &Subject<'_>) {
        let Some(end) = subject.key.properties.expires.map(from_unix) else {
            steps.good("expires", "its time has no end".to_owned());
            return;
        };
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        let remedy = format!(
            "make a new version: akv keys rotate {0}; or let this one go on: akv keys set {0} --expires 365d",
            self.uri
        );
        let status = match (left.is_zero(), self.valid_for) {
            (true, _) => Status::Failed,
            (false, Some(wanted)) if left < wanted => Status::Failed,
            (false, None) if left < SOON => Status::Warning,
            _ => {
                steps.good("expires", format!("it may be used until {}", time(end)));
                return;
            }
        };
        let detail = match left.is_zero() {
            true => format!("its time ended at {}", time(end)),
            false => format!(
                "it may be used until {}, {} days from now",
                time(end),
                left.as_secs() / 86_400
            ),
        };
        steps.add("expires", status, detail, remedy);
    }

    /// Type, size and curve.
    fn of_type(&self, steps: &mut Steps, session: &Session, subject: &Subject<'_>) {
        let public = &subject.key.public;
        let bits = self.bits(session, subject);
        let has = match bits {
            Some(bits) => format!("{}, {bits} bits", subject.own.public.kind()),
            None => subject.own.public.kind().to_owned(),
        };
        let is_other = self.kind.is_some_and(|kind| !kind.is_of(public))
            || self.curve.is_some_and(|curve| !curve.is_of(public));
        let has_size = matches!(public, PublicKey::Rsa { .. } | PublicKey::Oct);
        let is_small = self.size.is_some_and(|least| match bits {
            Some(bits) => bits < least,
            None => !has_size,
        });
        if !is_other && !is_small {
            match self.size.is_some() && bits.is_none() {
                false => steps.good("type", has),
                true => steps.add(
                    "type",
                    Status::Warning,
                    format!("it is {has}; how many bits it has can't be found out"),
                    "let it wrap (key_ops), or ask by a version of the API that tells: AKV_API_VERSION=2026-01-01-preview",
                ),
            }
            return;
        }
        let remedy = format!(
            "a key's type and size stay as they are: make another key, akv keys create {}:<key> {}",
            self.uri.vault,
            self.wanted()
        );
        steps.add("type", Status::Failed, format!("it is {has}"), remedy);
    }

    /// The bits of an RSA or AES key. Stable versions of the API don't tell those of an AES key; if
    /// they are asked for, what the key wraps with tells them.
    fn bits(&self, session: &Session, subject: &Subject<'_>) -> Option<u32> {
        match subject.key.public {
            PublicKey::Rsa { .. } => u32::try_from(subject.own.public.raw_signature_len() * 8).ok(),
            PublicKey::Oct => subject.key.properties.key_size.or_else(|| {
                self.size?;
                hsm_keys::wrap(&session.client, &subject.own, &[0; 16]).ok()?;
                subject.own.hsm.as_ref()?.size()
            }),
            _ => None,
        }
    }

    /// The options with which a key of the wanted type is made.
    fn wanted(&self) -> String {
        let kind = self.kind.map(|kind| format!("--type {}", kind.name()));
        let size = self.size.map(|size| format!("--size {size}"));
        let curve = self.curve.map(|curve| format!("--curve {}", curve.name()));
        let all = [kind, size, curve];
        all.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}
