//! A PKCS#11 module for keys in Azure Managed HSM and Key Vault.
//!
//! A program loads this library, finds `C_GetFunctionList` or `C_GetInterface` and from then on
//! calls the functions of the tables under [`ffi`]. Each of those converts its arguments and calls
//! an ordinary Rust function in the module of its family here: [`general`], [`slots`],
//! [`sessions`], [`objects`], [`signing`] and so on; nothing outside `ffi` handles a raw pointer.

#![deny(unsafe_code)]
// Its public functions are for programs in C; who reads these documents reads all of them.
#![allow(rustdoc::private_intra_doc_links)]

mod aes_size;
mod attributes;
mod call_time;
mod catalogue;
mod cause;
mod certificates;
mod ciphers;
mod configuration;
mod digests;
mod encrypting;
mod error;
#[allow(unsafe_code)]
mod ffi;
mod find;
mod fixed;
mod general;
mod import;
mod key_pairs;
mod locks;
mod login;
mod mac;
mod making;
mod mechanisms;
mod message;
mod message_encryption;
mod message_signing;
mod ml_dsa;
mod module;
mod oaep;
mod objects;
mod operation;
mod random;
mod rejection;
mod report;
mod rsa_aes;
mod rsa_size;
mod secret_keys;
mod sessions;
mod signing;
mod slots;
mod template;
mod token;
mod verifying;

#[cfg_attr(not(miri), global_allocator)]
static ALLOCATOR: hsm_module::Wiping = hsm_module::Wiping;
