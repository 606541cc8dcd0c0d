//! An OpenSSL 3 provider for keys in Azure Managed HSM.
//!
//! OpenSSL loads this library, finds [`openssl::entry`]'s `OSSL_provider_init` and from then on
//! calls the functions of the dispatch tables under [`openssl`]. Each of those converts its
//! arguments and calls an ordinary Rust function in the module of the same name here; nothing
//! outside `openssl` handles a raw pointer.

#![deny(unsafe_code)]
// Its one public function is for OpenSSL; who reads these documents reads all of them.
#![allow(rustdoc::private_intra_doc_links)]

mod asym_cipher;
mod cipher;
mod configuration;
mod encoder;
mod error;
// Tests have it checked by the compiler.
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod generation;
mod key;
mod keymgmt;
mod ml_dsa;
mod names;
#[allow(unsafe_code)]
mod openssl;
mod provider;
mod signature;
mod signature_padding;
mod skey;
mod store;

#[cfg_attr(not(miri), global_allocator)]
static ALLOCATOR: hsm_module::Wiping = hsm_module::Wiping;
