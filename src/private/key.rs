use std::fmt::{self, Write};

use locks_core::{LockBuilder, MAX_KEY_LEN};
use smallvec::SmallVec;

/// What an expansion passes as the key: a literal, a filled-in template, or several of those.
pub trait Key {
    /// Hands `ask` a builder for the key, which lives as long as `ask` runs.
    fn lend<R>(self, ask: impl FnOnce(LockBuilder<'_>) -> R) -> R;
}

impl Key for &'static str {
    #[inline]
    fn lend<R>(self, ask: impl FnOnce(LockBuilder<'_>) -> R) -> R {
        ask(LockBuilder::named(self))
    }
}

impl Key for fmt::Arguments<'_> {
    #[inline]
    fn lend<R>(self, ask: impl FnOnce(LockBuilder<'_>) -> R) -> R {
        if let Some(text) = self.as_str() {
            return ask(LockBuilder::named(text));
        }
        let mut text = Text::new();
        text.fill(self);
        ask(LockBuilder::named(text.as_str()))
    }
}

impl<const N: usize> Key for [fmt::Arguments<'_>; N] {
    fn lend<R>(self, ask: impl FnOnce(LockBuilder<'_>) -> R) -> R {
        ask(LockBuilder::all(self.map(|key| key.to_string())))
    }
}

/// A key being written on the stack (A6). Only one that is too long to be a key goes to the heap,
/// so that the error can name it.
struct Text(SmallVec<[u8; MAX_KEY_LEN]>);

impl Text {
    #[inline]
    fn new() -> Self {
        Self(SmallVec::new())
    }

    #[inline]
    fn fill(&mut self, text: fmt::Arguments<'_>) {
        self.write_fmt(text).expect("a `Display` implementation returned an error unexpectedly");
    }

    #[inline]
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only whole strings were written")
    }
}

impl Write for Text {
    #[inline]
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.extend_from_slice(piece.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_a_key_of_the_greatest_length_stays_on_the_stack() {
        let half = "x".repeat(MAX_KEY_LEN / 2);
        let mut text = Text::new();
        text.fill(format_args!("{half}{half}"));
        assert_eq!(text.as_str().len(), MAX_KEY_LEN);
        assert!(!text.0.spilled());
        text.fill(format_args!("{half}"));
        assert_eq!(text.as_str().len(), MAX_KEY_LEN + half.len());
    }
}
