//! Shared holds: several in one record, which changes only with the books in hand.

use locks_core::LockError;

use crate::directory::Inode;
use crate::fault;
use crate::files::Files;
use crate::held::{Held, Terms};
use crate::kernel::LockTable;
use crate::record::{Record, Text};

/// From how many entries on to look which of them are of the living.
const MANY: usize = 16;

/// Takes out what is left of holders that have died.
pub(crate) fn forget_the_dead(record: &mut Record<'_>, files: &Files, inode: Inode) {
    if record.entries.len() < MANY {
        return;
    }
    let now = crate::kernel::now();
    let (Ok(table), Some(named)) = (LockTable::read(), files.directory.in_table(inode)) else {
        return;
    };
    record.entries.retain(|entry| {
        entry.is_reserved(now) || table.of(named).any(|grip| entry.is_of(grip.pid))
    });
}

/// Takes a shared hold that ends off the record. Should that fail it stays for a while, as something
/// that the kernel's table may or may not confirm: never as more than a hold of this process's.
pub(crate) fn leave(files: &Files, held: &Held) {
    let terms = held.terms();
    if !held.exclusive && held.lost().is_none() && terms.keep_until <= crate::kernel::now() {
        let _ = change(files, held, terms.token, None);
    }
}

/// Puts what changes of a shared hold into the record: its terms, or its end.
///
/// The hold is known there by the token `before`. `Ok(false)`: the books cannot be had just now.
pub(crate) fn change(
    files: &Files,
    held: &Held,
    before: u64,
    terms: Option<&Terms>,
) -> Result<bool, LockError> {
    let failed = |error| fault::at(&files.directory, &held.path, "written", error);
    let Some(entered) = files.directory.epochs.enter_soon()? else { return Ok(false) };
    let text = Text::read(&held.file).map_err(failed)?;
    if let Some(mut record) = text.record()
        && let Some(index) = record.entries.iter().position(|entry| entry.token == before)
    {
        match terms {
            Some(terms) => {
                record.entries[index] = held.entry(terms);
                record.token = record.token.max(terms.greatest);
            }
            None => drop(record.entries.remove(index)),
        }
        record.key = held.names_key.then_some(&*held.key);
        record.write(&held.file).map_err(failed)?;
    }
    drop(entered);
    Ok(true)
}
