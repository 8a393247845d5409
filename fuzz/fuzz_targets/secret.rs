#![no_main]

use locks_net::Secret;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(secret) = Secret::parse(text) {
        assert_eq!(*secret.to_text(), text.trim_ascii().to_lowercase());
    }
});
