use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use locks_core::{Clock, LockError, Moment, Token};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::charge::Charge;
use super::directory::{Directory, read_all};
use super::header::{ANOTHER_VERSION, Header};
use super::ledger::Ledger;
use super::tokens::{TOKENS, Tokens};
use super::{boot, fault};

const JOURNAL: &str = "journal";
/// A shorter journal is not worth the trouble.
const SHORT: u64 = 1 << 20;
/// So much is reserved beyond what is needed, so that it need not be asked for each time.
const SPARE: u64 = 1 << 16;

/// A server's directory, of which it is in charge while this lives (N4): its journal, its tokens,
/// and the lock that keeps others out.
#[derive(Debug)]
pub(crate) struct Store {
    tokens: Tokens,
    /// What a journal that is made anew begins with: its floor is the greatest token covered so
    /// far.
    header: Header,
    journal: File,
    /// How far the journal has been written, in whole batches.
    len: u64,
    /// The disk has room for it up to here, whatever becomes of the rest.
    reserved: u64,
    /// What the next compaction writes to.
    spare: Spare,
    /// There is hardly any room for more.
    cramped: bool,
    /// Why what had room could not be written all the same.
    failing: Option<String>,
    /// How long it was after it was made anew last.
    compacted: u64,
    /// There is something behind `len` that could not be cut off.
    torn: bool,
    /// Last: nobody else begins before the files are closed.
    charge: Charge,
}

/// What the servers before left.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    /// Every token granted so far is at most this.
    pub(crate) floor: Token,
    /// Nothing may be granted for so long: there are leases of which nothing is known any more.
    pub(crate) silent_for: Option<Duration>,
}

impl Store {
    /// Takes charge of the directory, and reads what there is in it. `boot_clock` is the one that
    /// goes on in suspend. `dead`: the inode of a process that is known to have ended.
    ///
    /// # Errors
    /// `Contended` if another server has it; `NotConfigured` if the directory is not what it should
    /// be; `Unavailable` if it cannot be used, or the journal or the tokens are damaged.
    pub(crate) fn open(
        path: &Path,
        offers_tcp: bool,
        boot_clock: &dyn Clock,
        dead: Option<u64>,
    ) -> Result<(Self, Recovered), LockError> {
        let boot = boot::id().map_err(fault::no_boot_id)?;
        let charge = Charge::take(Directory::open(path)?, dead)?;
        Self::read(charge, offers_tcp, boot, boot_clock.now())
    }

    /// The same, the machine having been started as `boot`.
    #[cfg(test)]
    pub(super) fn open_in(
        path: &Path,
        offers_tcp: bool,
        boot: [u8; 16],
        now: Moment,
    ) -> Result<(Self, Recovered), LockError> {
        let charge = Charge::take(Directory::open(path)?, None)?;
        Self::read(charge, offers_tcp, boot, now)
    }

    fn read(
        charge: Charge,
        offers_tcp: bool,
        boot: [u8; 16],
        now: Moment,
    ) -> Result<(Self, Recovered), LockError> {
        let directory = charge.directory();
        let path = directory.file(JOURNAL);
        let unusable = |error| fault::file(&path, error);

        let before = Tokens::read(directory)?;
        let file = directory.open_file(JOURNAL).map_err(unusable)?;
        let tokens = match &before {
            Some(tokens) => tokens.clone(),
            None if file.is_some() => return Err(Tokens::missing(directory)),
            None => Tokens::new(boot::random().map_err(unusable)?, boot),
        };
        let file = file.filter(|_| tokens.boot == boot);
        let found = match file {
            Some(file) => ExistingJournal::read(file, &path, &tokens)?,
            None => None,
        };
        let is_silent = match &found {
            // The server before was killed within its silence (N4: a second crash repeats the
            // rule).
            Some(found) => found.header.silent_until.is_some_and(|until| until > now),
            None => tokens.tcp,
        };
        let silent_for = Some(tokens.lease).filter(|lease| is_silent && !lease.is_zero());

        // The tokens first: a journal beside which there are none is not believed.
        let tokens = Tokens { boot, tcp: tokens.tcp || offers_tcp, ..tokens };
        if before.as_ref() != Some(&tokens) {
            let written = tokens.write(directory);
            written.map_err(|error| fault::file(&directory.file(TOKENS), error))?;
        }
        let silent_until = silent_for.map(|lease| now.after(lease));
        // What was granted since the machine was started is in the journal, to the last token.
        let floor = found.as_ref().map_or(tokens.floor(), ExistingJournal::greatest_token);
        let header = Header { boot, directory: tokens.directory, floor, silent_until };
        let (ledger, file, len) = match found {
            Some(found) if silent_for.is_none() && !found.is_anothers => {
                // It frees what was reserved behind the end, too: only where there is something to
                // cut off.
                if found.file.metadata().map_err(unusable)?.len() > found.len {
                    found.file.set_len(found.len).map_err(unusable)?;
                }
                (found.ledger, found.file, found.len)
            }
            found => {
                let ledger = found.map(|found| found.ledger).unwrap_or_default();
                let records = ledger.encode();
                let file = begin(directory, &header, &records).map_err(unusable)?;
                (ledger, file, length(&records))
            }
        };
        let reserved = room(&file).map_err(unusable)?.max(len);
        let store = Self {
            tokens,
            header,
            journal: file,
            len,
            reserved,
            spare: Spare::default(),
            cramped: false,
            failing: None,
            compacted: 0,
            torn: false,
            charge,
        };
        Ok((store, Recovered { ledger, floor, silent_for }))
    }

    /// Writes a batch of records down. Nothing that follows from them may be told to anybody
    /// before.
    ///
    /// # Errors
    /// None of the batch is in the journal then.
    pub(crate) fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        // One system call, unless there is not enough room for all of it: then another, for the
        // reason.
        let appended = self.cut().and_then(|()| self.journal.write_all_at(batch, self.len));
        match appended {
            Ok(()) => {
                self.len += batch.len() as u64;
                self.failing = None;
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                // If it cannot be cut now it is before the next batch.
                let _ = self.cut();
                let error = fault::writing(&self.charge.directory().file(JOURNAL), &error);
                self.failing = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Sees to it that this token may be granted and this lease promised, and that so many more
    /// bytes can be [appended](Self::append), whatever becomes of the disk (N6). Costs next to
    /// nothing where that is so already.
    ///
    /// # Errors
    /// Nothing that needs it may be begun.
    pub(crate) fn promise(
        &mut self,
        token: Token,
        lease: Duration,
        bytes: usize,
    ) -> io::Result<()> {
        if let Some(why) = &self.failing {
            return Err(io::Error::other(why.clone()));
        }
        self.cover_more(token, lease)?;
        let end = self.len.saturating_add(bytes as u64);
        let ahead = end.saturating_add(SPARE / 2);
        if ahead > self.reserved || self.spare.room < self.reserved {
            // Ahead, so that the journal is compacted before anybody has to be refused.
            self.cramped = self.take_room(ahead.saturating_add(SPARE / 2)).is_err();
            if self.cramped && (end > self.reserved || self.spare.room < self.reserved) {
                let path = self.charge.directory().file(JOURNAL);
                self.take_room(end).map_err(|error| fault::writing(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Takes room for the journal up to `end`, and as much for its compaction: of what is live
    /// there is no more than the journal has of it.
    fn take_room(&mut self, end: u64) -> io::Result<()> {
        let end = end.max(self.reserved);
        self.spare.take_room(self.charge.directory(), end)?;
        self.reserved = reserve(&self.journal, self.reserved, end)?;
        Ok(())
    }

    /// Sees to it that this token may be granted and this lease promised, whatever happens to the
    /// machine. Costs next to nothing where that is so already.
    ///
    /// # Errors
    /// Neither may be told to anybody then.
    pub(crate) fn cover(&mut self, token: Token, lease: Duration) -> io::Result<()> {
        self.cover_more(token, lease)?;
        self.header.floor = self.header.floor.max(token);
        Ok(())
    }

    fn cover_more(&mut self, token: Token, lease: Duration) -> io::Result<()> {
        if let Some(more) = self.tokens.covering(token, lease)? {
            self.ensure_charge()?;
            let written = more.write(self.charge.directory());
            written
                .map_err(|error| fault::writing(&self.charge.directory().file(TOKENS), &error))?;
            self.tokens = more;
        }
        Ok(())
    }

    /// Puts a journal with these records in the place of the one there is, with as much room behind
    /// them as that has. All tokens granted so far have been [covered](Self::cover).
    ///
    /// # Errors
    /// The journal is as it was then, and goes on.
    pub(crate) fn compact(&mut self, snapshot: &[u8]) -> io::Result<()> {
        self.ensure_charge()?;
        let len = length(snapshot);
        let end = len + self.reserved.saturating_sub(self.len).min(SHORT);
        let content: [&[u8]; 2] = [&self.header.encode(), snapshot];
        let begun = self.spare.write(self.charge.directory(), &content).and_then(|(file, room)| {
            let reserved = reserve(&file, room.max(len), end)?;
            self.charge.directory().move_into_place(JOURNAL)?;
            Ok((file, reserved))
        });
        // Should that fail, what was there is there still.
        let begun =
            begun.map_err(|error| fault::writing(&self.charge.directory().file(JOURNAL), &error));
        let (journal, reserved) = begun?;
        let old = std::mem::replace(&mut self.journal, journal);
        self.len = len;
        // No more than there can be for the next compaction.
        self.reserved = reserved.min(self.reserved.max(end));
        self.failing = None;
        self.compacted = self.len;
        self.torn = false;
        self.cramped = false;
        // While the old one keeps its room, so that others who fill the disk have none of it; where
        // there is not so much, of what it leaves; otherwise before the next grant.
        if self.spare.take_room(self.charge.directory(), self.reserved).is_err() {
            drop(old);
            let _ = self.spare.take_room(self.charge.directory(), self.reserved);
        }
        Ok(())
    }

    /// Whether there is anything beyond what every build reads.
    pub(crate) fn has_records(&self) -> bool {
        self.len > Header::LEN as u64
    }

    /// Whether most of the journal may be about what is over.
    pub(crate) fn is_due_for_compaction(&self) -> bool {
        let (least, times) = if self.cramped { (0, 2) } else { (SHORT, 4) };
        self.len > least && self.len > self.compacted.max(Header::LEN as u64).saturating_mul(times)
    }

    /// Whether nobody has removed the directory or its lock, so that another server could have
    /// begun. Otherwise it is not in charge any more, and has to end.
    ///
    /// # Errors
    /// That cannot be found out now.
    pub(crate) fn is_in_charge(&self) -> io::Result<bool> {
        self.charge.ensure()
    }

    /// # Errors
    /// It is not in charge any more.
    fn ensure_charge(&self) -> io::Result<()> {
        match self.is_in_charge()? {
            true => Ok(()),
            false => Err(fault::discharged(&self.charge.directory().file(super::charge::LOCK))),
        }
    }

    /// Cuts off what is left of a batch that failed.
    fn cut(&mut self) -> io::Result<()> {
        if self.torn {
            self.journal.set_len(self.len)?;
            self.torn = false;
        }
        Ok(())
    }
}

/// A file that has room for the next compaction (N6), so that a disk which is full of what is over
/// can be freed of it.
#[derive(Debug, Default)]
struct Spare {
    file: Option<File>,
    /// How much room it has.
    room: u64,
}

impl Spare {
    /// Sees to it that it has so much.
    fn take_room(&mut self, directory: &Directory, room: u64) -> io::Result<()> {
        if room > self.room {
            self.open(directory)?;
        }
        if let (Some(file), true) = (&self.file, room > self.room) {
            self.room = reserve(file, self.room, room)?;
        }
        Ok(())
    }

    /// It may be that of a predecessor, and have room already.
    fn open(&mut self, directory: &Directory) -> io::Result<()> {
        if self.file.is_none() {
            let file = directory.open_new(JOURNAL)?;
            self.room = room(&file)?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// Fills it, and returns it with how much room it has; after that there is none.
    fn write(&mut self, directory: &Directory, content: &[&[u8]]) -> io::Result<(File, u64)> {
        self.open(directory)?;
        let Self { file, mut room } = std::mem::take(self);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        if file.metadata()?.len() > 0 {
            // A compaction that came to nothing.
            file.set_len(0)?;
            room = 0;
        }
        let mut at = 0;
        for part in content {
            file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok((file, room))
    }
}

/// A journal that this server's predecessor has written.
struct ExistingJournal {
    file: File,
    header: Header,
    /// Another build has written it: what this one writes does not go behind it.
    is_anothers: bool,
    ledger: Ledger,
    len: u64,
}

impl ExistingJournal {
    /// `None`: it counts from another start of the machine.
    fn read(file: File, path: &Path, tokens: &Tokens) -> Result<Option<Self>, LockError> {
        let content = read_all(&file).map_err(|error| fault::file(path, error))?;
        let (header, records, is_anothers) = Header::split(&content).map_err(|why| match why {
            ANOTHER_VERSION => fault::another_version(path),
            why => fault::corrupt_journal(path, why),
        })?;
        if header.boot != tokens.boot {
            return Ok(None);
        }
        if header.directory != tokens.directory {
            return Err(fault::corrupt_journal(path, "that of another directory"));
        }
        let (ledger, len) =
            Ledger::read(records).map_err(|corrupt| fault::corrupt_journal(path, corrupt))?;
        let len = (Header::LEN + len) as u64;
        let found = Self { file, header, is_anothers, ledger, len };
        if found.greatest_token() > tokens.floor() {
            return Err(fault::corrupt_journal(path, "ahead of `tokens`, which is an old copy"));
        }
        Ok(Some(found))
    }

    fn greatest_token(&self) -> Token {
        self.header.floor.max(self.ledger.greatest_token())
    }
}

/// A new journal, in one step. It is not synced: after a failure of power nobody reads it.
fn begin(directory: &Directory, header: &Header, records: &[u8]) -> io::Result<File> {
    directory.replace(JOURNAL, &[&header.encode(), records], false)
}

/// How much of a file without holes has room certainly.
fn room(file: &File) -> io::Result<u64> {
    // Some file systems count what they need besides.
    const BESIDES: u64 = 1 << 14;
    Ok((file.metadata()?.blocks() * 512).saturating_sub(BESIDES))
}

/// Takes room for a file that has room up to `from` for more, up to `end`: what there is of it
/// then. If there is not enough, `tmpfs` lets go of all the room that it was asked for again, and
/// so is not asked for what it has given.
fn reserve(file: &File, from: u64, end: u64) -> io::Result<u64> {
    if end <= from {
        return Ok(from);
    }
    if end == u64::MAX {
        return Ok(end);
    }
    if end > getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX) {
        // To write there would be a signal that ends the process.
        return Err(Errno::FBIG.into());
    }
    let mode = FallocateFlags::KEEP_SIZE;
    match rustix::io::retry_on_intr(|| fallocate(file, mode, from, end - from)) {
        Ok(()) => Ok(end),
        // This file system does not: whether there is room is seen when it is written to.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}

fn length(records: &[u8]) -> u64 {
    (Header::LEN + records.len()) as u64
}
