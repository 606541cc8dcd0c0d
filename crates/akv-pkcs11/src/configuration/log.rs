//! The log: as the environment says, else as the section `log` of the file does.

use std::path::PathBuf;

use log::LevelFilter;
use managed_hsm::{LogSettings, Origin, Setting};

use super::section::Section;
use crate::report;

/// Starts the log, once in a process.
pub(super) fn start(section: Option<&Section>) -> Result<(), String> {
    let mut settings = LogSettings::read(Setting::from_env).map_err(|error| error.to_string())?;
    if let Some(section) = section {
        let told = of_file(section)?;
        if settings.level.is_none() && settings.file.is_none() {
            // The file says nothing of how a line looks.
            (settings.level, settings.file) = (told.level, told.file);
        }
    }
    hsm_module::process::start_log(settings, env!("CARGO_CRATE_NAME"))
        .map_err(|error| error.to_string())
}

/// What the TLS Offload Library's section comes to: traces of any kind are `debug`.
fn of_file(section: &Section) -> Result<LogSettings, String> {
    let mut traces = false;
    if let Some(module) = section.section("module")? {
        for key in ["P11Interfaces", "FunctionLevelTrace"] {
            traces |= module.flag(key)?.unwrap_or(false);
        }
        if let Some(curl) = module.section("curl")? {
            let level = curl.text("Level")?;
            traces |= level.is_some_and(|level| !level.eq_ignore_ascii_case("off"));
            curl.flag("DisplayAsHex")?;
        }
    }
    let mut to_file = false;
    for name in ["flags", "flag"] {
        let Some(flags) = section.section(name)? else {
            continue;
        };
        to_file |= flags.flag("SendToFile")?.unwrap_or(false);
        for ignored in [
            "CloseFileAfterWrite",
            "SendToStdOut",
            "SendToStdErr",
            "IncludeProcessId",
            "IncludeThreadId",
        ] {
            flags.flag(ignored)?;
        }
        if flags.flag("IncludePINs")? == Some(true) {
            report::warning(&flags.problem(
                "IncludePINs",
                "it is not honoured: no secret is ever written to a log",
            ));
        }
    }
    let directory = section.text("directory")?;
    let file = directory.filter(|_| to_file && traces).map(|directory| {
        let name = format!("MHSM-PKCS11-{}.log", std::process::id());
        let origin = Origin::File {
            key: "directory".into(),
            file: section.file(),
        };
        (PathBuf::from(directory).join(name), origin)
    });
    Ok(LogSettings {
        level: traces.then_some(LevelFilter::Debug),
        file,
        ..LogSettings::default()
    })
}
