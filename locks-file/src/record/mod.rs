//! What a lock file says of its holders (F3): for people, for thieves, and for the next token.
//!
//! It is text that `cat` shows. It is written by whoever has the file's `flock` alone, or shares it
//! and has the [directory's](crate::directory::Epochs) as well, and by nobody else.

mod about;
mod text;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use locks_core::{LostCause, Mode};

pub(crate) use self::about::{HolderText, describe, stranger, tell};
pub(crate) use self::text::{Text, is_marked};
use crate::kernel::{Nanos, Process, Seen};

/// A record to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record<'a> {
    /// During which start of the machine it was written.
    pub(crate) boot: u64,
    /// The greatest token granted so far: the file's epoch in the high half, a count in the low.
    pub(crate) token: u64,
    /// Whether the file is being removed by whoever has it.
    pub(crate) removed: bool,
    /// What became of the hold that this file's predecessor was for.
    pub(crate) over: Option<(u64, LostCause)>,
    /// Until when new shared holds keep off, because somebody wants the key alone (C3).
    pub(crate) wanted: Nanos,
    /// The key, where the name of the file does not tell it.
    pub(crate) key: Option<&'a str>,
    pub(crate) entries: Vec<Entry<'a>>,
}

/// One hold, or what is reserved of one that has ended (C14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) token: u64,
    pub(crate) exclusive: bool,
    /// The process, as the pid namespace counts that it runs in, and which that is; 0: unknown.
    pub(crate) pid: u32,
    pub(crate) space: u64,
    /// When the process began.
    pub(crate) started: u64,
    /// Since when it ages; 0: not yet, being part of an unfinished set (C11).
    pub(crate) since: Nanos,
    /// Until when nobody steals it and the key is reserved (C14); 0: not.
    pub(crate) keep_until: Nanos,
    /// Whether it is reserved only if it is released as done: so far it is not.
    pub(crate) if_done: bool,
    /// When its arbiter was to end it (C14); 0: never.
    pub(crate) ends_at: Nanos,
    /// Who and where, see [`HolderText`].
    pub(crate) about: &'a str,
}

/// What was found in a lock file.
#[derive(Debug)]
pub(crate) enum FileContent<'a> {
    /// Nothing: new, or somebody else's, or a theft that is undecided.
    Empty,
    /// A record.
    Record(Record<'a>),
    /// Something that is no record, or is being written.
    Torn,
}

impl Entry<'_> {
    /// Whether it is of the process that is seen there from `here`.
    pub(crate) fn is_of(&self, process: &Seen, here: &Process) -> bool {
        process.is(self.pid, self.space, self.started, here)
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.exclusive { Mode::Exclusive } else { Mode::Shared }
    }

    pub(crate) fn is_reserved(&self, now: Nanos) -> bool {
        self.keep_until > now && !self.if_done
    }

    /// Whether a hold of this mode has to stay away from it.
    pub(crate) fn conflicts(&self, exclusive: bool) -> bool {
        self.exclusive || exclusive
    }
}

impl Record<'_> {
    /// Until when a newcomer of this mode has to stay away, whoever is there: because the key is
    /// reserved (C14) or, with shared holds, wanted alone (C3).
    pub(crate) fn closed_until(&self, exclusive: bool, now: Nanos) -> Nanos {
        let wanted = if exclusive { 0 } else { self.wanted };
        self.reserved_until(exclusive, now).max(wanted)
    }

    /// Until when a hold of this mode has to stay away, whoever is there (C14).
    pub(crate) fn reserved_until(&self, exclusive: bool, now: Nanos) -> Nanos {
        let apart = self.entries.iter().filter(|entry| entry.conflicts(exclusive));
        let reserved = apart.filter(|entry| entry.is_reserved(now)).map(|entry| entry.keep_until);
        reserved.max().unwrap_or(0)
    }

    /// Those entries that the key is reserved by, whether or not anybody holds it (C14).
    pub(crate) fn reserved(&self, now: Nanos) -> Vec<Entry<'_>> {
        self.entries.iter().filter(|entry| entry.is_reserved(now)).copied().collect()
    }

    /// Writes it over what the file has. Lock files are written by way of
    /// [`Directory::write_record`](crate::directory::Directory::write_record).
    ///
    /// # Errors
    /// Those of writing: a full disk, for one.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(Text::of(self).as_bytes(), 0)
    }
}
