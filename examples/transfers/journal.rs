//! The journal: for each line of the ledger, what the transfer comes to.

use std::io;

use crate::dice::mix;
use crate::words::Words;

/// Words of an entry.
const LENGTH: usize = 8;

/// What a transfer comes to. That it is there, whole, is what makes the transfer applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The two accounts, by their places among the accounts, and what is on them afterwards.
    pub(crate) after: [(usize, i64); 2],
    /// The fencing token of the grant; 0 without locks.
    pub(crate) token: u64,
    /// Which worker wrote the entry.
    pub(crate) worker: u64,
    /// How long it had waited for the locks.
    pub(crate) waited_nanos: u64,
}

/// Entries side by side, each in a place of its own.
pub(crate) struct Journal<W>(W);

impl<W> Journal<W> {
    /// The same entries in other words.
    pub(crate) fn map<V>(self, into: impl FnOnce(W) -> V) -> Journal<V> {
        Journal(into(self.0))
    }
}

impl<W: Words> Journal<W> {
    /// Words that a journal of `lines` lines takes.
    pub(crate) const fn words(lines: usize) -> usize {
        lines * LENGTH
    }

    pub(crate) fn new(words: W) -> Self {
        Self(words)
    }

    /// The entry for a line; `None` if there is none or if its writer died while writing it.
    pub(crate) fn read(&self, line: usize) -> io::Result<Option<Entry>> {
        let mut words = [0; LENGTH];
        self.0.read(line * LENGTH, &mut words)?;
        Ok(decode(line, words))
    }

    pub(crate) fn write(&self, line: usize, entry: &Entry) -> io::Result<()> {
        self.0.write(line * LENGTH, &encode(line, entry))
    }

    /// The entries for the first `lines` lines that are there.
    pub(crate) fn entries(&self, lines: usize) -> io::Result<Vec<(usize, Entry)>> {
        let mut words = vec![0; Self::words(lines)];
        self.0.read(0, &mut words)?;
        let entries = words.chunks_exact(LENGTH).enumerate().filter_map(|(line, words)| {
            let words = words.try_into().expect("chunks of that length");
            Some((line, decode(line, words)?))
        });
        Ok(entries.collect())
    }
}

fn encode(line: usize, entry: &Entry) -> [u64; LENGTH] {
    let [(from, from_cents), (to, to_cents)] = entry.after;
    let Entry { token, worker, waited_nanos, .. } = *entry;
    let (from_cents, to_cents) = (from_cents.cast_unsigned(), to_cents.cast_unsigned());
    let mut words = [from as u64, from_cents, to as u64, to_cents, token, worker, waited_nanos, 0];
    words[LENGTH - 1] = checksum(line, &words);
    words
}

fn decode(line: usize, words: [u64; LENGTH]) -> Option<Entry> {
    let [from, from_cents, to, to_cents, token, worker, waited_nanos, sum] = words;
    if sum != checksum(line, &words) {
        return None;
    }
    let account = |at, cents: u64| Some((usize::try_from(at).ok()?, cents.cast_signed()));
    let after = [account(from, from_cents)?, account(to, to_cents)?];
    Some(Entry { after, token, worker, waited_nanos })
}

/// Zeros have another one, so that what was never written is no entry.
fn checksum(line: usize, words: &[u64; LENGTH]) -> u64 {
    let line = line as u64 + 1;
    words[..LENGTH - 1].iter().fold(mix(line), |sum, word| mix(sum.rotate_left(7) ^ word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_whole_or_not_at_all() {
        let entry =
            Entry { after: [(3, -70), (5, 170)], token: 1 << 40, worker: 2, waited_nanos: 1_000 };
        let whole = encode(9, &entry);
        assert_eq!(decode(9, whole), Some(entry));
        assert_eq!(decode(8, whole), None, "the entry of another line");
        for written in 0..LENGTH {
            let mut torn = [0; LENGTH];
            torn[..written].copy_from_slice(&whole[..written]);
            assert_eq!(decode(9, torn), None, "{written} words of it");
        }
    }
}
