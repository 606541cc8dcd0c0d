//! HTTP over TLS connections that are kept: one by HTTP/1.1 carries one request at a time, one by
//! HTTP/2 many.
//!
//! hyper does the talking. A request here is only sent and answered: no redirects, no repetitions
//! but where a kept connection turns out to be closed before anything of the request was sent.

pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod driver;
pub(crate) mod exchange;
pub(crate) mod failure;
pub(crate) mod host;
mod liveness;
pub(crate) mod message;
mod obstacle;
