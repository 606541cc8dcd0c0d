//! `akv keys delete` and `akv keys purge`.

use std::io::IsTerminal;

use azure_security_keyvault_keys::models::DeletedKey;
use clap::Args;
use managed_hsm::KeyUri;
use serde_json::json;

use super::description::{rfc3339, shown_time};
use super::unversioned;
use crate::failure::Failure;
use crate::output::{Report, lines};
use crate::progress::Spinner;
use crate::session::Session;
use crate::standard_error;

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys delete managedhsm:MyHSM:web")]
pub(crate) struct Delete {
    /// The key
    uri: KeyUri,
    /// Do not ask
    #[arg(long, short, visible_alias = "force")]
    yes: bool,
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys purge managedhsm:MyHSM:web")]
pub(crate) struct Purge {
    /// The deleted key
    uri: KeyUri,
    /// Do not ask
    #[arg(long, short, visible_alias = "force")]
    yes: bool,
}

impl Delete {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        unversioned(&self.uri)?;
        if !self.yes {
            let uri = &self.uri;
            let what =
                format!("Delete {uri} with all its versions? Whatever uses it stops working.");
            confirm(uri, &what, "deleted")?;
        }
        let _spinner = Spinner::start("deleting the key");
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management.keys.delete_key(self.uri.key.as_str(), None);
            answer.await?.into_model()
        };
        let key: DeletedKey = management.wait("delete key", &self.uri.to_string(), request)?;
        let json = json!({
            "key": self.uri.to_string(),
            "deleted": rfc3339(key.deleted_date),
            "purged": rfc3339(key.scheduled_purge_date),
        });
        let text = lines(&[
            ("Deleted", self.uri.to_string()),
            ("Purged", shown_time(key.scheduled_purge_date)),
            ("Until then", format!("akv keys recover {}", self.uri)),
        ]);
        Ok(Report::new(text, json))
    }
}

impl Purge {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        unversioned(&self.uri)?;
        if !self.yes {
            let uri = &self.uri;
            let what = format!("Purge {uri}? Nothing brings it back but a backup.");
            confirm(uri, &what, "purged")?;
        }
        let _spinner = Spinner::start("purging the key");
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management
                .keys
                .purge_deleted_key(self.uri.key.as_str(), None);
            answer.await.map(drop)
        };
        let uri = self.uri.to_string();
        management.wait("purge key", &uri, request)?;
        let text = lines(&[("Purged", uri.clone())]);
        Ok(Report::new(text, json!({ "key": uri })))
    }
}

/// Asks the person at the terminal. `done`: what is not done if the answer is another.
fn confirm(uri: &KeyUri, question: &str, done: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{uri} is not {done}: there is no terminal to ask at; give --yes, and it is"
        )));
    }
    standard_error::tell(format_args!("{question} Type its name: "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() == uri.key.as_str() {
        true => Ok(()),
        false => Err(Failure::told(format!("{uri} is not {done}"))),
    }
}
