//! Runs [`varta_tests::fuzz::metadata::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::metadata::body(data));
