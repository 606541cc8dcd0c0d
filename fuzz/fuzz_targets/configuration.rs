//! Settings, as openssl.cnf has them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akv_provider::fuzzing::configuration(data));
