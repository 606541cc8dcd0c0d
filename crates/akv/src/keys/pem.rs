//! `akv keys pem`: key files.

use std::path::PathBuf;

use clap::Args;
use hsm_keys::key_file;
use managed_hsm::KeyUri;
use serde_json::json;

use crate::failure::Failure;
use crate::files;
use crate::output::Report;
use crate::session::Session;

#[derive(Args)]
pub(crate) struct Pem {
    /// The key
    uri: KeyUri,
    /// File to write instead of standard output (-); one that exists is left alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
        files::deliver_pem(pem, self.out.as_deref(), about)
    }
}
