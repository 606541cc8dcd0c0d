//! `akv man`: a manual page for each command, with what all of them have in common, and those of
//! what programs load.

pub(crate) mod markdown;
mod pages;

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
use managed_hsm::ProviderSettings;
use serde_json::json;

use self::pages::PAGES;
use crate::Arguments;
use crate::failure::{Failure, STATUSES};
use crate::output::Report;
use crate::pkcs11::offload::Tool;

/// Variables that are no settings.
const VARIABLES: [(&str, &str); 4] = [
    (
        "OPENSSL_CONF",
        "the openssl.cnf whose section of the provider has settings, instead of OpenSSL's own",
    ),
    ("RUST_LOG", "what is logged, as env_logger has it"),
    ("NO_COLOR", "with any value, no colours on a terminal"),
    (
        "MHSM_PKCS11_CONF",
        "the configuration file of the PKCS#11 module, for akv pkcs11 and akv doctor --pkcs11",
    ),
];

/// Variables of the TLS Offload Library's tools.
const OF_TOOLS: [(&str, &str); 3] = [
    ("MHSM_CLIENT_ID", "the application that asks the HSM"),
    ("MHSM_CLIENT_SECRET", "its secret"),
    (
        "MHSM_PKCS11_CONF",
        "the configuration file of the PKCS#11 module",
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
#[command(after_help = "Example:\n  akv man /usr/local/share/man")]
pub(crate) struct Man {
    /// Folder to write man1/akv.1, man1/akv-doctor.1, man7/akv_provider.7 and so on to
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let mut root = Arguments::command().disable_help_subcommand(true);
        root.build();
        let mut count = self.write(&root, &[])?;
        for mut tool in Tool::commands() {
            tool.build();
            let path = self.page(tool.get_name(), 1)?;
            write_tool(&path, &tool).map_err(|error| Failure::write(&path, error))?;
            count += 1;
        }
        for page in &PAGES {
            let path = self.page(page.name, page.section)?;
            let written = page.write(&path);
            written.map_err(|error| Failure::write(&path, error))?;
            count += 1;
        }
        let about = json!({ "folder": self.folder, "pages": count });
        Ok(Report::new("", about))
    }

    /// The file of a page, in a folder that is there.
    fn page(&self, name: &str, section: u8) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(format!("man{section}"));
        std::fs::create_dir_all(&folder).map_err(|error| Failure::write(&folder, error))?;
        Ok(folder.join(format!("{name}.{section}")))
    }

    /// Writes the pages of a command and of all below it. `above`: the pages of those above it.
    fn write(&self, command: &Command, above: &[String]) -> Result<usize, Failure> {
        let name = page_name(command);
        let path = self.page(name, 1)?;
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
    let mut text = usage(command)?;
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
    write_text(path, page_name(command), 1, &text)
}

/// The page of a tool of the TLS Offload Library, which is a link to `akv`.
fn write_tool(path: &Path, tool: &Command) -> std::io::Result<()> {
    let mut text = usage(tool)?;
    let mut rest = Roff::new();
    rest.control("SH", ["EXIT STATUS"]);
    entries(&mut rest, &[("0", "done"), ("1", "not done")]);
    rest.control("SH", ["ENVIRONMENT"]);
    entries(&mut rest, &OF_TOOLS);
    examples(&mut rest, tool);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([
        bold("akv-pkcs11"),
        roman("(1), "),
        bold("mhsm-pkcs11.conf"),
        roman("(5), "),
        bold("akv_pkcs11"),
        roman("(7)"),
    ]);
    rest.to_writer(&mut text)?;
    write_text(path, tool.get_name(), 1, &text)
}

/// What clap says of a command.
fn usage(command: &Command) -> std::io::Result<Vec<u8>> {
    let page = Page::new(command.clone());
    let mut text = Vec::new();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    Ok(text)
}

/// Writes a page with its title. Without a date: pages of the same program are the same, whenever
/// they are written.
fn write_text(path: &Path, name: &str, section: u8, text: &[u8]) -> std::io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let name = name.to_uppercase();
    let title = format!(".TH {name} {section} \"\" \"akv {version}\" \"akv\"\n");
    // clap_mangen leaves a line by two breaks around an empty one.
    let text = String::from_utf8_lossy(text).replace("\n.br\n\n.br\n", "\n.sp\n");
    std::fs::write(path, title + &text)
}

/// The settings of the provider, by their variables.
fn settings(roff: &mut Roff) {
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
}

/// ENVIRONMENT and FILES.
fn surroundings(roff: &mut Roff) {
    roff.control("SH", ["ENVIRONMENT"]);
    settings(roff);
    entries(roff, &VARIABLES);
    roff.control("SH", ["FILES"]);
    entries(roff, &FILES);
}

fn entries(roff: &mut Roff, all: &[(&str, &str)]) {
    for (name, meaning) in all {
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
    let shown = text.lines().skip_while(|line| line.starts_with("Example"));
    let shown = shown.map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines(roff, "EXAMPLES", shown);
}

/// A section of lines that stay as they are.
fn lines<'a>(roff: &mut Roff, heading: &str, all: impl Iterator<Item = &'a str>) {
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in all {
        roff.text([roman(line)]);
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
    if above.is_empty() {
        for page in &PAGES {
            words.push(bold(page.name));
            words.push(roman(format!("({}), ", page.section)));
        }
    }
    words.push(bold("provider"));
    words.push(roman("(7)"));
    roff.text(words);
}
