//! The ledger: a file of lines `id,from,to,cents`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::Failure;

pub(crate) const HEADER: &str = "id,from,to,cents";

/// What every account has before the first transfer, in cents.
const OPENING: i64 = 100_000;

/// The greatest amount of one transfer: even ninety million of these cannot overflow a balance.
const MOST_CENTS: i64 = 100_000_000_000;

/// One line of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Its place among the transfers of the ledger, from 0.
    pub(crate) at: usize,
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
}

/// All lines of a ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) transfers: Vec<Transfer>,
}

impl Ledger {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        Self::parse(&text).map_err(|(line, why)| format!("{shown}, line {line}: {why}").into())
    }

    /// The transfers in `text`; or the number of the first bad line, and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut lines = (1..).zip(text.lines().map(str::trim));
        match lines.next() {
            Some((_, header)) if header.trim_start_matches('\u{feff}') == HEADER => {}
            _ => return Err((1, format!("the first line has to be `{HEADER}`"))),
        }
        let mut transfers = Vec::new();
        let mut seen = HashMap::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let transfer = parse_line(transfers.len(), line).map_err(|why| (number, why))?;
            if let Some(earlier) = seen.insert(transfer.id, number) {
                let why = format!("transfer {} was on line {earlier} already", transfer.id);
                return Err((number, why));
            }
            transfers.push(transfer);
        }
        Ok(Self { transfers })
    }

    /// Every account and what is on it before the first transfer.
    pub(crate) fn opening_balances(&self) -> BTreeMap<String, i64> {
        let accounts = self.transfers.iter().flat_map(|transfer| [&transfer.from, &transfer.to]);
        accounts.map(|account| (account.clone(), OPENING)).collect()
    }

    /// What `before` comes to when the transfers are applied one after the other.
    pub(crate) fn closing_balances(
        transfers: &[Transfer],
        before: &BTreeMap<String, i64>,
    ) -> BTreeMap<String, i64> {
        let mut balances = before.clone();
        let mut add = |account: &str, cents: i64| {
            if let Some(balance) = balances.get_mut(account) {
                *balance += cents;
            }
        };
        for Transfer { from, to, cents, .. } in transfers {
            add(from, -cents);
            add(to, *cents);
        }
        balances
    }
}

fn parse_line(at: usize, line: &str) -> Result<Transfer, String> {
    if line.contains('"') {
        return Err("quoted fields are not understood: leave out the quotes".into());
    }
    let fields = line.split(',').map(str::trim).collect::<Vec<_>>();
    let &[id, from, to, cents] = fields.as_slice() else {
        return Err(format!("found {} fields, not the four of `{HEADER}`", fields.len()));
    };
    if from.is_empty() || to.is_empty() {
        return Err("an account without a name".into());
    }
    if from == to {
        return Err(format!("a transfer from `{from}` to itself"));
    }
    let id = id.parse().map_err(|_| format!("`{id}` is not a number to know a transfer by"))?;
    let cents =
        cents.parse().ok().filter(|cents| (1..=MOST_CENTS).contains(cents)).ok_or_else(|| {
            format!("`{cents}` is not an amount: give whole cents from 1 to {MOST_CENTS}")
        })?;
    Ok(Transfer { at, id, from: from.into(), to: to.into(), cents })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_and_adds_them_up() {
        let ledger = Ledger::parse("id,from,to,cents\r\n1, a ,b,30\r\n\r\n2,b,c,5\n").unwrap();
        assert_eq!(ledger.transfers.len(), 2);
        let before = ledger.opening_balances();
        let after = Ledger::closing_balances(&ledger.transfers, &before);
        let expected = [("a", -30), ("b", 25), ("c", 5)].map(|(a, c)| (a.into(), OPENING + c));
        assert_eq!(after, BTreeMap::from(expected));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for (line, expected) in [
            ("7,a,b", "3 fields"),
            ("7,a,b,1,2", "5 fields"),
            ("x,a,b,1", "`x` is not a number"),
            ("7,a,b,1.50", "`1.50` is not an amount"),
            ("7,a,b,0", "`0` is not an amount"),
            ("7,a,b,-3", "`-3` is not an amount"),
            ("7,a,a,1", "from `a` to itself"),
            ("7,,a,1", "without a name"),
            ("\"7\",a,b,1", "quoted"),
            ("1,a,b,1", "on line 2 already"),
        ] {
            let text = format!("{HEADER}\n1,a,b,1\n{line}\n");
            let (number, why) = Ledger::parse(&text).unwrap_err();
            assert_eq!(number, 3, "{line}");
            assert!(why.contains(expected), "{line}: {why}");
        }
        assert_eq!(Ledger::parse("1,a,b,1\n").unwrap_err().0, 1, "no header");
        assert_eq!(Ledger::parse("").unwrap_err().0, 1, "empty");
    }
}
