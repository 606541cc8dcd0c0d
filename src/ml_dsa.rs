//! What a signature of ML-DSA may be told (EVP_SIGNATURE-ML-DSA(7)), and what hashes its message
//! then.

use std::ffi::CStr;

use hsm_keys::{Hasher, MlDsaPublicKey, given_mu};

use crate::error::{Error, Reason};
use crate::openssl::params::ParamsIn;

pub(crate) const CONTEXT_STRING: &CStr = c"context-string";
pub(crate) const MESSAGE_ENCODING: &CStr = c"message-encoding";
pub(crate) const MU: &CStr = c"mu";
pub(crate) const DETERMINISTIC: &CStr = c"deterministic";
pub(crate) const TEST_ENTROPY: &CStr = c"test-entropy";

/// Refuses a signature without random numbers, which the HSM has in each.
pub(crate) fn same_each_time(parameter: &CStr) -> Error {
    let parameter = parameter.to_string_lossy();
    Error::unsupported(
        Reason::Deterministic,
        format!("a signature that is the same each time ({parameter})"),
        "leave it out",
    )
}

/// The settings of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MlDsaSettings {
    context: Vec<u8>,
    /// Whether the context string is put before the message here; else that was done already.
    encodes: bool,
    /// Whether what comes is no message but μ of one.
    takes_mu: bool,
}

impl Default for MlDsaSettings {
    fn default() -> Self {
        Self {
            context: Vec::new(),
            encodes: true,
            takes_mu: false,
        }
    }
}

impl MlDsaSettings {
    /// These with what parameters say. What only matters to signatures is passed over otherwise.
    pub(crate) fn with(mut self, params: ParamsIn<'_>, is_signature: bool) -> Result<Self, Error> {
        if let Some(context) = params.octets(CONTEXT_STRING)? {
            if context.len() > hsm_keys::MAX_CONTEXT_LEN {
                return Err(hsm_keys::Error::ContextLength(context.len()).into());
            }
            self.context = context.to_vec();
        }
        let flag = |key| params.integer(key);
        match flag(MESSAGE_ENCODING)? {
            None => {}
            Some(encoding @ (0 | 1)) => self.encodes = encoding == 1,
            Some(other) => {
                return Err(Error::parameter(
                    "message-encoding",
                    format!("{other} is neither 0, as it is, nor 1, as FIPS 204 has it"),
                ));
            }
        }
        if let Some(mu) = flag(MU)? {
            self.takes_mu = mu != 0;
        }
        if is_signature && flag(DETERMINISTIC)?.is_some_and(|wanted| wanted != 0) {
            return Err(same_each_time(DETERMINISTIC));
        }
        if is_signature && params.is_there(TEST_ENTROPY) {
            return Err(Error::unsupported(
                Reason::Deterministic,
                "a signature by a random value that is given (test-entropy)",
                "leave it out",
            ));
        }
        Ok(self)
    }

    /// The parameter that is another than before.
    pub(crate) fn first_change(&self, before: &Self) -> &'static str {
        match (
            self.context == before.context,
            self.takes_mu == before.takes_mu,
        ) {
            (false, _) => "context-string",
            (true, false) => "mu",
            (true, true) => "message-encoding",
        }
    }

    /// What makes μ of a message that comes in pieces.
    pub(crate) fn hasher(&self, key: &MlDsaPublicKey) -> Result<Hasher, Error> {
        Ok(match (self.takes_mu, self.encodes) {
            (true, _) => given_mu(),
            (false, true) => key.hasher(&self.context)?,
            (false, false) => key.bare_hasher(),
        })
    }
}
