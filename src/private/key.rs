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
struct Text {
    /// I1: `short[..short_len]` is what was written, until `long` is.
    short: [u8; SHORT],
    short_len: usize,
    long: Option<SmallVec<[u8; MAX_KEY_LEN]>>,
}

/// Clearing as much costs nothing that can be measured; clearing room for the longest key does.
const SHORT: usize = 64;

impl Text {
    #[inline]
    fn new() -> Self {
        Self { short: [0; SHORT], short_len: 0, long: None }
    }

    #[inline]
    fn fill(&mut self, text: fmt::Arguments<'_>) {
        self.write_fmt(text).expect("a `Display` implementation returned an error unexpectedly");
    }

    #[inline]
    fn as_str(&self) -> &str {
        let written = match &self.long {
            None => &self.short[..self.short_len],
            Some(long) => long,
        };
        std::str::from_utf8(written).expect("only whole strings were written")
    }

    #[cold]
    fn write_long(&mut self, piece: &str) {
        let (short, short_len) = (&self.short, self.short_len);
        let long = self.long.get_or_insert_with(|| SmallVec::from_slice(&short[..short_len]));
        long.extend_from_slice(piece.as_bytes());
    }
}

impl Write for Text {
    #[inline]
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = self.short_len + piece.len();
        match self.short.get_mut(self.short_len..end) {
            Some(room) if self.long.is_none() => {
                room.copy_from_slice(piece.as_bytes());
                self.short_len = end;
            }
            _ => self.write_long(piece),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_a_key_of_the_greatest_length_stays_on_the_stack() {
        let half = "é".repeat(MAX_KEY_LEN / 4);
        let mut text = Text::new();
        text.fill(format_args!("{half}{half}"));
        assert_eq!(text.as_str(), half.repeat(2));
        assert!(!text.long.as_ref().unwrap().spilled());
        text.fill(format_args!("{half}"));
        assert_eq!(text.as_str(), half.repeat(3));
    }

    #[test]
    fn a6_pieces_are_kept_in_order_where_the_short_buffer_ends() {
        for first in SHORT - 2..=SHORT + 1 {
            let first = "x".repeat(first);
            let mut text = Text::new();
            text.fill(format_args!("{first}{}{}", 1, 2));
            assert_eq!(text.as_str(), format!("{first}12"));
        }
    }
}
