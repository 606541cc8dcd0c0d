//! What all commands share: settings, and the clients that they make.

use std::sync::Arc;

use managed_hsm::{Client, Feature, KeyUri, Service, Settings, UriError, Vault};

use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::management::Management;

/// Settings and a client that has done nothing yet.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) client: Arc<Client>,
}

impl Session {
    /// With the settings that the provider would have here.
    pub(crate) fn start() -> Result<Self, Failure> {
        let configuration = Configuration::load();
        configuration.start_log(None)?;
        Ok(Self::with(configuration.settings()?))
    }

    /// With given settings.
    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            client: Arc::new(Client::new(settings.clone())),
            settings,
        }
    }

    /// Management of the keys of a vault.
    pub(crate) fn management(&self, vault: &Vault) -> Result<Management, Failure> {
        Management::new(&self.settings, &self.client, vault)
    }

    /// The same for an operation with a key that needs a version of the API with these features.
    pub(crate) fn management_with(
        &self,
        features: impl IntoIterator<Item = Feature>,
        operation: &'static str,
        uri: &KeyUri,
    ) -> Result<Management, Failure> {
        let mut settings = self.settings.clone();
        for feature in features {
            let needed = self.client.require(feature, operation, &uri.to_string())?;
            settings.api_version = settings.api_version.clone().max(needed);
        }
        Management::new(&settings, &self.client, &uri.vault)
    }
}

/// An HSM's name on the command line, where a key vault has no such thing.
pub(crate) fn managed_hsm(text: &str) -> Result<Vault, String> {
    let vault: Vault = text.parse().map_err(|error: UriError| error.to_string())?;
    only_hsm(&vault)?;
    Ok(vault)
}

/// That what is named is an HSM, where a key vault has no such thing.
pub(crate) fn only_hsm(vault: &Vault) -> Result<(), String> {
    match vault.service {
        Service::ManagedHsm => Ok(()),
        Service::KeyVault => Err(format!(
            "{vault} is a key vault, whose roles and settings Azure Resource Manager keeps: use 'az role assignment' \
             and 'az keyvault update'"
        )),
    }
}
