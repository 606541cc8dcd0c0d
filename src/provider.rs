//! The provider context: what `OSSL_provider_init` makes and every other function gets back.

use std::sync::OnceLock;

use hsm_keys::key_file::KeyFile;
use hsm_keys::{Key, KeyType};
use hsm_module::ClientInUse;
use hsm_module::pipe_signal::Blocked;
use hsm_module::process;
use managed_hsm::Client;

use crate::configuration::{Configuration, Section};
use crate::error::Error;
use crate::openssl::core::Core;
use crate::openssl::neighbour::Neighbours;
use crate::openssl::params::ParamTable;

/// One loaded provider, in one OpenSSL library context.
pub(crate) struct Provider {
    /// OpenSSL's upcalls.
    pub(crate) core: Core,
    /// The providers that software keys are left to.
    pub(crate) neighbours: Neighbours,
    /// What `openssl.cnf` says.
    pub(crate) section: Section,
    /// OpenSSL's version: major and minor.
    pub(crate) core_version: (u32, u32),
    /// Whether a generator of random bytes is offered.
    pub(crate) offers_random: bool,
    /// Whether the algorithms have the property `fips=yes`.
    pub(crate) assume_fips: bool,
    /// What keys of each type can be made with, here or by another provider; made when first asked
    /// for.
    pub(crate) generation_params: [OnceLock<ParamTable>; 6],
    configuration: OnceLock<Configuration>,
    client: OnceLock<Client>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

impl Provider {
    /// A context that has started nothing yet.
    pub(crate) fn new(core: Core, neighbours: Neighbours, section: Section) -> Self {
        let core_version = core.version();
        #[cfg(fuzzing)]
        let core_version = crate::openssl::fuzzing::version(core_version);
        Self {
            core,
            neighbours,
            core_version,
            offers_random: section.offers_random(),
            assume_fips: section.assume_fips(),
            section,
            generation_params: Default::default(),
            configuration: OnceLock::new(),
            client: OnceLock::new(),
        }
    }

    /// The settings, read and checked at first use.
    pub(crate) fn configuration(&self) -> Result<&Configuration, Error> {
        if let Some(configuration) = self.configuration.get() {
            return Ok(configuration);
        }
        let configuration = Configuration::read(&self.section, &self.core.configured_keys())?;
        Ok(self.configuration.get_or_init(|| configuration))
    }

    /// Whether OpenSSL will take a key that is about to be loaded: the default properties, or a
    /// query of the caller's own, may leave out our key management.
    ///
    /// # Errors
    /// The default properties or the query leave our key management out. OpenSSL would only say
    /// that it found nothing.
    pub(crate) fn check_query(&self, query: Option<&str>) -> Result<(), Error> {
        match self.neighbours.finds_ours(query) {
            true => Ok(()),
            false => Err(Error::LeftOut),
        }
    }

    /// Loads a key. The HSM is asked for what the file doesn't tell.
    pub(crate) fn load(&self, file: &KeyFile) -> Result<Key, Error> {
        let key = file.load(&*self.client()?)?;
        match key.public.key_type() {
            KeyType::MlDsa(set) if self.core_version < (3, 5) => Err(Error::OldOpenSsl {
                key_type: set.name(),
                needed: "3.5",
                version: self.core_version,
            }),
            _ => Ok(key),
        }
    }

    /// Has the HSM show that the public part of a key is its own, unless it has.
    pub(crate) fn prove(&self, key: &Key) -> Result<(), Error> {
        match key.is_proven() {
            true => Ok(()),
            false => Ok(key.prove(&*self.client()?)?),
        }
    }

    /// The client, made at first use, for the requests of one operation.
    pub(crate) fn client(&self) -> Result<ClientInUse<'_>, Error> {
        ClientInUse::new(|| self.made_client())
    }

    /// Lets go of connections and tokens.
    pub(crate) fn close(&self) {
        if let Some(client) = self.client.get() {
            let _blocked = Blocked::new();
            client.close();
        }
    }

    fn made_client(&self) -> Result<&Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        process::start_log(self.section.log()?, env!("CARGO_CRATE_NAME"))
            .map_err(Error::Settings)?;
        let settings = self.configuration()?.client.clone();
        #[cfg(target_os = "linux")]
        let made = Client::called_by(settings, self.core.jobs());
        #[cfg(not(target_os = "linux"))]
        let made = Client::new(settings);
        Ok(self.client.get_or_init(|| made))
    }
}
