//! Secrets, proofs that one knows one, and keys made of one (N5).

mod file;
mod handshake;
mod mac;
mod random;
mod seal;
mod transcript;

use std::fmt;
use std::path::Path;

use locks_core::{ErrorKind, LockError};
use zeroize::Zeroizing;

pub(crate) use self::handshake::{ClientHandshake, Established, Keys, ServerHandshake, Step};
pub(crate) use self::mac::are_equal;
pub(crate) use self::random::{fill, random};
pub(crate) use self::seal::{Opener, Sealer, TAG};

/// What both sides of a connection know and nobody else does: 256 bits (N5).
///
/// It is made by `locks secret` and kept in a file that only its user can read. It leaves memory with
/// its last owner, and `Debug` says nothing of it.
///
/// ```
/// use locks_net::Secret;
/// let secret = Secret::generate()?;
/// let again = Secret::parse(&secret.to_text())?;
/// assert_eq!(again.to_text(), secret.to_text());
/// # Ok::<(), locks_core::LockError>(())
/// ```
// On the heap, so that it has one place only.
pub struct Secret(Box<Zeroizing<[u8; 32]>>);

impl Secret {
    /// A new one, from the system's source of randomness.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if that has none.
    pub fn generate() -> Result<Self, LockError> {
        let mut secret = Self::blank();
        random::fill(&mut **secret.0).map_err(|error| {
            let why = format!("the system gives no random numbers: {error}");
            LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
        })?;
        Ok(secret)
    }

    /// The one that these 64 hexadecimal digits say, in between any white space.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if it is anything else, which the error does not
    /// repeat.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        Self::from_digits(text.trim_ascii().as_bytes()).map_err(|why| {
            LockError::new(ErrorKind::NotConfigured, "").with_message(format!("the secret {why}"))
        })
    }

    /// The one in the file at `path`: a regular file of this user or of root that nobody else can read
    /// or write.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured), which says what is wrong with the file and how to
    /// mend it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LockError> {
        file::read(path.as_ref())
    }

    /// As [`parse`](Self::parse) and [`read`](Self::read) take it, without a line's end.
    pub fn to_text(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.bytes() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn blank() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }

    /// What is wrong with them goes on behind «the secret».
    fn from_digits(digits: &[u8]) -> Result<Self, String> {
        let mut secret = Self::blank();
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("is not made of hexadecimal digits: make one with `locks secret`".into());
        }
        if digits.len() != 64 {
            let len = digits.len();
            return Err(format!("has {len} digits, not 64: make one with `locks secret`"));
        }
        for (byte, pair) in secret.0.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| match digit {
                b'0'..=b'9' => digit - b'0',
                _ => (digit | 0x20) - b'a' + 10,
            });
            *byte = high << 4 | low;
        }
        Ok(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n5_secrets_are_unlike_each_other_and_survive_being_written_down() {
        let [one, other] = [Secret::generate().unwrap(), Secret::generate().unwrap()];
        assert_ne!(one.bytes(), other.bytes());
        assert_ne!(one.bytes(), &[0; 32]);
        let text = format!("\n {}\t\n", one.to_text().to_uppercase());
        assert_eq!(Secret::parse(&text).unwrap().bytes(), one.bytes());
    }

    #[test]
    fn n5_a_secret_shows_itself_to_nobody() {
        let secret = Secret::parse(&"a7".repeat(32)).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        for wrong in ["a7".repeat(31), "a7".repeat(33), "a7".repeat(31) + "xy"] {
            let error = Secret::parse(&wrong).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("a7"), "{error:?}");
        }
    }

    #[test]
    fn n5_a_short_secret_is_refused() {
        for (text, why) in [
            ("", "the secret has 0 digits, not 64: make one with `locks secret`"),
            ("cafe", "the secret has 4 digits, not 64: make one with `locks secret`"),
            (
                "correct horse battery staple",
                "the secret is not made of hexadecimal digits: make one with `locks secret`",
            ),
        ] {
            let error = Secret::parse(text).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotConfigured, why));
        }
    }
}
