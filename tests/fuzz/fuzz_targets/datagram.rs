//! Runs [`varta_tests::fuzz::datagram::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varta_tests::fuzz::datagram::body(data));
