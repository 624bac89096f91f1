//! Runs [`varta_tests::fuzz::config::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::config::body(data));
