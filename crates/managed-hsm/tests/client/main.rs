//! The client against an emulator in this process: what it sends, how often, on which connections,
//! and which error comes of what.
//!
//! Each test has an emulator of its own and looks at the requests that came there.
#![forbid(unsafe_code)]

mod administration;
mod ahead;
mod bringing;
mod connections;
mod deadlines;
mod endpoints;
mod errors;
mod faults;
mod hedging;
mod listing;
mod properties;
mod retries;
mod secure_wrap;
mod support;
mod tls;
mod token_service;
mod tokens;
mod versions;
