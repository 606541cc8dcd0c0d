//! `akv keys backup` and `akv keys restore`.

use std::path::PathBuf;

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::RestoreKeyParameters;
use clap::Args;
use managed_hsm::{KeyUri, Vault};
use serde_json::json;

use super::description::{Told, shown_as_named};
use super::unversioned;
use crate::failure::Failure;
use crate::files::{self, SecretOut};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys backup managedhsm:MyHSM:web --out web.backup")]
pub(crate) struct Backup {
    /// The key
    uri: KeyUri,
    #[command(flatten)]
    out: SecretOut,
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys restore managedhsm:MyHSM web.backup")]
pub(crate) struct Restore {
    /// managedhsm:<HSM> or keyvault:<vault>. An HSM takes the backups of those that have its
    /// security domain, a key vault those of its subscription and geography
    #[arg(value_name = "HSM OR VAULT")]
    vault: Vault,
    /// File with the backup; - is standard input
    file: PathBuf,
}

impl Backup {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("backing up the key");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management.keys.backup_key(self.uri.key.as_str(), None);
            answer.await?.into_model()
        };
        let uri = self.uri.to_string();
        let backup = management.wait("back up key", &uri, request)?.value;
        let backup = backup.filter(|backup| !backup.is_empty()).ok_or_else(|| {
            Failure::Answer(format!(
                "the answer of {} holds no backup: check that this address is a Managed HSM",
                self.uri.vault
            ))
        })?;
        files::deliver_secret(&backup, &self.out, json!({ "key": uri }))
    }
}

impl Restore {
    /// The key comes back by the name that it had.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("restoring the key");
        let backup = files::read(&self.file)?;
        let session = Session::start()?;
        let management = session.management(&self.vault)?;
        let request = async {
            let parameters = RestoreKeyParameters {
                key_backup: Some(backup.to_vec()),
            };
            let content: RequestContent<_> = parameters.try_into()?;
            Told::read(management.keys.restore_key(content, None).await?)
        };
        let key = management.wait("restore a key into", &self.vault.to_string(), request)?;
        shown_as_named(&self.vault, &key)
    }
}
