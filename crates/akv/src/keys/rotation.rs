//! `akv keys rotate` and `akv keys rotation-policy`.

use std::path::PathBuf;
use std::time::Duration;

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    KeyRotationPolicy, KeyRotationPolicyAction, KeyRotationPolicyAttributes, LifetimeAction,
    LifetimeActionTrigger, LifetimeActionType,
};
use clap::{ArgGroup, Args, Subcommand};
use managed_hsm::KeyUri;
use serde::Deserialize;
use serde_json::{Value, json};

use super::description::{Told, rfc3339, shown, shown_time};
use super::unversioned;
use crate::failure::Failure;
use crate::files;
use crate::output::{Report, lines, one_line};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys rotate managedhsm:MyHSM:web")]
pub(crate) struct Rotate {
    /// The key
    uri: KeyUri,
}

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv keys rotation-policy show managedhsm:MyHSM:web
  akv keys rotation-policy set managedhsm:MyHSM:web --rotate-after 90d")]
pub(crate) enum RotationPolicy {
    /// Show when a key is rotated, and how long its versions last
    #[command(
        alias = "get",
        after_help = "Example:\n  akv keys rotation-policy show managedhsm:MyHSM:web"
    )]
    Show(Show),
    /// Set when a key is rotated, and how long its versions last: what isn't named is not done
    #[command(alias = "update")]
    Set(Set),
}

#[derive(Args)]
pub(crate) struct Show {
    /// The key
    uri: KeyUri,
}

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true), after_help = "Examples:
  akv keys rotation-policy set managedhsm:MyHSM:web --rotate-after 90d \\
      --expires-after P1Y
  akv keys rotation-policy set managedhsm:MyHSM:web \\
      --rotate-before-expiry 30d --expires-after 365d
  akv keys rotation-policy set managedhsm:MyHSM:web policy.json")]
pub(crate) struct Set {
    /// The key
    uri: KeyUri,
    /// JSON file with the policy as az keyvault takes it: lifetimeActions, attributes; - is
    /// standard input
    #[arg(group = "what", conflicts_with_all = ["rotate_after", "rotate_before_expiry", "expires_after", "notify_before_expiry"])]
    file: Option<PathBuf>,
    /// Rotate so long after a version was made: 90d or P90D
    #[arg(long, value_name = "TIME", value_parser = period, group = "what")]
    rotate_after: Option<String>,
    /// Rotate so long before a version expires
    #[arg(long, value_name = "TIME", value_parser = period, group = "what",
          conflicts_with = "rotate_after", requires = "expires_after")]
    rotate_before_expiry: Option<String>,
    /// How long versions last that are made from now on
    #[arg(long, value_name = "TIME", value_parser = period, group = "what")]
    expires_after: Option<String>,
    /// Have Event Grid told so long before a version expires; key vaults only
    #[arg(long, value_name = "TIME", value_parser = period, group = "what")]
    notify_before_expiry: Option<String>,
}

/// A policy in a file. The service's type passes over what it doesn't know, so that a member with a
/// wrong name would erase the policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that they can be read")]
struct File {
    id: Option<String>,
    lifetime_actions: Vec<FileAction>,
    attributes: Option<FileAttributes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what counts is that they can be read")]
struct FileAction {
    action: FileKind,
    trigger: FileTrigger,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what counts is that it can be read")]
struct FileKind {
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that they can be read")]
struct FileTrigger {
    time_after_create: Option<String>,
    time_before_expiry: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that they can be read")]
struct FileAttributes {
    expiry_time: Option<String>,
    created: Option<i64>,
    updated: Option<i64>,
}

/// A duration of ISO 8601 in days, months and years, which the service wants. People's own are
/// whole days.
fn period(text: &str) -> Result<String, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    let iso = text.to_ascii_uppercase();
    let is_iso = iso.strip_prefix('P').is_some_and(|rest| {
        let is_part = |c: char| c.is_ascii_digit() || "YMWD".contains(c);
        rest.len() > 1 && rest.chars().all(is_part) && rest.ends_with(['Y', 'M', 'W', 'D'])
    });
    if is_iso {
        return Ok(iso);
    }
    let bad = || "give whole days, such as 90d, or P90D, P6M, P2Y (ISO 8601)".to_owned();
    let time = humantime::parse_duration(text).map_err(|_| bad())?;
    let days = time.as_secs() / DAY.as_secs();
    match days > 0 && time == Duration::from_secs(days * DAY.as_secs()) {
        true => Ok(format!("P{days}D")),
        false => Err(bad()),
    }
}

impl Rotate {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("rotating the key");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management.keys.rotate_key(self.uri.key.as_str(), None);
            Told::read(answer.await?)
        };
        let key = management.wait("rotate key", &self.uri.to_string(), request)?;
        shown(&self.uri, &key)
    }
}

impl RotationPolicy {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::Show(command) => command.run(),
            Self::Set(command) => command.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for the rotation policy");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let name = self.uri.key.as_str();
            let answer = management.keys.get_key_rotation_policy(name, None);
            answer.await?.into_model()
        };
        let uri = self.uri.to_string();
        let policy = management.wait("load the rotation policy of", &uri, request)?;
        Ok(told(&self.uri, &policy))
    }
}

impl Set {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("setting the rotation policy");
        unversioned(&self.uri)?;
        let policy = self.policy()?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let content: RequestContent<_> = policy.try_into()?;
            let name = self.uri.key.as_str();
            let keys = &management.keys;
            let answer = keys.update_key_rotation_policy(name, content, None);
            answer.await?.into_model()
        };
        let uri = self.uri.to_string();
        let policy = management.wait("set the rotation policy of", &uri, request)?;
        Ok(told(&self.uri, &policy))
    }

    /// The policy that is asked for.
    fn policy(&self) -> Result<KeyRotationPolicy, Failure> {
        if let Some(path) = &self.file {
            let text = files::read_text(path)?;
            let read = serde_json::from_slice::<File>(&text);
            let policy = read.and_then(|_| serde_json::from_slice(&text));
            return policy.map_err(|error| {
                let problem = one_line(&error.to_string());
                Failure::told(format!("{}: it holds no policy: {problem}", path.display()))
            });
        }
        let action = |kind, after: Option<&String>, before: Option<&String>| LifetimeAction {
            action: Some(LifetimeActionType {
                type_prop: Some(kind),
            }),
            trigger: Some(LifetimeActionTrigger {
                time_after_create: after.cloned(),
                time_before_expiry: before.cloned(),
            }),
        };
        let (after, before) = (
            self.rotate_after.as_ref(),
            self.rotate_before_expiry.as_ref(),
        );
        let rotates = after.is_some() || before.is_some();
        let rotate = rotates.then(|| action(KeyRotationPolicyAction::Rotate, after, before));
        let notice = self.notify_before_expiry.as_ref();
        let notify = notice.map(|_| action(KeyRotationPolicyAction::Notify, None, notice));
        Ok(KeyRotationPolicy {
            attributes: Some(KeyRotationPolicyAttributes {
                expiry_time: self.expires_after.clone(),
                ..KeyRotationPolicyAttributes::default()
            }),
            lifetime_actions: Some(rotate.into_iter().chain(notify).collect()),
            ..KeyRotationPolicy::default()
        })
    }
}

/// What the service tells of a policy. A key without one has an empty one.
fn told(uri: &KeyUri, policy: &KeyRotationPolicy) -> Report {
    let attributes = policy.attributes.clone().unwrap_or_default();
    let expires = attributes.expiry_time.as_deref().map(one_line);
    let expires = expires.filter(|time| !time.is_empty());
    let updated = attributes.updated.filter(|at| at.unix_timestamp() > 0);
    let (mut rows, mut actions) = (vec![("Key", uri.to_string())], Vec::new());
    for action in policy.lifetime_actions.iter().flatten() {
        let kind = action
            .action
            .as_ref()
            .and_then(|kind| kind.type_prop.as_ref());
        let kind = kind.map_or_else(String::new, |kind| one_line(kind.as_ref()));
        let trigger = action.trigger.clone().unwrap_or_default();
        let after = trigger.time_after_create.as_deref().map(one_line);
        let before = trigger.time_before_expiry.as_deref().map(one_line);
        let when = match (&after, &before) {
            (Some(after), _) => format!("{after} after a version was made"),
            (None, Some(before)) => format!("{before} before a version expires"),
            (None, None) => "at no time".to_owned(),
        };
        let is_rotation = kind.eq_ignore_ascii_case("rotate");
        rows.push((if is_rotation { "Rotate" } else { "Notify" }, when));
        actions.push(json!({ "action": kind, "after_creation": after, "before_expiry": before }));
    }
    if actions.is_empty() && expires.is_none() {
        let what = format!("none: akv keys rotation-policy set {uri} --rotate-after 90d");
        rows.push(("Policy", what));
    }
    if let Some(expires) = &expires {
        rows.push(("Expires", format!("{expires} after a version was made")));
    }
    if updated.is_some() {
        rows.push(("Updated", shown_time(updated)));
    }
    let json = json!({
        "key": uri.to_string(),
        "actions": Value::Array(actions),
        "expires_after": expires,
        "updated": rfc3339(updated),
    });
    Report::new(lines(&rows), json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_of_iso_8601_or_whole_days() {
        for (text, expected) in [
            ("90d", "P90D"),
            ("p90d", "P90D"),
            ("P2Y", "P2Y"),
            ("2weeks", "P14D"),
            ("48h", "P2D"),
        ] {
            assert_eq!(period(text).as_deref(), Ok(expected));
        }
        for text in ["1h", "0d", "P", "P1H", "soon", "90", "PD"] {
            assert!(period(text).unwrap_err().contains("P90D"), "{text}");
        }
    }
}
