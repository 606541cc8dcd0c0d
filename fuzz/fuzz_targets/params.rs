//! Lists of OSSL_PARAM, read and answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akv_provider::fuzzing::params(data));
