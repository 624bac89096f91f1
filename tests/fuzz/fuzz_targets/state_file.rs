//! Runs [`varta_tests::fuzz::state_file::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::state_file::body(data));
