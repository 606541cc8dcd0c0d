//! DigestInfo and ECDSA-Sig-Value.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akv_provider::fuzzing::digest_info(data));
