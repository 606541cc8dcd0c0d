//! `akv env`: the OpenSSL configuration for the current settings.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use managed_hsm::{LogSettings, ProviderSettings, Setting, Settings};
use serde_json::json;

use crate::configuration::PROVIDER;
use crate::failure::Failure;
use crate::openssl;
use crate::output::Report;

#[derive(Args)]
#[command(after_help = "Example:\n  akv env > akv.cnf; export OPENSSL_CONF=$PWD/akv.cnf")]
pub(crate) struct Env {
    /// Path of the provider's module, for when it is not in OpenSSL's module folder
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

impl Env {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        // What can't be used is not to be written down.
        Settings::from_env()?;
        ProviderSettings::read(Setting::from_env)?;
        LogSettings::read(Setting::from_env)?;
        let mut settings = Vec::new();
        let mut secrets = Vec::new();
        for setting in ProviderSettings::all() {
            if let Some((value, _)) = setting.from_env()? {
                match setting.key {
                    Some(key) if !holds_password(setting, &value) => settings.push((key, value)),
                    _ => secrets.push(setting.variable),
                }
            }
        }
        let module = match &self.module {
            Some(path) => Some(std::path::absolute(path).map_err(|e| Failure::read(path, e))?),
            None => openssl::module_outside_the_default_folder(PROVIDER),
        };
        let text = configuration(module.as_ref(), &settings, &secrets);
        let about = json!({
            "configuration": text,
            "settings": settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value)))
                .collect::<serde_json::Map<_, _>>(),
            "environment_only": secrets,
            "module": module,
        });
        Ok(Report::new(text, about))
    }
}

/// Whether a proxy's address has a password in it.
fn holds_password(setting: &Setting, value: &str) -> bool {
    setting.variable == "HTTPS_PROXY" && value.contains('@')
}

fn configuration(
    module: Option<&PathBuf>,
    settings: &[(&'static str, String)],
    secrets: &[&'static str],
) -> String {
    // `openssl x509` of OpenSSL 4.0 takes the top of a file for extensions unless it names a
    // section of them.
    let mut text = format!(
        "openssl_conf = openssl_init\nextensions = none\n\n[none]\n\n[openssl_init]\nproviders = provider_sect\n\n\
         [provider_sect]\ndefault = default_sect\n{PROVIDER} = akv_sect\n\n[default_sect]\nactivate = 1\n\n[akv_sect]\n"
    );
    if let Some(path) = module {
        let _ = writeln!(text, "module = {}", quoted(&path.display().to_string()));
    }
    text.push_str("activate = 1\n");
    for (key, value) in settings {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    }
    for variable in secrets {
        let _ = writeln!(
            text,
            "# {variable} stays in the environment: it is a secret"
        );
    }
    text
}

/// A value as config(5) wants it.
pub(crate) fn quoted(value: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./:=@,+*".contains(character);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = String::new();
    for character in value.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' | '"' | '\'' | '`' | '#' | '$' | ' ' | ';' => quoted.extend(['\\', character]),
            other => quoted.push(other),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_openssl_reads_them_back() {
        assert_eq!(quoted("/etc/ssl/ca.pem"), "/etc/ssl/ca.pem");
        assert_eq!(quoted("/a b#c$d"), "/a\\ b\\#c\\$d");
        assert_eq!(quoted("a=b\nc=`d`\t"), "a=b\\nc=\\`d\\`\\t");
    }

    #[test]
    fn secrets_are_named_and_not_written() {
        let text = configuration(
            Some(&PathBuf::from("/m/akv_provider.so")),
            &[("endpoint", "https://localhost:1".to_owned())],
            &["AZURE_CLIENT_SECRET"],
        );
        assert!(text.contains("module = /m/akv_provider.so\n"), "{text}");
        assert!(text.contains("endpoint = https://localhost:1\n"), "{text}");
        assert!(text.contains("# AZURE_CLIENT_SECRET stays"), "{text}");
    }
}
