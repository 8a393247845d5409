//! Shared holds: several in one record, which changes only with the books in hand.

use std::sync::Arc;

use locks_core::LockError;

use crate::directory::{Directory, Entered, Inode};
use crate::held::{FileGrant, Terms};
use crate::kernel::{self, LockTable, Nanos, Opened, Process, Seen};
use crate::name;
use crate::record::{Entry, Record, Text};

/// From how many entries on to look which of them are of the living.
const MANY: usize = 16;
/// How often to look before somebody is taken to be dead.
const READINGS: usize = 3;

/// Takes out what is left of holders that have died. Those who cannot be seen from here stay (F11).
pub(crate) fn forget_the_dead(
    record: &mut Record<'_>,
    directory: &Directory,
    here: &Process,
    inode: Inode,
) {
    if record.entries.len() < MANY {
        return;
    }
    let now = kernel::now();
    let Some(named) = directory.in_table(inode) else { return };
    let mut holders = Vec::new();
    let stays = |entry: &Entry<'_>, holders: &[(Seen, bool)]| {
        entry.is_reserved(now)
            || !here.can_see(entry.space)
            || holders.iter().any(|(holder, _)| entry.is_of(holder, here))
    };
    // The table is not read in one piece.
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
    directory: Arc<Directory>,
    name: Box<str>,
    inode: Inode,
    token: u64,
}

/// Takes a shared hold that ends off the record. Until what could not be taken off is, it is
/// something that the kernel's table may or may not confirm: never as more than a hold of this
/// process's.
pub(crate) fn leave(held: &FileGrant) -> Option<Left> {
    let terms = held.terms();
    if held.exclusive {
        return None;
    }
    if held.lost() == Some(locks_core::LostCause::Evicted) {
        // Should it fail, it stays until the directory is cleaned: the token does not come again.
        let _ = held.directory.kept.forget_eviction(&held.name, terms.token);
    }
    if held.lost().is_some() || terms.reserves(kernel::now()) {
        return None;
    }
    match change(held, terms.token, None) {
        Ok(Rewritten::NotNow) => Some(Left {
            directory: held.directory.clone(),
            name: held.name.clone(),
            inode: held.file.inode,
            token: terms.token,
        }),
        _ => None,
    }
}

/// Takes off what was left. Says whether there is nothing more to do.
pub(crate) fn take_off(left: &Left) -> bool {
    let Ok(Some(file)) = left.directory.find_file(&left.name) else { return true };
    if file.inode != left.inode {
        return true;
    }
    let off = rewrite(&left.directory, &left.name, &file, |record| {
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
    directory: &Directory,
    name: &str,
    file: &Opened,
    until: Nanos,
) -> Result<(), LockError> {
    rewrite(directory, name, file, |record| record.wanted = until).map(drop)
}

/// Changes a record for somebody who does not have the file, and so takes a share in it for as long
/// as he writes. Where another has it alone there is nothing to change.
fn rewrite(
    directory: &Directory,
    name: &str,
    file: &Opened,
    change: impl FnOnce(&mut Record<'_>),
) -> Result<Rewritten, LockError> {
    let failed = |error| directory.lock_file(name).failed("written", error);
    let Some(entered) = directory.epochs.enter_soon()? else {
        return Ok(Rewritten::NotNow);
    };
    if directory.root.inode_at(name).map_err(failed)? != Some(file.inode)
        || fs4::FileExt::try_lock_shared(&**file).is_err()
    {
        return Ok(Rewritten::Done);
    }
    let text = Text::read(file).map_err(failed)?;
    if let Some(mut record) = text.record() {
        change(&mut record);
        let key = record.key.and_then(name::unescape);
        record.key = key.as_deref();
        directory.write_record(name, file, &record).map_err(failed)?;
    }
    fs4::FileExt::unlock(&**file).map_err(failed)?;
    drop(entered);
    Ok(Rewritten::Done)
}

/// Puts what changes of a shared hold into the record: its terms, or its end.
///
/// The hold is known there by the token `before`.
pub(crate) fn change(
    held: &FileGrant,
    before: u64,
    terms: Option<&Terms>,
) -> Result<Rewritten, LockError> {
    let failed = |error| held.directory.lock_file(&held.name).failed("written", error);
    let Some(mut entered) = held.directory.epochs.enter_soon()? else {
        return Ok(Rewritten::NotNow);
    };
    let text = Text::read(&held.file).map_err(failed)?;
    let Some(mut record) = text.record() else {
        return match terms {
            // It has been wiped: whether a later grant was given since cannot be told.
            Some(terms) if held.terms().since == 0 || terms.token != before => {
                Ok(Rewritten::Overtaken)
            }
            Some(terms) => write_anew(held, terms, &mut entered).map(|()| Rewritten::Done),
            None => Ok(Rewritten::Done),
        };
    };
    let index = record.entries.iter().position(|entry| entry.token == before);
    match (terms, index) {
        // A grant that is complete only now has to have a token above all before it (C7).
        (Some(terms), _)
            if (held.terms().since == 0 || terms.token != before)
                && record.token > before
                && record.token >= terms.token =>
        {
            return Ok(Rewritten::Overtaken);
        }
        (Some(terms), index) => {
            match index {
                Some(index) => record.entries[index] = held.entry(terms),
                // It had been wiped, and others have written since (F10).
                None => record.entries.push(held.entry(terms)),
            }
            record.token = record.token.max(terms.greatest);
        }
        (None, Some(index)) => drop(record.entries.remove(index)),
        (None, None) => return Ok(Rewritten::Done),
    }
    record.key = held.names_key.then_some(&*held.key);
    held.directory.write_record(&held.name, &held.file, &record).map_err(failed)?;
    drop(entered);
    Ok(Rewritten::Done)
}

/// Puts a shared hold back on a record that it is missing on (F10). `false`: not just now.
///
/// # Errors
/// What keeps it from being written.
pub(crate) fn restore(held: &FileGrant) -> Result<bool, LockError> {
    let failed = |error| held.directory.lock_file(&held.name).failed("written", error);
    let Some(mut entered) = held.directory.epochs.enter_soon()? else { return Ok(false) };
    let terms = held.terms();
    if !held.is_at_path().map_err(failed)?
        || held.directory.kept.is_evicted(&held.name, terms.token)
    {
        return Ok(true);
    }
    let text = Text::read(&held.file).map_err(failed)?;
    let Some(mut record) = text.record() else {
        return write_anew(held, &terms, &mut entered).map(|()| true);
    };
    if record.entries.iter().all(|entry| entry.token != terms.token) {
        record.entries.push(held.entry(&terms));
        record.key = held.names_key.then_some(&*held.key);
        held.directory.write_record(&held.name, &held.file, &record).map_err(failed)?;
    }
    drop(entered);
    Ok(true)
}

/// Writes a record where there is none any more, with what is reserved besides. Which tokens have
/// been granted is not known, so it takes another epoch (C7).
fn write_anew(held: &FileGrant, terms: &Terms, entered: &mut Entered<'_>) -> Result<(), LockError> {
    let beside = held.directory.kept.reservations(&held.name);
    let mut record = beside.record().unwrap_or_default();
    record.boot = kernel::boot();
    record.token = u64::from(entered.next_epoch()?) << 32;
    record.key = held.names_key.then_some(&*held.key);
    record.entries.retain(|entry| entry.token != terms.token);
    record.entries.push(held.entry(terms));
    let written = held.directory.write_record(&held.name, &held.file, &record);
    written.map_err(|error| held.directory.lock_file(&held.name).failed("written", error))
}
