//! The settings of an HSM.

use serde::{Deserialize, Serialize};

use super::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::unconfirmed;
use crate::store::SETTINGS;

/// The only one that was recorded.
const ALLOW_ARM: &str = "AllowKeyManagementOperationsThroughARM";

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Settings {
    settings: [Setting; 1],
}

#[derive(Deserialize)]
struct Update {
    value: Option<String>,
}

fn current(call: &Call<'_>) -> Setting {
    let value = call.store.document(SETTINGS, ALLOW_ARM);
    Setting {
        name: ALLOW_ARM,
        kind: "boolean",
        value: value.unwrap_or_else(|| "false".to_owned()),
    }
}

fn check(name: &str) -> Result<(), Failure> {
    match name.eq_ignore_ascii_case(ALLOW_ARM) {
        true => Ok(()),
        false => Err(Failure::invalid_setting()),
    }
}

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Failure> {
    Reply::ok(&Settings {
        settings: [current(call)],
    })
}

pub(super) fn get(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    check(name)?;
    Reply::ok(&current(call))
}

pub(super) fn update(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    check(name)?;
    let request: Update = call.parse()?;
    let value = request
        .value
        .ok_or_else(|| unconfirmed::missing_member("value"))?;
    if !["true", "false"].contains(&value.as_str()) {
        return Err(unconfirmed::setting_value(&value));
    }
    call.put(SETTINGS, ALLOW_ARM, &value)?;
    Reply::ok(&current(call))
}
