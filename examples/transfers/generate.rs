//! Makes ledgers in which some accounts are hot.

use std::io::{self, Write};

use crate::ledger::HEADER;

/// Writes a ledger of `rows` transfers over `accounts` accounts; the same for the same `seed`.
pub(crate) fn write(out: &mut impl Write, rows: u64, accounts: u64, seed: u64) -> io::Result<()> {
    let mut dice = Dice(seed);
    writeln!(out, "{HEADER}")?;
    for id in 1..=rows {
        let from = dice.hot_below(accounts);
        let to = loop {
            match dice.hot_below(accounts) {
                itself if itself == from => {}
                other => break other,
            }
        };
        let cents = 1 + dice.roll() % 50_000;
        writeln!(out, "{id},A{:03},A{:03},{cents}", from + 1, to + 1)?;
    }
    Ok(())
}

/// The splitmix64 sequence: short, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`, where small ones come up far more often: the square of a fraction.
    fn hot_below(&mut self, end: u64) -> u64 {
        let fraction = u128::from(self.roll() >> 32);
        let square = (fraction * fraction * u128::from(end)) >> 64;
        u64::try_from(square).expect("less than `end`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enclosed_ledger_is_what_is_generated_by_default() {
        let mut made = Vec::new();
        write(&mut made, 20_000, 200, 1).unwrap();
        assert!(made == include_bytes!("../data/ledger.csv"), "generate it again");
    }
}
