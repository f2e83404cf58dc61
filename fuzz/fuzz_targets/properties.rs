#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kirin_fuzz::properties::run(data));
