use std::fmt;

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
    /// Whether so many tokens can follow that a counter that goes on from this one never ends: one
    /// of an engine has 60 bits.
    pub(crate) const fn is_followed(self) -> bool {
        self.0 < END / 4
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
