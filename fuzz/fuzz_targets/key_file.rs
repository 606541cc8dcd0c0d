//! Key files: PEM to DER to a URI.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akv_provider::fuzzing::key_file(data));
