//! Makes ledgers in which some accounts are hot.

use std::io::{self, Write};

use crate::dice::Dice;
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
