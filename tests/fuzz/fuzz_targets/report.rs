//! Runs [`varta_tests::fuzz::report::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::report::body(data));
