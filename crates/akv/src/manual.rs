//! `akv man`: a manual page for each command, with what all of them have in common.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
use managed_hsm::ProviderSettings;
use serde_json::json;

use crate::Arguments;
use crate::failure::{Failure, STATUSES};
use crate::output::Report;

/// Variables that are no settings.
const VARIABLES: [(&str, &str); 4] = [
    (
        "OPENSSL_CONF",
        "the openssl.cnf whose section of the provider has settings, in the place of OpenSSL's own",
    ),
    ("RUST_LOG", "what is logged, as env_logger has it"),
    ("NO_COLOR", "with any value, no colours on a terminal"),
    (
        "MHSM_PKCS11_CONF",
        "the configuration file of the PKCS#11 module, for akv pkcs11 and akv doctor --pkcs11",
    ),
];

/// Files that are read without being named.
const FILES: [(&str, &str); 3] = [
    (
        "openssl.cnf",
        "settings, in the provider's section; the folder is what 'openssl version -d' says",
    ),
    (
        "akv_provider.so",
        "the provider, in OpenSSL's module folder; looked at by akv doctor alone",
    ),
    (
        "/etc/mhsm-pkcs11.conf",
        "settings of the PKCS#11 module, for akv pkcs11 alone",
    ),
];

#[derive(Args)]
#[command(after_help = "Example:\n  akv man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder to write akv.1, akv-doctor.1 and so on to
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| Failure::write(&self.folder, error))?;
        let mut root = Arguments::command().disable_help_subcommand(true);
        root.build();
        let count = self.write(&root, &[])?;
        let about = json!({ "folder": self.folder, "pages": count });
        Ok(Report::new("", about))
    }

    /// Writes the pages of a command and of all below it. `above`: the pages of those above it.
    fn write(&self, command: &Command, above: &[String]) -> Result<usize, Failure> {
        let name = page_name(command);
        let path = self.folder.join(format!("{name}.1"));
        write_page(&path, command, above).map_err(|error| Failure::write(&path, error))?;
        let above = [above, &[name.to_owned()]].concat();
        let below = command.get_subcommands().filter(|one| !one.is_hide_set());
        let below: Result<Vec<usize>, Failure> = below.map(|one| self.write(one, &above)).collect();
        Ok(1 + below?.iter().sum::<usize>())
    }
}

/// What the page of a command is called: akv-keys-list.
fn page_name(command: &Command) -> &str {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name())
}

fn write_page(path: &Path, command: &Command, above: &[String]) -> std::io::Result<()> {
    let page = Page::new(command.clone());
    // Without a date: pages of the same program are the same, whenever they are written.
    let name = page_name(command);
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(
        ".TH {} 1 \"\" \"akv {version}\" \"akv\"\n",
        name.to_uppercase()
    );
    let mut text = title.into_bytes();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    rest.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in STATUSES {
        entry(&mut rest, &status.to_string(), meaning);
    }
    match above.is_empty() {
        true => surroundings(&mut rest),
        false => {
            rest.control("SH", ["ENVIRONMENT"]);
            rest.text([
                roman("Settings, credentials and files are those of "),
                bold("akv"),
                roman("(1)."),
            ]);
        }
    }
    examples(&mut rest, command);
    see_also(&mut rest, command, above);
    rest.to_writer(&mut text)?;
    std::fs::write(path, text)
}

/// ENVIRONMENT and FILES.
fn surroundings(roff: &mut Roff) {
    roff.control("SH", ["ENVIRONMENT"]);
    for setting in ProviderSettings::all() {
        let default = match setting.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        entry(
            roff,
            setting.variable,
            &format!("{}{default}", setting.meaning()),
        );
    }
    for (name, meaning) in VARIABLES {
        entry(roff, name, meaning);
    }
    roff.control("SH", ["FILES"]);
    for (name, meaning) in FILES {
        entry(roff, name, meaning);
    }
}

fn entry(roff: &mut Roff, name: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(meaning)]);
}

/// The help's examples, in their lines.
fn examples(roff: &mut Roff, command: &Command) {
    let text = command.get_after_help().map(ToString::to_string);
    let Some(text) = text else { return };
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    let lines = text.lines().skip_while(|line| line.starts_with("Example"));
    for line in lines {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
}

fn see_also(roff: &mut Roff, command: &Command, above: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    let below = command.get_subcommands().filter(|one| !one.is_hide_set());
    let below = below.map(|one| page_name(one).to_owned());
    let pages = above.iter().cloned().chain(below);
    let mut words = Vec::new();
    for page in pages.chain(["openssl".to_owned()]) {
        words.push(bold(page));
        words.push(roman("(1), "));
    }
    words.push(bold("provider"));
    words.push(roman("(7)"));
    roff.text(words);
}
