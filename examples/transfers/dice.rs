//! Numbers by lot.

/// The splitmix64 sequence: short, and the same on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, where small ones come up far more often: the square of a fraction.
    pub(crate) fn hot_below(&mut self, end: u64) -> u64 {
        let fraction = u128::from(self.roll() >> 32);
        let square = (fraction * fraction * u128::from(end)) >> 64;
        u64::try_from(square).expect("less than `end`")
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let rest = self.roll() % end as u64;
        usize::try_from(rest).expect("less than `end`")
    }
}

/// Spreads every bit of `word` over all bits.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
