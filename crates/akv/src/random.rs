//! `akv random`: random bytes of an HSM.

use clap::Args;
use managed_hsm::Vault;
use serde_json::json;

use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::{Session, managed_hsm};
use crate::signing::digits;

#[derive(Args)]
#[command(after_help = "Examples:
  akv random managedhsm:MyHSM
  akv random managedhsm:MyHSM --bytes 16 --hex
  akv random managedhsm:MyHSM --bytes 32 --out data.key")]
pub(crate) struct Random {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_parser = managed_hsm)]
    hsm: Vault,
    /// How many bytes
    #[arg(long, visible_alias = "count", value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    bytes: u32,
    /// Print hexadecimal digits and not base64
    #[arg(long, conflicts_with = "out")]
    hex: bool,
    #[command(flatten)]
    out: Out,
}

impl Random {
    /// They may become a secret: a file is readable for its owner only.
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for random bytes");
        let client = Session::start()?.client;
        let count = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let bytes = client.random_bytes(&self.hsm, count)?;
        let about = json!({ "hsm": self.hsm.to_string() });
        if self.hex {
            let digits = digits(&bytes);
            return files::deliver_text(format!("{digits}\n"), "value", &self.out, about);
        }
        files::deliver_private(&bytes, "value", &self.out, about)
    }
}
