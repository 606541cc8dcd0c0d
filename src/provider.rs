//! The provider context: what `OSSL_provider_init` makes and every other function gets back.

use std::sync::OnceLock;

use managed_hsm::{Client, Settings};

use crate::error::Error;
use crate::logging;
use crate::openssl::core::Core;
use crate::openssl::neighbour::Neighbours;

/// One loaded provider, in one OpenSSL library context.
pub(crate) struct Provider {
    /// OpenSSL's upcalls.
    pub(crate) core: Core,
    /// The providers that software keys are left to.
    pub(crate) neighbours: Neighbours,
    client: OnceLock<Client>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

impl Provider {
    /// A context that has started and read nothing yet.
    pub(crate) fn new(core: Core, neighbours: Neighbours) -> Self {
        Self {
            core,
            neighbours,
            client: OnceLock::new(),
        }
    }

    /// The client, made from the environment at first use.
    pub(crate) fn client(&self) -> Result<&Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        logging::start()?;
        let settings = Settings::from_env().map_err(Error::Settings)?;
        Ok(self.client.get_or_init(|| Client::new(settings)))
    }
}
