//! What a client and its front end are told, and by whom.

pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod front_end;
mod metrics;
pub(crate) mod origin;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod setting;
