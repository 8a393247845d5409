//! Ending a hold from outside (C4, C14).

use std::fs::File;
use std::sync::Arc;

use locks_core::{LockError, LostCause, Op, Token};

use crate::directory::{Directory, Entered, Exchange, Outcome};
use crate::files::Files;
use crate::kernel::{self, LockTable, Nanos, Opened, Process};
use crate::name;
use crate::persist::persist;
use crate::record::{Entry, Record, Text};

/// For how long a holder has time to put back a record that others have wiped.
const RESTORED: Nanos = 1_000_000_000;

/// Ends the hold or the reservation of `key` with this token, whoever has it.
pub(crate) fn evict(files: &Arc<Files>, key: &str, token: Token) -> Op<'static, bool> {
    let directory = match files.arrive() {
        Ok(directory) => directory,
        Err(error) => return Op::failed(error.with_key(key)),
    };
    let (process, key, until) = (files.process.clone(), key.to_owned(), kernel::now() + RESTORED);
    Op::later(async move {
        let eviction = Eviction { directory: &directory, process: &process, key: &key, until };
        persist(&directory, &key, || eviction.attempt(token.get())).await
    })
}

struct Eviction<'a> {
    directory: &'a Directory,
    process: &'a Process,
    key: &'a str,
    /// Until when a record that was wiped may come back.
    until: Nanos,
}

impl Eviction<'_> {
    /// Whether there was one; `None`: not just now.
    fn attempt(&self, token: u64) -> Result<Option<bool>, LockError> {
        let Self { directory, key, .. } = *self;
        let name = &*name::of_key(key);
        let failed = |error| directory.lock_file(name).failed("released", error).with_key(key);
        let Some(file) = directory.find_file(name).map_err(failed)? else {
            return match directory.root.inode_at(name).map_err(failed)? {
                None => Ok(Some(false)),
                Some(_) => Err(directory.lock_file(name).not_ours().with_key(key)),
            };
        };
        let Some(mut entered) = directory.epochs.enter_soon()? else { return Ok(None) };
        if directory.root.inode_at(name).map_err(failed)? != Some(file.inode) {
            return Ok(None);
        }
        let text = Text::read(&file).map_err(failed)?;
        let Some(mut record) = text.record() else {
            return self.without_record(name, &file, token);
        };
        let Some(index) = record.entries.iter().position(|entry| entry.token == token) else {
            return Ok(Some(false));
        };
        let entry = record.entries[index];
        let (is_held, others) = self.is_held(&entry, &file).map_err(failed)?;
        if !is_held && !entry.is_reserved(kernel::now()) {
            return Ok(Some(false));
        }
        let shared_with_others = record.entries.len() > 1 || others;
        record.key = name::is_hashed(name).then_some(key);
        if is_held && (entry.exclusive || !shared_with_others) {
            let taken = take(directory, &mut entered, name, &file, &text, token, record.key)?;
            directory.kept.forget(name).map_err(failed)?;
            return Ok(Some(taken));
        }
        // Beside other holders, or of nobody: it goes off the record. The file is nobody's alone,
        // or no exclusive holder would be without an entry.
        match fs4::FileExt::try_lock_shared(&*file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => return Ok(None),
            Err(fs4::TryLockError::Error(error)) => return Err(failed(error)),
        }
        if is_held {
            directory.kept.note_eviction(name, token).map_err(failed)?;
        }
        record.entries.remove(index);
        if entry.keep_until > 0 {
            directory.kept.forget(name).map_err(failed)?;
        }
        directory.write_record(name, &file, &record).map_err(failed)?;
        fs4::FileExt::unlock(&*file).map_err(failed)?;
        Ok(Some(true))
    }

    /// Whether the hold of an entry stands, and whether others have the file as well. Somebody who
    /// cannot be seen from here has it, as long as nothing speaks against that (F11).
    fn is_held(&self, entry: &Entry<'_>, file: &Opened) -> std::io::Result<(bool, bool)> {
        let holders = match (LockTable::read(), self.directory.in_table(file.inode)) {
            (Ok(table), Some(named)) => table.holders(named),
            _ => Vec::new(),
        };
        let is_of_it = |(holder, _): &&_| entry.is_of(holder, self.process);
        let mine = holders.iter().filter(is_of_it).count();
        if mine > 0 || self.process.can_see(entry.space) && self.directory.has_table() {
            return Ok((mine > 0, holders.len() > mine));
        }
        if !entry.exclusive {
            return Ok((true, !holders.is_empty()));
        }
        // Nobody but those who cannot be seen either could keep the books' owner from it.
        match fs4::FileExt::try_lock_shared(&**file) {
            Ok(()) => fs4::FileExt::unlock(&**file).map(|()| (false, false)),
            Err(fs4::TryLockError::WouldBlock) => Ok((holders.is_empty(), false)),
            Err(fs4::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The record is not there: it has been wiped, and its holder, if there is one, puts it back
    /// soon. What is reserved by nobody can be told without (K1).
    fn without_record(
        &self,
        name: &str,
        file: &Opened,
        token: u64,
    ) -> Result<Option<bool>, LockError> {
        let failed =
            |error| self.directory.lock_file(name).failed("released", error).with_key(self.key);
        match fs4::FileExt::try_lock(&**file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => {
                return Ok((kernel::now() > self.until).then_some(false));
            }
            Err(fs4::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let beside = self.directory.kept.reservations(name);
        let mut record = beside.record().unwrap_or_default();
        let before = record.entries.len();
        record.entries.retain(|entry| entry.token != token);
        let found = record.entries.len() < before;
        if found {
            self.directory.kept.forget(name).map_err(failed)?;
            let others = record.reserved(kernel::now());
            if !others.is_empty() {
                self.directory.kept.reserve(name, record.key, others).map_err(failed)?;
            }
        }
        fs4::FileExt::unlock(&**file).map_err(failed)?;
        Ok(Some(found))
    }
}

/// Puts a free file in the place of the held one.
fn take(
    directory: &Directory,
    entered: &mut Entered<'_>,
    name: &str,
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
    let exchange = Exchange::prepare(directory, entered, name, true)?;
    let still = || Text::read(old).is_ok_and(|now| now.is_same(judged));
    let outcome = exchange.carry_out(still, |new| free.write(new))?;
    Ok(matches!(outcome, Outcome::Taken))
}
