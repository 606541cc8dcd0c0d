//! `akv pkcs11 sweep`: keys that were made for a session and have outlived it, since its process
//! was ended before it could take them away.

use std::time::Duration;

use clap::Args;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use humantime::{format_duration, parse_duration};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calls::{FailedCall, Task};
use super::process::{Identity, Place};
use super::rows::name_in;
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::progress::Spinner;

/// The module's own attributes: who has made a key for a session, and when.
const MAKER: AttributeType = AttributeType::VendorDefined(0x8041_4b56);
const CREATED: AttributeType = AttributeType::VendorDefined(0x8041_4b57);

#[derive(Args)]
pub(crate) struct Sweep {
    /// How old a key has to be: the module can't tell whether a process elsewhere still uses it
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
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
        let keys = &told.answer.left_behind;
        let text = match keys.is_empty() {
            true => format!(
                "No session has left a key behind that is older than {}.\n",
                format_duration(self.older_than)
            ),
            false => {
                let what = match self.dry_run {
                    true => "would be deleted",
                    false => "deleted; akv keys recover takes it back",
                };
                let rows = keys.iter().map(|key| key.row(now, what));
                table(&["slot", "name", "made by", "age", "what"], rows.collect())
            }
        };
        let json = keys.iter().map(|key| {
            json!({
                "slot": key.slot, "kid": key.kid, "name": key.name(), "maker": key.maker,
                "created": key.created, "deleted": !self.dry_run,
            })
        });
        Ok(Report::new(text, json.collect()))
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
pub(super) fn sweep(
    session: &Session,
    slot: u64,
    before: u64,
    is_trial: bool,
) -> Result<Vec<LeftBehind>, FailedCall> {
    let mut swept = Vec::new();
    let mut found = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        let marked = Attribute::VendorDefined((MAKER, Vec::new()));
        found.extend(session.find_objects(&[Attribute::Class(class), marked])?);
    }
    for object in found {
        let shown = [AttributeType::UniqueId, MAKER, CREATED];
        let mut key = LeftBehind {
            slot,
            kid: String::new(),
            maker: String::new(),
            created: u64::MAX,
        };
        for attribute in session.get_attributes(object, &shown)? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            match attribute {
                Attribute::UniqueId(kid) => key.kid = text(&kid),
                Attribute::VendorDefined((MAKER, maker)) => key.maker = text(&maker),
                Attribute::VendorDefined((CREATED, time)) => {
                    let time = <[u8; size_of::<u64>()]>::try_from(&time[..]);
                    key.created = time.map_or(u64::MAX, u64::from_ne_bytes);
                }
                _ => {}
            }
        }
        if key.created > before {
            continue;
        }
        if !is_trial {
            session.destroy_object(object)?;
        }
        swept.push(key);
    }
    Ok(swept)
}
