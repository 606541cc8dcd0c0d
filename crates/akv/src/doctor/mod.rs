//! `akv doctor`: checks in the order in which things are needed, each with what to do where it
//! fails.

mod certificates;
mod credential;
mod keys;
mod library;
mod network;
mod steps;
mod timed;

use clap::Args;
use managed_hsm::{ConfigurationFile, ProviderSettings, Settings, StoreUri, Vault};

pub(crate) use self::credential::check as check_credential;
pub(crate) use self::keys::{Subject, latency};
pub(crate) use self::steps::{Status, Steps};
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::output::{OutputOptions, Report};
use crate::pkcs11;
use crate::session::Session;
use crate::token::any_hsm;

#[derive(Args)]
#[command(after_help = "Examples:
  akv doctor
  akv doctor managedhsm:MyHSM:web
  akv doctor --pkcs11 managedhsm:MyHSM -o json")]
pub(crate) struct Doctor {
    /// HSMs, key vaults and keys to check: managedhsm:<HSM>[:<key>] or keyvault:<vault>[:<key>].
    /// With each RSA or EC key something is signed, with each symmetric key something wrapped
    targets: Vec<StoreUri>,
    /// Requests for the latency with each key; 0 for none
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    samples: u16,
    /// Check the PKCS#11 module instead of OpenSSL and the provider
    #[arg(long)]
    pkcs11: bool,
}

impl Doctor {
    /// The report is bad if a check failed.
    pub(crate) fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        let mut steps = Steps::shown(output);
        steps.doing("reading the configuration");
        let configuration = Configuration::load();
        match self.pkcs11 {
            true => pkcs11::doctor(&mut steps)?,
            false => library::check(&mut steps, &configuration),
        }
        match checked_settings(&mut steps, &configuration) {
            Some(settings) => self.check_vaults(&mut steps, &settings, &configuration)?,
            None => steps.skip("credential", "the configuration can't be used"),
        }
        self.tell_untried(&mut steps);
        let table = steps.table();
        let mut report = steps.report();
        report.text += &format!("\nFor an issue:\n\n{table}");
        Ok(report)
    }

    /// What a reader may take for checked, and isn't.
    fn tell_untried(&self, steps: &mut Steps) {
        let has_key = |target: &StoreUri| matches!(target, StoreUri::Key(_));
        if !self.targets.is_empty() && !self.targets.iter().any(has_key) {
            steps.beside("a key: akv doctor managedhsm:<HSM>:<key> uses it once");
        }
        steps.beside(match self.pkcs11 {
            true => "OpenSSL and its provider: akv doctor without --pkcs11 looks at them",
            false => "the PKCS#11 module: akv doctor --pkcs11 looks at it",
        });
    }

    fn check_vaults(
        &self,
        steps: &mut Steps,
        settings: &Settings,
        configuration: &Configuration,
    ) -> Result<(), Failure> {
        let session = Session::with(settings.clone());
        if self.targets.is_empty() {
            steps.skip(
                "service",
                "no HSM is named: akv doctor managedhsm:<HSM>:<key> checks the way to it as well",
            );
            credential::check(steps, &session, &any_hsm(), None);
            return Ok(());
        }
        for vault in self.vaults() {
            if let Some(detail) = configuration.leads_elsewhere(settings, &vault) {
                steps.good("endpoint", detail);
            }
            let found = network::check(steps, settings, &vault)?;
            let token = credential::check(steps, &session, &vault, found.as_ref());
            for target in &self.targets {
                let StoreUri::Key(uri) = target else { continue };
                if !uri.vault.is_same(&vault) {
                    continue;
                }
                match (&found, &token) {
                    (None, _) => steps.skip("read-key", &format!("{vault} can't be reached")),
                    (_, None) => steps.skip("read-key", "there is no token that will do"),
                    (Some(_), Some(token)) => {
                        keys::check(steps, &session, uri, token, self.samples);
                    }
                }
            }
        }
        Ok(())
    }

    /// The HSMs and key vaults of all targets, each once.
    fn vaults(&self) -> Vec<Vault> {
        let mut vaults: Vec<Vault> = Vec::new();
        for target in &self.targets {
            let vault = match target {
                StoreUri::Key(uri) => &uri.vault,
                StoreUri::Vault(vault) => vault,
            };
            if !vaults.iter().any(|known| known.is_same(vault)) {
                vaults.push(vault.clone());
            }
        }
        vaults
    }
}

/// All settings, and the CA file among them.
fn checked_settings(steps: &mut Steps, configuration: &Configuration) -> Option<Settings> {
    let file = match &configuration.file {
        Some(file) => file.display().to_string(),
        None => "no openssl.cnf".to_owned(),
    };
    if let Some(problem) = &configuration.problem {
        let status = match managed_hsm::environment::variable("OPENSSL_CONF") {
            Some(_) => Status::Failed,
            None => Status::Warning,
        };
        steps.add(
            "configuration",
            status,
            problem.clone(),
            "set OPENSSL_CONF to a file that can be read, or unset it; 'akv env' prints one",
        );
        if status == Status::Failed {
            return None;
        }
    }
    let settings = configuration.settings().and_then(|settings| {
        configuration.check_provider()?;
        configuration.start_log(None)?;
        settings.tls()?;
        Ok(settings)
    });
    match settings {
        Err(error) => {
            steps.add(
                "configuration",
                Status::Failed,
                error.to_string(),
                "correct the setting, or remove it; 'akv docs configuration' says what each takes",
            );
            None
        }
        Ok(settings) => {
            let names = ProviderSettings::all().filter(|setting| {
                setting.from_env().is_ok_and(|found| found.is_some())
                    || setting
                        .key
                        .is_some_and(|key| configuration.value(key).is_some())
            });
            let names: Vec<&str> = names.map(|setting| setting.variable).collect();
            let set = match names.is_empty() {
                true => "all settings have their defaults".to_owned(),
                false => format!("set: {}", names.join(", ")),
            };
            steps.good("configuration", format!("{file}; {set}"));
            Some(settings)
        }
    }
}
