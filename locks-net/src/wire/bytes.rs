//! What messages are made of: integers, texts, lists, and flags that say what there is.
//!
//! Whatever can be decoded has exactly one encoding, and is the encoding of what it decodes to.

use std::time::Duration;

use locks_core::{Token, check_key};

use super::Malformed;

/// Takes a message apart, from its first byte to its last.
#[derive(Debug)]
pub(crate) struct MessageReader<'a> {
    rest: &'a [u8],
}

const SHORT: Malformed = Malformed("the message ends too early");

impl<'a> MessageReader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a byte is neither 0 nor 1")),
        }
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_nanos)
    }

    pub(super) fn token(&mut self) -> Result<Token, Malformed> {
        self.u64().map(Token::new)
    }

    pub(super) fn text(&mut self, max: usize) -> Result<String, Malformed> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(Malformed("a text is longer than allowed"));
        }
        let (text, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        let text = str::from_utf8(text).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(super) fn key(&mut self) -> Result<String, Malformed> {
        let key = self.text(locks_core::MAX_KEY_LEN)?;
        check_key(&key).map_err(|_| Malformed("a key cannot be one"))?;
        Ok(key)
    }

    /// A list of at most `max` items. No more is reserved than the message has room for, if an item
    /// takes at least `least` bytes of it.
    pub(super) fn list<T>(
        &mut self,
        max: usize,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > max {
            return Err(Malformed("a list is longer than allowed"));
        }
        if count > self.rest.len() / least {
            return Err(SHORT);
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// One byte of `N` flags, from the lowest bit upwards.
    pub(super) fn flags<const N: usize>(&mut self) -> Result<[bool; N], Malformed> {
        const { assert!(N <= 8) };
        let byte = self.u8()?;
        if u32::from(byte) >> N != 0 {
            return Err(Malformed("a flag is set that has no meaning"));
        }
        Ok(std::array::from_fn(|bit| byte & (1 << bit) != 0))
    }

    /// What a flag says there is.
    pub(super) fn if_set<T>(
        &mut self,
        flag: bool,
        take: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if flag { take(self).map(Some) } else { Ok(None) }
    }

    /// Refuses what stands behind the message.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Malformed("the message goes on behind its end"))
    }
}

/// Puts a message together.
pub(super) trait Put {
    fn bytes(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// In nanoseconds, up to 584 years.
    fn duration(&mut self, duration: Duration) {
        self.u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn token(&mut self, token: Token) {
        self.u64(token.get());
    }

    /// What exceeds `max` bytes is cut off.
    fn text(&mut self, text: &str, max: usize) {
        // `str::floor_char_boundary` needs Rust 1.91.
        let fits = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=max.min(text.len())).rev().find(fits).unwrap_or(0);
        let text = &text[..end];
        self.u16(u16::try_from(text.len()).expect("all bounds of texts fit 16 bits"));
        self.bytes(text.as_bytes());
    }

    /// Has to be one by [`check_key`]; what is not is not decoded as one.
    fn key(&mut self, key: &str) {
        self.text(key, locks_core::MAX_KEY_LEN + 1);
    }

    fn flags<const N: usize>(&mut self, flags: [bool; N]) {
        const { assert!(N <= 8) };
        self.u8(flags.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag)));
    }

    /// What exceeds `max` items is cut off.
    fn list<T>(&mut self, items: &[T], max: usize, mut item: impl FnMut(&mut Self, &T)) {
        let items = &items[..items.len().min(max)];
        self.u32(u32::try_from(items.len()).expect("what is in memory and fits a frame"));
        for each in items {
            item(self, each);
        }
    }
}

impl Put for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
