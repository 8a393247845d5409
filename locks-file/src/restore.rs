//! Putting a grant's record back that others have wiped (F10): guests open lock files in ways that
//! empty them, and whoever reads is to be told of the holder again.

use std::collections::{HashMap, HashSet};

use crate::directory::Inode;
use crate::held::FileGrant;
use crate::record::Text;
use crate::shared;

/// Writes the record of a grant that stands again, if it is not there. Called with the right to
/// [change](FileGrant::changing) it. `recorded`: the tokens on the records of files that have been
/// read, which others may share.
pub(crate) fn restore(held: &FileGrant, recorded: &mut HashMap<Inode, HashSet<u64>>) {
    let tokens = recorded.entry(held.file.inode).or_insert_with(|| {
        let text = Text::read(&held.file).unwrap_or_default();
        let entries = text.record().map(|record| record.entries).unwrap_or_default();
        entries.iter().map(|entry| entry.token).collect()
    });
    if tokens.contains(&held.terms().token) {
        return;
    }
    let is_restored = match held.exclusive {
        true => held.write_alone(&held.terms()).is_ok(),
        false => shared::restore(held).unwrap_or(false),
    };
    if !is_restored {
        held.look_again();
    }
}
