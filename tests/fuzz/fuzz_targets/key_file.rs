//! Runs [`varta_tests::fuzz::key_file::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::key_file::body(data));
