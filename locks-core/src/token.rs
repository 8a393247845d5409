use std::fmt;

use crate::{ErrorKind, LockError};

/// A fencing token: a number that grows with each grant of a key.
///
/// A store that remembers the greatest token it has seen, and refuses smaller ones, cannot be
/// written to by a holder that has lost its lock. Compare tokens of one key at one backend only
/// ([C7](crate::contract#c7-fencing-tokens)).
///
/// # Examples
/// ```
/// use locks::Token;
/// assert!(Token::new(7) < Token::new(8));
/// assert_eq!(Token::new(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// Creates the token with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number, to be sent along with a write.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Tokens are below this.
pub(crate) const END: u64 = 1 << 61;

impl Token {
    /// Whether so many tokens can follow that a counter that goes on from this one never ends: one of an engine has
    /// 60 bits.
    pub(crate) const fn is_followed(self) -> bool {
        self.0 < END / 4
    }

    /// Returns the token, if an arbiter can have granted it.
    ///
    /// # Errors
    /// `Protocol` for one that is not below 2^61.
    pub(crate) fn granted(self, key: &str) -> Result<Self, LockError> {
        if self.0 < END { Ok(self) } else { Err(self.refuse(key, "below 2^61")) }
    }

    /// The error for a token from which an engine cannot go on.
    #[cold]
    pub(crate) fn not_followed(self, key: &str) -> LockError {
        self.refuse(key, "below 2^61, and an engine goes on from one below 2^59")
    }

    #[cold]
    fn refuse(self, key: &str, are: &str) -> LockError {
        let of = if key.is_empty() { String::new() } else { format!(" of `{key}`") };
        let why = format!("no grant{of} has the token {self}: tokens are {are}");
        LockError::new(ErrorKind::Protocol, key).with_message(why)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0)
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        token.0
    }
}
