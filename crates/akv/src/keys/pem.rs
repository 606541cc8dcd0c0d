//! `akv keys pem`: key files.

use clap::Args;
use hsm_keys::key_file::KeyFile;
use managed_hsm::KeyUri;
use serde_json::json;

use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Example:\n  akv keys pem managedhsm:MyHSM:web --out web.key.pem")]
pub(crate) struct Pem {
    /// The key
    uri: KeyUri,
    #[command(flatten)]
    out: Out,
    /// Write the URI and nothing else, without asking the HSM: whoever reads the file asks for the
    /// key, of the newest version unless the URI names one
    #[arg(long)]
    uri_only: bool,
}

impl Pem {
    /// Asks for the key, whose version and public part the file is to hold.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let file = match self.uri_only {
            false => {
                let key = Session::start()?.client.get_key(&self.uri)?.into();
                KeyFile::of(&key).ok_or(hsm_keys::Error::MissingPrivateKey)?
            }
            true => {
                // What an identifier says of the cloud isn't in the file.
                if self.uri.vault.is_by_identifier() {
                    Session::start()?.settings.address(&self.uri.vault)?;
                }
                KeyFile::Uri(self.uri.clone())
            }
        };
        let about = json!({ "key": file.uri().to_string() });
        files::deliver_text(file.pem(), "pem", &self.out, about)
    }
}
