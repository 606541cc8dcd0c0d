//! OpenSSL of this machine: its version, the provider's module, whether it loads, and whether
//! `openssl.cnf` activates it.

use std::path::PathBuf;

use managed_hsm::ConfigurationFile;
use serde_json::json;

use super::steps::{Status, Steps};
use crate::configuration::{Configuration, PROVIDER};
use crate::openssl::{self, Providers};
use crate::output::one_line;

pub(crate) fn check(steps: &mut Steps, configuration: &Configuration) {
    if !version(steps) {
        steps.skip("module", "there is no OpenSSL that could load it");
        return;
    }
    if !module(steps, configuration) {
        steps.skip("provider", "there is no module that could be loaded");
    } else if !provider(steps) {
        steps.skip("activation", "the provider does not load");
    } else {
        activation(steps, configuration);
    }
}

fn version(steps: &mut Steps) -> bool {
    const INSTALL: &str =
        "install OpenSSL 3.0 or newer, with its program, and put that program on PATH";
    steps.doing("running openssl");
    let output = match openssl::version(&[]) {
        Ok(output) => output,
        Err(error) => {
            let detail = format!("the program 'openssl' does not run: {error}");
            steps.add("openssl", Status::Failed, detail, INSTALL);
            return false;
        }
    };
    let text = one_line(&String::from_utf8_lossy(&output.stdout));
    let number = text.strip_prefix("OpenSSL ");
    let major = number.and_then(|number| number.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(3..) => {
            let version = number.and_then(|number| number.split(' ').next());
            steps.good_with("openssl", text.clone(), json!({ "version": version }));
            true
        }
        _ => {
            let detail = match text.is_empty() {
                true => format!("'openssl version' fails: {}", complaint(&output.stderr)),
                false => format!("{text} has no providers"),
            };
            steps.add("openssl", Status::Failed, detail, INSTALL);
            false
        }
    }
}

/// The first line of what a program complains of.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    // Where libcrypto says why a module does not load, that is the line to show.
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let reason = lines().find(|line| line.contains("could not load the shared library"));
    let line = reason
        .or_else(|| lines().next())
        .unwrap_or("no reason given");
    one_line(line)
}

fn module(steps: &mut Steps, configuration: &Configuration) -> bool {
    let Some(folder) = openssl::modules() else {
        steps.add(
            "module",
            Status::Failed,
            "'openssl version -m' does not say where modules are".to_owned(),
            "set OPENSSL_MODULES to the folder of the provider's module",
        );
        return false;
    };
    let named = configuration.value("module").map(PathBuf::from);
    let origin = match &named {
        Some(_) => "'module' in openssl.cnf",
        None if managed_hsm::environment::variable("OPENSSL_MODULES").is_some() => {
            "OPENSSL_MODULES"
        }
        None => "OpenSSL's module folder",
    };
    let path = folder.join(named.unwrap_or_else(|| openssl::module_name(PROVIDER).into()));
    match std::fs::File::open(&path) {
        Ok(_) => {
            let detail = format!("{} (by {origin})", path.display());
            steps.good_with("module", detail, json!({ "path": path }));
            true
        }
        Err(error) => {
            steps.add(
                "module",
                Status::Failed,
                format!("{} (by {origin}) can't be read: {error}", path.display()),
                "install the package openssl-provider-akv, or run ubuntubuild.sh in the project's \
                 sources; if the provider is in another folder, set OPENSSL_MODULES to it",
            );
            false
        }
    }
}

fn provider(steps: &mut Steps) -> bool {
    let arguments = [
        "list",
        "-providers",
        "-provider",
        PROVIDER,
        "-provider",
        "default",
    ];
    steps.doing("having openssl load the provider");
    let output = match openssl::run(&arguments) {
        Ok(output) => output,
        Err(error) => {
            let detail = format!("'openssl list' does not run: {error}");
            steps.add(
                "provider",
                Status::Failed,
                detail,
                "check the program on PATH, and which file OPENSSL_CONF names",
            );
            return false;
        }
    };
    let listed = Providers::read(&output);
    match listed.is_active(PROVIDER) {
        true => {
            let line = |name: &str| one_line(listed.field(PROVIDER, name).unwrap_or_default());
            let detail = format!("loads: {} {}", line("name"), line("version"));
            steps.good_with("provider", detail, json!({ "version": line("version") }));
            true
        }
        false => {
            steps.add(
                "provider",
                Status::Failed,
                format!("OpenSSL does not load it: {}", complaint(&output.stderr)),
                "install the provider (package openssl-provider-akv) that is built for this system and architecture, \
                 with all that 'ldd' shows it needs; if the message is about openssl.cnf, correct that file",
            );
            false
        }
    }
}

fn activation(steps: &mut Steps, configuration: &Configuration) {
    let output = openssl::run(&["list", "-providers"]);
    let listed = output.map_or_else(|_| Providers::default(), |output| Providers::read(&output));
    let file = configuration.file.as_ref();
    let file = file.map_or_else(
        || "openssl.cnf".to_owned(),
        |path| path.display().to_string(),
    );
    match (configuration.section.is_some(), listed.is_active(PROVIDER)) {
        (true, false) => steps.add(
            "activation",
            Status::Failed,
            format!("{file} names the provider and does not activate it"),
            "put 'activate = 1' into the provider's section",
        ),
        (_, true) if !listed.is_active("default") => steps.add(
            "activation",
            Status::Failed,
            format!("{file} activates the provider and not OpenSSL's own, so hashes and TLS are missing"),
            "name the default provider beside it, in a section with 'activate = 1'; 'akv env' prints such a file",
        ),
        (_, true) => steps.good("activation", format!("by {file}, for every program that reads it")),
        (false, false) => steps.add(
            "activation",
            Status::Warning,
            format!("{file} does not activate the provider: programs need options for it"),
            "give programs '-provider akv_provider -provider default', or a configuration file as 'akv env' prints it",
        ),
    }
}
