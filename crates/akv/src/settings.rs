//! `akv settings`: settings of an HSM that the service keeps.

use clap::{Args, Subcommand};
use managed_hsm::{ServiceSetting, ServiceSettingName, Vault};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Report, table};
use crate::progress::Spinner;
use crate::session::{Session, managed_hsm};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv settings list managedhsm:MyHSM
  akv settings set managedhsm:MyHSM \\
      AllowKeyManagementOperationsThroughARM true")]
pub(crate) enum Settings {
    /// List all settings of an HSM
    #[command(
        visible_alias = "ls",
        after_help = "Example:\n  akv settings list managedhsm:MyHSM"
    )]
    List(List),
    /// Show one setting of an HSM
    #[command(
        visible_alias = "show",
        after_help = "Example:
  akv settings get managedhsm:MyHSM \\
      AllowKeyManagementOperationsThroughARM"
    )]
    Get(Get),
    /// Change a setting of an HSM
    #[command(
        visible_alias = "update",
        after_help = "Example:
  akv settings set managedhsm:MyHSM \\
      AllowKeyManagementOperationsThroughARM true"
    )]
    Set(Set),
}

#[derive(Args)]
pub(crate) struct List {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_parser = managed_hsm)]
    hsm: Vault,
}

#[derive(Args)]
pub(crate) struct Get {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_parser = managed_hsm)]
    hsm: Vault,
    /// The setting, such as AllowKeyManagementOperationsThroughARM
    name: ServiceSettingName,
}

#[derive(Args)]
pub(crate) struct Set {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_parser = managed_hsm)]
    hsm: Vault,
    /// The setting, such as AllowKeyManagementOperationsThroughARM
    name: ServiceSettingName,
    /// Its value: true or false, where it is of the type boolean
    value: String,
}

impl Settings {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking the HSM for its settings");
        let client = Session::start()?.client;
        match self {
            Self::List(List { hsm }) => {
                let all = client.service_settings(hsm)?;
                let json = all.iter().map(json_of).collect();
                Ok(Report::new(text(&all), Value::Array(json)))
            }
            Self::Get(Get { hsm, name }) => Ok(one(client.service_setting(hsm, name)?)),
            Self::Set(Set { hsm, name, value }) => {
                Ok(one(client.set_service_setting(hsm, name, value)?))
            }
        }
    }
}

fn one(setting: ServiceSetting) -> Report {
    let json = json_of(&setting);
    Report::new(text(&[setting]), json)
}

fn json_of(setting: &ServiceSetting) -> Value {
    json!({ "name": setting.name, "type": setting.kind, "value": setting.value })
}

fn text(all: &[ServiceSetting]) -> String {
    let rows = all.iter().map(|setting| {
        let cells = [&setting.name, &setting.kind, &setting.value];
        cells.map(ToString::to_string).to_vec()
    });
    table(&["setting", "type", "value"], rows.collect())
}
