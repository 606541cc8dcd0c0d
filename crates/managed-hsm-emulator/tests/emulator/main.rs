//! Starts the built program on a folder of its own and talks to it as its clients do; `library` has it in this process.
#![forbid(unsafe_code)]

mod access;
mod authentication;
mod certificates;
mod command_line;
mod contract;
mod durability;
mod faults;
mod hosts;
mod identity;
mod keys;
mod library;
mod recorded_traffic;
mod release;
mod robustness;
mod running;
mod signatures;
mod transfer;
mod vaults;
