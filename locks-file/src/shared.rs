//! Shared holds: several in one record, which changes only with the books in hand.

use std::fs::File;
use std::path::{Path, PathBuf};

use locks_core::LockError;

use crate::directory::{Inode, open_existing};
use crate::fault;
use crate::files::Files;
use crate::held::{Held, Terms};
use crate::kernel::{LockTable, Nanos, Seen};
use crate::name;
use crate::record::{Entry, Record, Text};

/// From how many entries on to look which of them are of the living.
const MANY: usize = 16;
/// How often to look before somebody is taken to be dead.
const READINGS: usize = 3;

/// Takes out what is left of holders that have died.
pub(crate) fn forget_the_dead(record: &mut Record<'_>, files: &Files, inode: Inode) {
    if record.entries.len() < MANY {
        return;
    }
    let now = crate::kernel::now();
    let Some(named) = files.directory.in_table(inode) else { return };
    let mut holders = Vec::new();
    let stays = |entry: &Entry<'_>, holders: &[(Seen, bool)]| {
        entry.is_reserved(now) || holders.iter().any(|(holder, _)| entry.is_of(*holder))
    };
    // Whoever is forgotten loses the lock, so nobody is for not being told of once.
    for _ in 0..READINGS {
        let Ok(table) = LockTable::read() else { return };
        holders.extend(table.holders(named));
        if record.entries.iter().all(|entry| stays(entry, &holders)) {
            return;
        }
    }
    record.entries.retain(|entry| stays(entry, &holders));
}

/// What is on a record of a shared hold that has ended: the books could not be had.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    inode: Inode,
    token: u64,
}

/// Takes a shared hold that ends off the record. Until what could not be taken off is, it is something
/// that the kernel's table may or may not confirm: never as more than a hold of this process's.
pub(crate) fn leave(files: &Files, held: &Held) -> Option<Left> {
    let terms = held.terms();
    if held.exclusive || held.lost().is_some() || terms.keep_until > crate::kernel::now() {
        return None;
    }
    match change(files, held, terms.token, None) {
        Ok(Rewritten::NotNow) => {
            Some(Left { path: held.path.clone(), inode: held.inode, token: terms.token })
        }
        _ => None,
    }
}

/// Takes off what was left. Says whether there is nothing more to do.
pub(crate) fn take_off(files: &Files, left: &Left) -> bool {
    let Ok(file) = open_existing(&left.path) else { return true };
    let off = rewrite(files, &file, &left.path, left.inode, |record| {
        record.entries.retain(|entry| entry.token != left.token);
    });
    !matches!(off, Ok(Rewritten::NotNow))
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    Done,
    /// The books cannot be had just now.
    NotNow,
    /// Somebody else was granted the key, and with a token that this grant would have to be above.
    Overtaken,
}

/// Has new shared holds keep off for a while, because somebody waits for the key alone (C3).
pub(crate) fn keep_others_off(
    files: &Files,
    file: &File,
    path: &Path,
    inode: Inode,
    until: Nanos,
) -> Result<(), LockError> {
    rewrite(files, file, path, inode, |record| record.wanted = until).map(drop)
}

/// Changes a record for somebody who does not have the file, and so takes a share in it for as long as he
/// writes. Where another has it alone there is nothing to change.
fn rewrite(
    files: &Files,
    file: &File,
    path: &Path,
    inode: Inode,
    change: impl FnOnce(&mut Record<'_>),
) -> Result<Rewritten, LockError> {
    let failed = |error| fault::at(&files.directory, path, "written", error);
    let Some(entered) = files.directory.epochs.enter_soon()? else {
        return Ok(Rewritten::NotNow);
    };
    if Inode::at(path).map_err(failed)? != Some(inode)
        || fs4::FileExt::try_lock_shared(file).is_err()
    {
        return Ok(Rewritten::Done);
    }
    let text = Text::read(file).map_err(failed)?;
    if let Some(mut record) = text.record() {
        change(&mut record);
        let key = record.key.and_then(name::unescape);
        record.key = key.as_deref();
        record.write(file).map_err(failed)?;
    }
    fs4::FileExt::unlock(file).map_err(failed)?;
    drop(entered);
    Ok(Rewritten::Done)
}

/// Puts what changes of a shared hold into the record: its terms, or its end.
///
/// The hold is known there by the token `before`.
pub(crate) fn change(
    files: &Files,
    held: &Held,
    before: u64,
    terms: Option<&Terms>,
) -> Result<Rewritten, LockError> {
    let failed = |error| fault::at(&files.directory, &held.path, "written", error);
    let Some(entered) = files.directory.epochs.enter_soon()? else {
        return Ok(Rewritten::NotNow);
    };
    let text = Text::read(&held.file).map_err(failed)?;
    if let Some(mut record) = text.record()
        && let Some(index) = record.entries.iter().position(|entry| entry.token == before)
    {
        match terms {
            // A grant that is complete only now has to have a token above all before it (C7).
            Some(terms)
                if (record.entries[index].since == 0 || terms.token != before)
                    && record.token > before
                    && record.token >= terms.token =>
            {
                return Ok(Rewritten::Overtaken);
            }
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
    Ok(Rewritten::Done)
}
