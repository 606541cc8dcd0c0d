//! `akv keys pem`: key files.

use clap::Args;
use hsm_keys::key_file;
use managed_hsm::KeyUri;
use serde_json::json;

use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys pem managedhsm:MyHSM:web --pin --out web.key.pem")]
pub(crate) struct Pem {
    /// The key
    uri: KeyUri,
    #[command(flatten)]
    out: Out,
    /// Ask the HSM for the newest version, and name it in the file
    #[arg(long)]
    pin: bool,
}

impl Pem {
    /// Asks no HSM, unless a version is to be found.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let uri = match self.pin {
            true => Session::start()?.client.get_key(&self.uri)?.id.into(),
            false => {
                // What an identifier says of the cloud isn't in the file.
                if self.uri.vault.is_by_identifier() {
                    Session::start()?.settings.address(&self.uri.vault)?;
                }
                self.uri.clone()
            }
        };
        let pem = key_file::pem(&uri);
        let about = json!({ "key": uri.to_string() });
        files::deliver_text(pem, "pem", &self.out, about)
    }
}
