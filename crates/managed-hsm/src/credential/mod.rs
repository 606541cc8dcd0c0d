//! Credentials: who asks the service, and where tokens come from.
//!
//! azure_identity has the credentials of Entra ID and of the command-line tools, and no chain of
//! them; ours tries them in the order that Microsoft documents for its default credential, after
//! what is at hand without asking anybody.

mod answer;
mod certificate;
pub(crate) mod chain;
mod entra;
mod http;
pub(crate) mod kind;
mod managed_identity;
mod runtime;
pub(crate) mod source;
mod token_file;
mod tools;
