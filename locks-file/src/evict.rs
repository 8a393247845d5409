//! Ending a hold from outside (C4, C14).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use locks_core::{LockError, LostCause, Op, Token};

use crate::directory::{Exchange, Inode, open_existing};
use crate::fault;
use crate::files::Files;
use crate::kernel::{self, LockTable, Seen};
use crate::name;
use crate::persist::persist;
use crate::record::{Record, Text};

/// Ends the hold or the reservation of `key` with this token, whoever has it.
pub(crate) fn evict(files: &Arc<Files>, key: &str, token: Token) -> Op<'static, bool> {
    let (files, key) = (files.clone(), key.to_owned());
    Op::later(async move { persist(&files, &key, || attempt(&files, &key, token.get())).await })
}

/// Whether there was one; `None`: not just now.
fn attempt(files: &Files, key: &str, token: u64) -> Result<Option<bool>, LockError> {
    files.check_process()?;
    let directory = &files.directory;
    let path = directory.file(&name::of_key(key));
    let failed = |error| fault::at(directory, &path, "released", error).with_key(key);
    let file = match open_existing(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(false)),
        Err(error) => return Err(failed(error)),
    };
    let Some(mut entered) = directory.epochs.enter_soon()? else { return Ok(None) };
    let inode = Inode::of(&file).map_err(failed)?;
    if Inode::at(&path).map_err(failed)? != Some(inode) {
        return Ok(None);
    }
    let text = Text::read(&file).map_err(failed)?;
    let Some(mut record) = text.record() else { return Ok(Some(false)) };
    let Some(index) = record.entries.iter().position(|entry| entry.token == token) else {
        return Ok(Some(false));
    };
    let holder = Seen::at(record.entries[index].pid);
    let (mine, others) = grips(files, inode, holder.pid);
    let is_held = mine && record.entries[index].is_of(holder);
    let reserved = record.entries[index].is_reserved(kernel::now());
    if !is_held && !reserved {
        return Ok(Some(false));
    }
    let shared_with_others = record.entries.len() > 1 || others;
    let key = name::is_hashed(&name::of_key(key)).then_some(key);
    if is_held && (record.entries[index].exclusive || !shared_with_others) {
        return take(files, &mut entered, &path, &file, &text, token, key).map(Some);
    }
    // Beside other holders, or of nobody: it goes off the record. The file is nobody's alone, or no
    // exclusive holder would be without an entry.
    match fs4::FileExt::try_lock_shared(&file) {
        Ok(()) => {}
        Err(fs4::TryLockError::WouldBlock) => return Ok(None),
        Err(fs4::TryLockError::Error(error)) => return Err(failed(error)),
    }
    record.entries.remove(index);
    record.key = key;
    record.write(&file).map_err(failed)?;
    fs4::FileExt::unlock(&file).map_err(failed)?;
    Ok(Some(true))
}

/// Whether a process has the file, and whether others have.
fn grips(files: &Files, inode: Inode, pid: u32) -> (bool, bool) {
    let (Ok(table), Some(named)) = (LockTable::read(), files.directory.in_table(inode)) else {
        return (false, false);
    };
    let (mut mine, mut others) = (false, false);
    for grip in table.of(named).filter(|grip| !grip.waits) {
        if grip.pid == pid { mine = true } else { others = true }
    }
    (mine, others)
}

/// Puts a free file in the place of the held one.
fn take(
    files: &Files,
    entered: &mut crate::directory::Entered<'_>,
    path: &Path,
    old: &File,
    judged: &Text,
    token: u64,
    key: Option<&str>,
) -> Result<bool, LockError> {
    let epoch = u64::from(entered.next_epoch()?);
    let free = Record {
        boot: kernel::boot(),
        token: epoch << 32,
        over: Some((token, LostCause::Evicted)),
        key,
        ..Record::default()
    };
    let exchange = Exchange::prepare(&files.directory, entered, path, true)?;
    let still = || Text::read(old).is_ok_and(|now| now.is_same(judged));
    let outcome = exchange.carry_out(still, |new| free.write(new))?;
    Ok(matches!(outcome, crate::directory::Outcome::Taken))
}
