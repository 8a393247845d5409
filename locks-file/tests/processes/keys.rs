//! Row 22: what a key may be, and what becomes of it in the directory.

use std::collections::BTreeMap;
use std::fs;

use locks_core::{ErrorKind, MAX_KEY_LEN};

use crate::directory::Directory;
use crate::peer::Peer;

/// Keys that are taken for one another, or for a way out, by a careless mapping.
fn alike() -> Vec<String> {
    let mut keys = Vec::from(
        [
            "a",
            "A",
            "aa",
            "aA",
            "Aa",
            "\u{e9}",
            "e\u{301}",
            "\u{c9}",
            "E\u{301}",
            "\u{df}",
            "ss",
            "\u{131}",
            "\u{130}",
            "i",
            "I",
            "\u{212a}",
            "k",
            "K",
            ".",
            "..",
            "...",
            "../a",
            "../../a",
            "/a",
            "/",
            "//",
            "./a",
            "a/",
            "a/b",
            "a\\b",
            "a\nb",
            "\n",
            "\t",
            " ",
            "  ",
            "a ",
            " a",
            "a.",
            ".a",
            "a:b",
            "a*b",
            "a?b",
            "a\"b",
            "a<b",
            "a>b",
            "a|b",
            "~",
            "~root",
            "$HOME",
            "`id`",
            "-rf",
            "--",
            "%",
            "%%",
            "%2f",
            "%2F",
            "%25",
            "a%2fb",
            "=",
            "_",
            "__",
            "CON",
            "nul.txt",
            "\u{1f512}",
            "\u{200b}",
            "\u{202e}a",
            "\u{feff}",
            "\u{7f}",
            "\u{1}",
            ".steal",
            "k.steal",
            "epoch",
            ".epoch",
            "epochs",
            ".epochs",
            "a.lock",
            "a.lock.lock",
            "lock",
            ".lock",
            "server.lock",
            "a.tmp",
            "a~",
        ]
        .map(str::to_owned),
    );
    for (one, other) in [("x", "y"), ("\u{e9}", "\u{c9}"), ("/", "\\"), ("X", "Y")] {
        let count = MAX_KEY_LEN / one.len();
        keys.extend([one.repeat(count), one.repeat(count - 1) + other]);
        keys.extend([one.repeat(100 / one.len()), one.repeat(255 / one.len())]);
        keys.extend([one.repeat(200 / one.len()), one.repeat(256 / one.len())]);
    }
    keys.push("\u{1f512}".repeat(MAX_KEY_LEN / 4));
    keys
}

/// Different names also where case or composition makes no difference, in the directory itself.
#[test]
fn row_22_keys_become_names_of_their_own_in_the_directory() {
    let directory = Directory::new();
    let client = directory.client();
    let mut names = BTreeMap::new();
    for key in alike() {
        let file = client.path_of(&key).unwrap();
        assert_eq!(file.parent(), Some(client.directory()), "F8: `{key}` is elsewhere");
        assert_eq!(file, client.path_of(&key).unwrap(), "F8: `{key}` moves");
        let name = file.file_name().unwrap().to_str().expect("names are text").to_owned();
        assert!(name.len() <= 255, "F8: `{name}` is too long for a file system");
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(plain, "F8: `{name:?}` may be another one on another file system");
        if let Some(other) = names.insert(name.to_lowercase(), key.clone()) {
            panic!("F8: `{key:?}` and `{other:?}` are both `{name}`");
        }
    }
}

/// All of them held at once by one process, and each known to another as held.
#[test]
fn row_22_each_key_is_a_lock_of_its_own() {
    let directory = Directory::new();
    let (backend, mut other) = (directory.backend(), Peer::start(&directory));
    let keys = alike();
    let guards = keys.iter().map(|key| {
        let guard = backend.named(key.as_str()).wait(false).acquire();
        guard.unwrap_or_else(|error| panic!("C1: `{key:?}` is another key's: {error}"))
    });
    let guards = Vec::from_iter(guards);
    for key in &keys {
        assert!(directory.file_of(key).is_file(), "`{key:?}` has a file");
        other.contended(key, "");
    }
    drop(guards);
    for key in &keys {
        other.assert_free(key);
    }
    let outside = directory.path().parent().unwrap().join("a");
    assert!(!outside.exists(), "F8: a key has left its directory");
    for name in directory.names() {
        let file = directory.path().join(name);
        assert!(fs::symlink_metadata(&file).unwrap().is_file(), "{file:?} is a file");
    }
}

#[test]
fn row_22_what_is_no_key_is_refused_before_anything_is_touched() {
    let directory = Directory::new();
    let client = directory.client();
    let backend = client.clone().into_backend();
    let before = directory.names();
    let keys = [
        String::new(),
        "\0".to_owned(),
        "a\0b".to_owned(),
        "x".repeat(MAX_KEY_LEN + 1),
        "x".repeat(64 * 1024),
        "\u{e9}".repeat(MAX_KEY_LEN / 2) + "x",
    ];
    for key in &keys {
        let refused = [
            client.path_of(key).unwrap_err(),
            backend.named(key.as_str()).acquire().unwrap_err(),
            backend.named(key.as_str()).wait(false).acquire().unwrap_err(),
            backend.all(["a", key.as_str()]).acquire().unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
        }
    }
    assert_eq!(directory.names(), before, "C1: something was touched");
}
