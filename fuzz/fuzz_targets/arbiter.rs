#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| locks_net::fuzzing::arbiter(bytes));
