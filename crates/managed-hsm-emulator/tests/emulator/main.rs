//! Starts the built program on a folder of its own and talks to it as its clients do; `library` has
//! it in this process.
#![forbid(unsafe_code)]

mod access;
mod audit;
mod authentication;
mod certificates;
mod command_line;
mod contract;
mod documentation;
mod durability;
mod ekm;
mod external_keys;
mod faults;
mod full_backups;
mod hosts;
mod http;
mod identity;
mod keys;
mod library;
mod limits;
mod ml_dsa;
mod recorded_traffic;
mod refusals;
mod release;
mod robustness;
mod role_lists;
mod running;
mod secure_wrap;
mod signatures;
mod transfer;
mod vaults;
mod versions;
