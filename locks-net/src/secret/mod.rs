//! Secrets, and proofs that one knows one (N5).

mod file;
mod handshake;
mod mac;
mod random;

use std::fmt;
use std::path::{Path, PathBuf};

use locks_core::{ErrorKind, LockError};
use zeroize::Zeroizing;

pub(crate) use self::handshake::{
    ClientHandshake, Established, HandshakeStep, Proving, Secured, ServerHandshake,
};
pub(crate) use self::mac::are_equal;
pub(crate) use self::random::{RandomSource, fill, random};

/// A 256-bit secret shared by the two sides of a connection, and the name of the clients that it is
/// for, if it has one.
///
/// It is made by `locks secret` and kept in a file that only its user can read. It leaves memory
/// with its last owner, and `Debug` shows its name alone.
///
/// ```
/// use locks::net::Secret;
/// let secret = Secret::generate()?;
/// let again = Secret::parse(&secret.to_text())?;
/// assert_eq!(again.to_text(), secret.to_text());
/// # Ok::<(), locks::LockError>(())
/// ```
pub struct Secret {
    name: String,
    // On the heap, so that it has one place only.
    value: Box<Zeroizing<[u8; 32]>>,
    /// The file that it was read from.
    #[cfg_attr(
        not(feature = "tcp"),
        expect(dead_code, reason = "a hint to clients of TCP names it")
    )]
    file: Option<PathBuf>,
}

/// The longest name.
pub(crate) const MAX_NAME: usize = 64;

impl Secret {
    /// Generates a secret, from the system's source of randomness.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if that has none.
    pub fn generate() -> Result<Self, LockError> {
        let mut secret = Self::blank();
        random::fill(&mut **secret.value).map_err(|error| {
            let why = format!("the system gives no random numbers: {error}");
            LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
        })?;
        Ok(secret)
    }

    /// Names the clients that it is for: up to 64 letters, digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) for another name.
    pub fn named(mut self, name: impl Into<String>) -> Result<Self, LockError> {
        self.name = name.into();
        check_name(&self.name)?;
        Ok(self)
    }

    /// Returns the name; empty if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses 64 hexadecimal digits, or a name, `:` and the digits, in between any white space.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if it is anything else, which the error does not
    /// repeat.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        Self::from_text(text.trim_ascii().as_bytes()).map_err(|why| {
            LockError::new(ErrorKind::NotConfigured, "").with_message(format!("the secret {why}"))
        })
    }

    /// Reads a secret from the file at `path`: a regular file of this user or of root, with no
    /// access for others.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured), which says what is wrong with the file and how
    /// to mend it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LockError> {
        let path = path.as_ref();
        file::read(path).map(|secret| Self { file: Some(path.to_owned()), ..secret })
    }

    /// Returns the text that [`parse`](Self::parse) and [`read`](Self::read) take, without a line's
    /// end.
    pub fn to_text(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = Zeroizing::new(String::with_capacity(self.name.len() + 65));
        if !self.name.is_empty() {
            text.push_str(&self.name);
            text.push(':');
        }
        for byte in self.bytes() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Whether it is the same, whatever it is called.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        are_equal(self.bytes(), other.bytes())
    }

    /// The file that it was read from, if it was.
    #[cfg(feature = "tcp")]
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn bytes(&self) -> &[u8; 32] {
        &self.value
    }

    fn blank() -> Self {
        Self { name: String::new(), value: Box::new(Zeroizing::new([0; 32])), file: None }
    }

    /// What is wrong with it goes on behind «the secret».
    fn from_text(text: &[u8]) -> Result<Self, String> {
        let mut secret = Self::blank();
        let mut digits = text;
        if let Some(colon) = text.iter().position(|byte| *byte == b':') {
            let name = str::from_utf8(&text[..colon]).ok().filter(|name| check_name(name).is_ok());
            let why = format!("has a name that is none: {NAME_SHAPE}");
            secret.name = name.ok_or(why)?.to_owned();
            digits = &text[colon + 1..];
        }
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("is not made of hexadecimal digits: make one with `locks secret`".into());
        }
        if text.is_empty() {
            return Err("is empty: make one with `locks secret`".into());
        }
        if digits.len() != 64 {
            let len = digits.len();
            return Err(format!("has {len} digits, not 64: make one with `locks secret`"));
        }
        for (byte, pair) in secret.value.iter_mut().zip(digits.as_chunks::<2>().0) {
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
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.is_as(other)
    }
}

impl Eq for Secret {}

const NAME_SHAPE: &str = "a name has 1 to 64 letters, digits, `-`, `_` and `.`";

/// Refuses what cannot be a name of clients.
pub(crate) fn check_name(name: &str) -> Result<(), LockError> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_fine) {
        return Ok(());
    }
    let why = format!("`{}` is no name of clients: {NAME_SHAPE}", name.escape_debug());
    Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why))
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
        assert_eq!(format!("{secret:?}"), "Secret { name: \"\", .. }");
        for wrong in ["a7".repeat(31), "a7".repeat(33), "a7".repeat(31) + "xy"] {
            let error = Secret::parse(&wrong).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("a7"), "{error:?}");
        }
    }

    #[test]
    fn n5_a_secret_may_have_a_name() {
        let digits = "a7".repeat(32);
        let named = Secret::parse(&format!(" deploy-1:{digits}\n")).unwrap();
        assert_eq!(
            (named.name(), &**named.to_text()),
            ("deploy-1", &*format!("deploy-1:{digits}"))
        );
        assert!(named == Secret::parse(&digits).unwrap().named("deploy-1").unwrap());
        assert!(named != Secret::parse(&digits).unwrap());
        for wrong in ["", "a b", "a:b", "\u{e9}", &"n".repeat(65)] {
            assert!(Secret::parse(&format!("{wrong}:{digits}")).is_err(), "{wrong}");
            assert!(Secret::parse(&digits).unwrap().named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn n5_a_short_secret_is_refused() {
        for (text, why) in [
            ("", "the secret is empty: make one with `locks secret`"),
            ("\n", "the secret is empty: make one with `locks secret`"),
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
