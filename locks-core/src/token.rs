use std::fmt;

/// A fencing token (C7): a number that only grows with each grant of a key.
///
/// A store that remembers the greatest token it has seen and refuses smaller ones cannot be
/// written to by a holder whose lock was taken away. Tokens compare within one arbiter: two
/// keys, or two backends, say nothing about each other.
///
/// ```
/// use locks_core::Token;
/// assert!(Token::new(7) < Token::new(8));
/// assert_eq!(Token::new(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The token with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself, to be sent along with a write.
    pub const fn get(self) -> u64 {
        self.0
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
