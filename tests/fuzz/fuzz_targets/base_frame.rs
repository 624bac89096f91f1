//! Runs [`varta_tests::fuzz::base_frame::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::base_frame::body(data));
