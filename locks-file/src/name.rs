//! Keys as names of files (F8): readable where possible, escaped otherwise, hashed when long.
//!
//! A name has only characters that every file system keeps apart, those that fold case and those
//! that normalize as well; `/` and a leading `.` are escaped, so no name leaves its directory.

use std::fmt::Write as _;

/// What the names of lock files end with.
pub(crate) const SUFFIX: &str = ".lock";
/// What the names of the files begin with that tell who waits; the process's pid namespace, its
/// number there, its start and when the file was made follow. The process has it locked for as long
/// as it lives.
pub(crate) const WAITS: &str = ".waiting-";
/// Longer names are cut off and told apart by a hash: with the suffix they fit where 255 bytes do.
const LONGEST: usize = 200;
/// What is left of a name that is cut off.
const KEPT: usize = 120;
/// Between what is left and the hash; it is escaped in what comes from a key.
const CUT: char = '~';

/// The key whose plain name is taken: `net:` keeps the right to serve in a file of that name, and
/// may have the same directory.
const TAKEN: (&str, &str) = ("server", "%73erver");

/// The name of the lock file of `key`.
pub(crate) fn of_key(key: &str) -> String {
    let mut name = if key == TAKEN.0 { TAKEN.1.to_owned() } else { escape(key) };
    if name.len() > LONGEST {
        let mut kept = KEPT;
        // Not within an escape, which has two digits after its `%`.
        while name.as_bytes()[kept - 2..kept].contains(&b'%') {
            kept -= 1;
        }
        name.truncate(kept);
        name.push(CUT);
        for byte in &hmac_sha256::Hash::hash(key.as_bytes())[..16] {
            let _ = write!(name, "{byte:02x}");
        }
    }
    name.push_str(SUFFIX);
    name
}

/// The key of a lock file, if its name tells.
pub(crate) fn to_key(name: &str) -> Named {
    match name.strip_suffix(SUFFIX) {
        Some(stem) if stem.contains(CUT) => Named::Hashed,
        Some(stem) => match unescape(stem) {
            Some(key) if of_key(&key) == name => Named::Key(key),
            _ => Named::Other,
        },
        None => Named::Other,
    }
}

/// What the name of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is this key's.
    Key(String),
    /// It is that of the key in its record.
    Hashed,
    /// It is no lock file.
    Other,
}

/// Whether the name of the key's file does not tell the key.
pub(crate) fn is_hashed(name: &str) -> bool {
    name.contains(CUT)
}

fn escape(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + SUFFIX.len());
    push_escaped(&mut name, key);
    name
}

/// Adds `key`, escaped, to a text.
pub(crate) fn push_escaped(name: &mut String, key: &str) {
    for (index, byte) in key.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b':' | b'@' | b'=' | b'+' | b',' => {
                name.push(char::from(byte));
            }
            b'.' if index > 0 => name.push('.'),
            _ => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
}

/// `text` with each `%xx` replaced by the byte it stands for.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn f8_names_are_readable() {
        assert_eq!(of_key("invoice:42"), "invoice:42.lock");
        assert_eq!(of_key("refresh_a.b"), "refresh_a.b.lock");
        assert_eq!(of_key("Jobs/é\n"), "%4aobs%2f%c3%a9%0a.lock");
        assert_eq!(of_key("../x"), "%2e.%2fx.lock");
        assert_eq!(of_key("."), "%2e.lock");
        assert_eq!(of_key("server"), "%73erver.lock", "`server.lock` is of `net:`");
        assert_eq!(of_key("servers"), "servers.lock");
    }

    #[test]
    fn f8_no_two_keys_share_a_name_even_where_case_is_folded() {
        let long = "x".repeat(1024);
        let nearly = format!("{}y", "x".repeat(1023));
        let (composed, decomposed) = ("é", "e\u{301}");
        let mut keys = vec!["a", "A", "a.lock", "%61", "a~", "a/b", "a%2fb", "..", ".", "~"];
        keys.extend([long.as_str(), nearly.as_str(), composed, decomposed, "é/", "\u{1f}"]);
        let mut names = HashSet::new();
        for key in &keys {
            let name = of_key(key);
            assert!(names.insert(name.to_lowercase()), "{key:?}");
            assert!(name.len() <= 255 && !name.contains('/') && !name.starts_with('.'), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
        }
    }

    #[test]
    fn f8_names_are_keys_again() {
        for key in ["invoice:42", "../é\n", "A", "~", "server", &"A".repeat(60)] {
            assert_eq!(to_key(&of_key(key)), Named::Key(key.to_owned()));
        }
        assert_eq!(to_key(&of_key(&"%".repeat(1024))), Named::Hashed);
        assert_eq!(to_key("server.lock"), Named::Other);
        for other in [".epochs", "a", "A.lock", "%zz.lock", "%6.lock", "%41%.lock", "a b.lock"] {
            assert_eq!(to_key(other), Named::Other, "{other}");
        }
    }

    #[test]
    fn f8_a_long_name_is_not_cut_within_an_escape() {
        for shift in 0..6 {
            let key = format!("{}{}", "a".repeat(shift), "É".repeat(300));
            let name = of_key(&key);
            let (kept, _) = name.split_once(CUT).unwrap();
            assert!(kept.len() > KEPT - 3);
            // What is left may end between the bytes of a character, but not within an escape.
            assert_eq!(kept[shift..].len() % 3, 0, "{kept}");
        }
    }
}
