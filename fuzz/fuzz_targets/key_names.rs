//! Names of lock files (F8): no two keys have one, and none leaves its directory.
#![no_main]

use locks_core::check_key;

#[path = "../../locks-file/src/name.rs"]
mod name;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // As a name that stands in the directory of locks, whoever has put it there.
    if let name::Named::Key(key) = name::to_key(text) {
        assert_eq!(name::of_key(&key), text);
    }
    if check_key(text).is_err() {
        return;
    }
    let name = name::of_key(text);
    assert!(name.len() <= 255 && !name.starts_with('.') && name.ends_with(name::SUFFIX), "{name}");
    assert!(
        !name.contains(['/', '\0']) && name.to_lowercase() == name && name.is_ascii(),
        "{name}"
    );
    match name::to_key(&name) {
        name::Named::Key(key) => assert_eq!(key, text),
        name::Named::Hashed => assert!(name::is_hashed(&name)),
        name::Named::Other => panic!("`{name}` is said to be no lock file"),
    }
});
