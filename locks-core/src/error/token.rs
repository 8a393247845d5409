//! The errors of tokens that no arbiter grants.

use super::{ErrorKind, LockError};
use crate::Token;
use crate::token::END;

impl Token {
    /// Returns the token, if an arbiter can have granted it.
    ///
    /// # Errors
    /// `Protocol` for one that is not below 2^61.
    pub(crate) fn granted(self, key: &str) -> Result<Self, LockError> {
        if self.get() < END { Ok(self) } else { Err(self.refuse(key, "below 2^61")) }
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
