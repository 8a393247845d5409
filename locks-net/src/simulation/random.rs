//! Numbers that look random and are the same for the same seed (splitmix64).

use std::ops::Range;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct SeededRandom(u64);

impl SeededRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Another one, whose numbers have nothing to do with these.
    pub(super) fn split(&mut self) -> Self {
        Self(self.number())
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        let micros = self.within(range.start * 1000..range.end * 1000);
        Duration::from_micros(micros)
    }

    pub(super) fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        if among.is_empty() {
            return None;
        }
        let index = self.number() % among.len() as u64;
        among.get(usize::try_from(index).unwrap_or(0))
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.number().to_le_bytes()[0];
        }
    }
}
