use crate::{ErrorKind, LockError};

/// The length of the longest key, in bytes ([C1](crate::contract#c1-exclusion)).
pub const MAX_KEY_LEN: usize = 1024;

/// Checks that `key` is one on every backend: not empty, no NUL, at most [`MAX_KEY_LEN`] bytes.
///
/// # Errors
/// [`InvalidKey`](ErrorKind::InvalidKey), which says what is wrong.
#[inline]
pub fn check_key(key: &str) -> Result<(), LockError> {
    if key.is_empty() || key.len() > MAX_KEY_LEN || key.as_bytes().contains(&0) {
        return Err(refuse(key));
    }
    Ok(())
}

#[cold]
fn refuse(key: &str) -> LockError {
    let shown = || key.chars().take(40).collect::<String>();
    let why = if key.is_empty() {
        "the key is empty: give it at least one character".to_owned()
    } else if key.len() > MAX_KEY_LEN {
        format!(
            "the key `{}…` has {} bytes and at most {MAX_KEY_LEN} are allowed: \
             use a hash of it",
            shown().escape_debug(),
            key.len()
        )
    } else {
        format!("the key `{}` contains a NUL byte: leave it out", shown().escape_debug())
    };
    let kept = key.chars().take(MAX_KEY_LEN).collect::<String>();
    LockError::new(ErrorKind::InvalidKey, kept).with_message(why)
}

/// The keys of a request: one, or several in ascending order without repetition
/// ([C11](crate::contract#c11-several-keys)).
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(Repr<'a>);

#[derive(Clone, Copy, Debug)]
enum Repr<'a> {
    One(&'a str),
    Many(&'a KeySet),
}

/// A set of keys in ascending order ([C11](crate::contract#c11-several-keys)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Box<[String]>);

impl KeySet {
    /// Creates the set of `keys`, sorted and without repetition.
    pub fn new<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut keys = keys.into_iter().map(Into::into).collect::<Vec<String>>();
        keys.sort_unstable();
        keys.dedup();
        Self(keys.into_boxed_slice())
    }

    /// Returns the keys in ascending order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl<'a> Keys<'a> {
    /// Creates the keys of a request for `key` alone.
    pub const fn one(key: &'a str) -> Self {
        Self(Repr::One(key))
    }

    /// Creates the keys of a request for all of `keys`.
    pub const fn all(keys: &'a KeySet) -> Self {
        Self(Repr::Many(keys))
    }

    /// Returns the key, if there is exactly one.
    pub fn single(&self) -> Option<&'a str> {
        match self.0 {
            Repr::One(key) => Some(key),
            Repr::Many(set) => match set.as_slice() {
                [key] => Some(key),
                _ => None,
            },
        }
    }

    /// Returns an iterator over the keys, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (one, many) = match self.0 {
            Repr::One(key) => (Some(key), &[][..]),
            Repr::Many(set) => (None, set.as_slice()),
        };
        one.into_iter().chain(many.iter().map(String::as_str))
    }

    /// Checks every key, and that there is at least one.
    ///
    /// # Errors
    /// [`InvalidKey`](ErrorKind::InvalidKey).
    pub fn check(&self) -> Result<(), LockError> {
        if self.iter().next().is_none() {
            let none = "no key was given: name at least one";
            return Err(LockError::new(ErrorKind::InvalidKey, "").with_message(none));
        }
        self.iter().try_for_each(check_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_refuses_what_cannot_be_a_key() {
        for key in ["", "a\0b", &"x".repeat(MAX_KEY_LEN + 1)] {
            assert_eq!(check_key(key).unwrap_err().kind(), ErrorKind::InvalidKey, "{key:?}");
        }
        check_key(&"é".repeat(MAX_KEY_LEN / 2)).unwrap();
    }

    #[test]
    fn c11_keys_are_sorted_and_deduplicated() {
        let set = KeySet::new(["b", "a", "b"]);
        assert_eq!(Keys::all(&set).iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
