//! `akv pkcs11 sweep`: keys that were made for a session and have outlived it, since its process
//! was ended before it could take them away.

use std::time::Duration;

use clap::Args;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use humantime::format_duration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::calls::{FailedCall, Task};
use super::process::{Identity, Place, Told};
use super::rows::{kid_of, name_in};
use crate::duration::duration;
use crate::failure::Failure;
use crate::output::{Report, one_line, table};
use crate::progress::Spinner;

/// The module's own attributes: who has made a key for a session, and when.
const MAKER: AttributeType = AttributeType::VendorDefined(0x8041_4b56);
const CREATED: AttributeType = AttributeType::VendorDefined(0x8041_4b57);

#[derive(Args)]
#[command(after_help = "Examples:
  akv pkcs11 sweep --dry-run
  akv pkcs11 sweep --older-than 7d")]
pub(crate) struct Sweep {
    /// How old a key has to be: the module can't tell whether a process elsewhere still uses it
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration)]
    older_than: Duration,
    /// Show the keys, and delete none
    #[arg(long)]
    dry_run: bool,
    /// Slot [default: all that have a token]
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    place: Place,
}

/// A key of a session that its process has left.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct LeftBehind {
    slot: u64,
    kid: String,
    /// The process and the host.
    maker: String,
    created: u64,
    /// Why it is still there, though it was to be deleted.
    failure: Option<FailedCall>,
}

impl Sweep {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("looking for keys of sessions");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let now = now.map_or(0, |since| since.as_secs());
        let task = Task::Sweep {
            slot: self.slot,
            pin: self.identity.pin()?,
            before: now.saturating_sub(self.older_than.as_secs()),
            is_trial: self.dry_run,
        };
        let told = self.place.ask(&task, &self.identity)?;
        let answer = &told.answer;
        let mut text = self.text(&answer.left_behind, now);
        let left = answer.left_behind.iter();
        let failures = left.filter_map(|key| Some((key.name(), key.failure.as_ref()?)));
        for (name, failure) in failures {
            text += &format!("\n{name} stays: {}\n", told.failure(failure));
        }
        for failure in &answer.failed_slots {
            text += &format!("\nnot swept: {}\n", told.failure(failure));
        }
        let stays = |key: &LeftBehind| key.failure.is_some();
        let is_good = answer.failed_slots.is_empty() && !answer.left_behind.iter().any(stays);
        Ok(Report {
            is_good,
            ..Report::new(text, self.json(&told))
        })
    }

    fn text(&self, keys: &[LeftBehind], now: u64) -> String {
        if keys.is_empty() {
            return format!(
                "No session has left a key behind that is older than {}.\n",
                format_duration(self.older_than)
            );
        }
        let rows = keys.iter().map(|key| {
            let what = match (&key.failure, self.dry_run) {
                (Some(_), _) => "can't be deleted",
                (None, true) => "would be deleted",
                (None, false) => "deleted; akv keys recover takes it back",
            };
            key.row(now, what)
        });
        table(&["slot", "name", "made by", "age", "what"], rows.collect())
    }

    /// The keys, then the slots whose keys could not be looked for.
    fn json(&self, told: &Told) -> Value {
        let problem = |failure: &FailedCall| one_line(&told.failure(failure));
        let keys = told.answer.left_behind.iter().map(|key| {
            json!({
                "slot": key.slot, "kid": key.kid, "name": key.name(), "maker": key.maker,
                "created": key.created, "deleted": !self.dry_run && key.failure.is_none(),
                "problem": key.failure.as_ref().map(problem),
            })
        });
        let slots = told.answer.failed_slots.iter();
        let slots = slots.map(|failure| json!({"slot": failure.slot, "problem": problem(failure)}));
        keys.chain(slots).collect()
    }
}

impl LeftBehind {
    fn name(&self) -> &str {
        name_in(&self.kid)
    }

    fn row(&self, now: u64, what: &str) -> Vec<String> {
        let age = Duration::from_secs(now.saturating_sub(self.created));
        vec![
            self.slot.to_string(),
            self.name().to_owned(),
            self.maker.clone(),
            format_duration(age).to_string(),
            what.to_owned(),
        ]
    }
}

/// Deletes the keys of other processes' sessions that were made before a time, or only finds them.
/// One that can't be deleted is no reason to leave the others.
pub(super) fn sweep(
    session: &Session,
    slot: u64,
    before: u64,
    is_trial: bool,
) -> Result<Vec<LeftBehind>, FailedCall> {
    let mut found = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        let marked = Attribute::VendorDefined((MAKER, Vec::new()));
        for object in session.find_objects(&[Attribute::Class(class), marked])? {
            found.push((object, left_behind(session, slot, object)?));
        }
    }
    found.retain(|(_, key)| key.created <= before);
    if !is_trial {
        for (object, key) in &mut found {
            let deleted = session.destroy_object(*object).map_err(FailedCall::from);
            key.failure = deleted.err().map(|failure| failure.about(key.name()));
        }
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// What an object says of its key.
fn left_behind(
    session: &Session,
    slot: u64,
    object: ObjectHandle,
) -> Result<LeftBehind, FailedCall> {
    let shown = [AttributeType::UniqueId, MAKER, CREATED];
    let mut key = LeftBehind {
        slot,
        kid: String::new(),
        maker: String::new(),
        created: u64::MAX,
        failure: None,
    };
    for attribute in session.get_attributes(object, &shown)? {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match attribute {
            Attribute::UniqueId(id) => key.kid = kid_of(&text(&id)).to_owned(),
            Attribute::VendorDefined((MAKER, maker)) => key.maker = text(&maker),
            Attribute::VendorDefined((CREATED, time)) => {
                let time = <[u8; size_of::<u64>()]>::try_from(&time[..]);
                key.created = time.map_or(u64::MAX, u64::from_ne_bytes);
            }
            _ => {}
        }
    }
    Ok(key)
}
