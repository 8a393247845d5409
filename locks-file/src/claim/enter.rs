use std::sync::Arc;

use locks_core::{LockError, Reserve, UpstreamGrant};

use super::Attempt;
use crate::directory::Inode;
use crate::held::{FileGrant, Terms};
use crate::kernel::{self, Nanos, Opened};
use crate::persist::SOON;
use crate::record::{FileContent, Record, Text};
use crate::shared;

/// What a locked file came to.
pub(super) enum EnterOutcome {
    In(UpstreamGrant),
    /// It is not the one at the path any more.
    Again,
    /// It cannot be had yet.
    Out {
        file: Opened,
        again: Nanos,
        doubtful: bool,
    },
}

impl Attempt<'_> {
    /// Makes a locked file a grant: writes the record, then compares (G2).
    pub(super) fn enter(&mut self, file: Opened) -> Result<EnterOutcome, LockError> {
        if self.exclusive { self.enter_alone(file) } else { self.enter_shared(file) }
    }

    fn enter_alone(&mut self, file: Opened) -> Result<EnterOutcome, LockError> {
        let inode = file.inode;
        let text = self.read(&file)?;
        let until = self.directory.reserved_until(&self.name, &file, &text, true);
        if until > kernel::now() {
            self.reserved = until;
            return Ok(EnterOutcome::Out { file, again: until, doubtful: false });
        }
        let found = text.record();
        let was_reserved = match &found {
            Some(record) => record.entries.iter().any(|entry| entry.keep_until > 0),
            None => !self.directory.kept.reservations(&self.name).is_empty(),
        };
        let over = found.as_ref().and_then(|record| record.over);
        let (token, entered) = match found.as_ref().and_then(next_token) {
            Some(token) => (token, None),
            None => {
                let Some(mut entered) = self.directory.epochs.enter_in_turn(&mut self.ticket)?
                else {
                    self.lacks_books = true;
                    return Ok(EnterOutcome::Out {
                        file,
                        again: kernel::now() + SOON,
                        doubtful: true,
                    });
                };
                // A theft that was not finished has been undone just now.
                if !self.is_at_path(inode)? {
                    return Ok(EnterOutcome::Again);
                }
                (first_token(entered.next_epoch()?), Some(entered))
            }
        };
        let held = self.hold(file, token, over);
        self.write_first(&held)?;
        drop(entered);
        if !self.is_at_path(inode)? {
            return Ok(EnterOutcome::Again);
        }
        let reserves = self.options.hold_at_least.is_some();
        if was_reserved && !(reserves && self.options.reserve == Reserve::Always) {
            // Should it fail, what is there says nothing any more.
            let _ = self.directory.kept.forget(&self.name);
        }
        Ok(EnterOutcome::In(self.files.take_in(held)))
    }

    fn enter_shared(&mut self, file: Opened) -> Result<EnterOutcome, LockError> {
        let inode = file.inode;
        let directory = self.directory.clone();
        let Some(mut entered) = directory.epochs.enter_in_turn(&mut self.ticket)? else {
            self.lacks_books = true;
            return Ok(EnterOutcome::Out { file, again: kernel::now() + SOON, doubtful: true });
        };
        if !self.is_at_path(inode)? {
            return Ok(EnterOutcome::Again);
        }
        let text = self.read(&file)?;
        let beside = match text.parse() {
            FileContent::Record(_) => Text::default(),
            FileContent::Empty | FileContent::Torn => directory.kept.reservations(&self.name),
        };
        let mut record = text.record().or_else(|| beside.record()).unwrap_or_default();
        if !kernel::is_of_this_boot(record.boot, &file) {
            // What it says of holds is of another start of the machine.
            record.entries.clear();
        }
        let token = match next_token(&record) {
            Some(token) => token,
            None => first_token(entered.next_epoch()?),
        };
        let now = kernel::now();
        let until = match self.options.fair {
            Some(false) => record.reserved_until(false, now),
            _ => record.closed_until(false, now),
        };
        if until > now {
            self.reserved = until;
            return Ok(EnterOutcome::Out { file, again: until, doubtful: false });
        }
        // Exclusive holds have ended, now that the file is ours.
        record.entries.retain(|entry| !entry.exclusive);
        shared::forget_the_dead(&mut record, &directory, &self.process, inode);
        let held = self.hold(file, token, record.over);
        let terms = held.terms();
        record.boot = kernel::boot();
        record.token = token;
        record.removed = false;
        record.key = held.names_key.then_some(&*held.key);
        record.entries.push(held.entry(&terms));
        directory
            .write_record(&self.name, &held.file, &record)
            .map_err(|error| self.failed("written", error))?;
        drop(entered);
        if !self.is_at_path(inode)? {
            return Ok(EnterOutcome::Again);
        }
        Ok(EnterOutcome::In(self.files.take_in(held)))
    }

    /// Takes the file whose lock was kept for this turn (F6).
    pub(super) fn enter_kept(&mut self) -> Result<Option<UpstreamGrant>, LockError> {
        let Some(kept) = self.files.take_kept(self.key) else { return Ok(None) };
        let token = kept.terms().greatest;
        let counts = u32::try_from(token & 0xffff_ffff) != Ok(u32::MAX);
        // It was taken out of the books, and nobody else has it but for a moment.
        let kept = if self.exclusive && counts { Arc::try_unwrap(kept) } else { Err(kept) };
        let kept = match kept {
            Ok(kept) => kept,
            Err(unused) => {
                // Should it fail, the file is closed, which unlocks as well.
                let _ = unused.unlock();
                return Ok(None);
            }
        };
        if !Arc::ptr_eq(&kept.directory, &self.directory) {
            return Ok(None);
        }
        let (locked_since, passed) = (kept.locked_since, kept.passed);
        let (file, over) = (kept.file, kept.over);
        let inode = file.inode;
        let mut held = self.hold(file, token + 1, over);
        held.locked_since = locked_since;
        held.passed = passed + 1;
        self.write_first(&held)?;
        if !self.is_at_path(inode)? {
            return Ok(None);
        }
        Ok(Some(self.files.take_in(held)))
    }

    /// Writes the record of a grant that is about to be. Without it there is none, and the file is
    /// unlocked, not merely closed: a forked child might have a copy of it.
    fn write_first(&self, held: &FileGrant) -> Result<(), LockError> {
        held.write_alone(&held.terms()).map_err(|error| {
            let _ = held.unlock();
            self.failed("written", error)
        })
    }

    /// The grant that the file is about to be.
    pub(super) fn hold(
        &self,
        file: Opened,
        token: u64,
        over: Option<(u64, locks_core::LostCause)>,
    ) -> FileGrant {
        let if_done = self.options.reserve == Reserve::IfDone;
        let mut terms = Terms { token, greatest: token, if_done, ..Terms::default() };
        if !self.part_of_set {
            let (at_least, at_most) = (self.options.hold_at_least, self.options.hold_at_most);
            terms.begin(at_least, at_most, kernel::now());
        }
        let (about, process) = (self.about.clone(), self.process.clone());
        let (name, directory) = (&self.name, self.directory.clone());
        FileGrant::new(self.key, name, directory, file, self.exclusive, about, process, over, terms)
    }

    pub(super) fn is_at_path(&self, inode: Inode) -> Result<bool, LockError> {
        let there = self.directory.root.inode_at(&self.name);
        Ok(there.map_err(|error| self.failed("found", error))? == Some(inode))
    }
}

/// The token after those of a record; `None` if the count is in doubt (F3).
fn next_token(record: &Record<'_>) -> Option<u64> {
    let sound = record.boot == kernel::boot()
        && record.boot != 0
        && !record.removed
        && record.token >> 32 > 0
        && record.token & 0xffff_ffff < 0xffff_ffff;
    sound.then(|| record.token + 1)
}

/// The first token of an epoch.
pub(super) fn first_token(epoch: u32) -> u64 {
    (u64::from(epoch) << 32) | 1
}
