//! The bodies of answers: keys, signatures, pages, random bytes, errors.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| managed_hsm::fuzzing::answers(data));
