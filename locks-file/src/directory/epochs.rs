//! The books of a directory: which epoch is next (F3), and which theft is under way (F4). Whoever has
//! their `flock` is alone in changing what several may want to change.
//!
//! * E1: an epoch is handed out once. The books promise epochs to come on disk before any of them is
//!   handed out, so that those survive a crash of the machine.
//! * E2: whoever enters first finishes or undoes what somebody who died in here had begun.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};

use locks_core::LockError;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Inode, Settings, exchange, open_at, open_existing};
use crate::fault;
use crate::kernel::{self, LockTable};
use crate::name;
use crate::record::Text;

/// The file of the books.
const BOOKS: &str = ".epochs";
/// How many epochs are promised at a time.
const PROMISED: u32 = 1024;
/// How far ahead to go where the books are lost and only the lock files tell.
const LEAP: u32 = 1 << 16;
/// Tokens stay below 2^61.
const LAST: u32 = (1 << 29) - 1;

#[derive(Debug)]
pub(crate) struct Epochs {
    path: PathBuf,
    name: String,
    mode: Mode,
    /// One of this process at a time: threads that share an open file share its lock.
    file: Mutex<Option<File>>,
}

/// What a look at the directory came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Examined {
    pub(super) table_device: Option<u64>,
    pub(super) exchanges: bool,
}

/// The books in hand: the right to change what is everybody's.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    epochs: &'a Epochs,
    file: MutexGuard<'a, Option<File>>,
    books: Books,
}

/// What is in the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Books {
    boot: u64,
    /// The next epoch; 0: the books were empty or torn.
    next: u32,
    /// The first that is not promised.
    until: u32,
    /// Whether files can be exchanged here, once that has been tried since the machine started.
    exchanges: Option<bool>,
    /// The theft under way: the file's name, and the inode that takes its place.
    theft: Option<(String, u64)>,
}

impl Epochs {
    pub(super) fn open(path: &Path, name: &str, settings: &Settings) -> Result<Self, LockError> {
        let epochs = Self {
            path: path.join(BOOKS),
            name: name.to_owned(),
            mode: settings.file_mode(path),
            file: Mutex::new(None),
        };
        let file = epochs.open_file().map_err(|error| fault::directory(path, error))?;
        *epochs.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
        Ok(epochs)
    }

    fn open_file(&self) -> io::Result<File> {
        let is = |what| {
            let shown = self.path.display();
            io::Error::other(format!("`{shown}` is {what}, and is left alone: remove it"))
        };
        let file = match open_at(&self.path, OFlags::CREATE, self.mode) {
            Err(Errno::LOOP) => return Err(is("a symbolic link")),
            Err(Errno::ISDIR) => return Err(is("a directory")),
            Err(Errno::NXIO) => return Err(is("no regular file")),
            outcome => outcome?,
        };
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(is("no regular file")),
        }
    }

    /// Opens the books, if nobody else has them just now.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub(crate) fn try_enter(&self) -> Result<Option<Entered<'_>>, LockError> {
        let mut file = match self.file.try_lock() {
            Ok(file) => file,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let failed = |error| fault::books(&self.name, &self.path, error);
        // Only somebody who deletes files all the time gets it to go round more than once.
        for _ in 0..100 {
            let open = match file.take() {
                Some(open) => open,
                None => self.open_file().map_err(failed)?,
            };
            match fs4::FileExt::try_lock(&open) {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => {
                    // Of a file that is gone nobody will ever tell that it is free.
                    if Inode::at(&self.path).ok().flatten() == Inode::of(&open).ok() {
                        *file = Some(open);
                    }
                    return Ok(None);
                }
                Err(fs4::TryLockError::Error(error)) => {
                    return Err(fault::no_locks(&self.path, error));
                }
            }
            let here = Inode::of(&open).map_err(failed)?;
            if Inode::at(&self.path).map_err(failed)? == Some(here) {
                let books = Books::read(&open).map_err(failed)?.unwrap_or_default();
                *file = Some(open);
                let mut entered = Entered { epochs: self, file, books };
                entered.recover()?;
                return Ok(Some(entered));
            }
        }
        Ok(None)
    }

    /// As [`try_enter`](Self::try_enter), for somebody who would rather wait a moment than come again.
    pub(crate) fn enter_soon(&self) -> Result<Option<Entered<'_>>, LockError> {
        for _ in 0..20 {
            if let Some(entered) = self.try_enter()? {
                return Ok(Some(entered));
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// Who has the books, as far as the kernel tells.
    pub(crate) fn holder(&self, in_table: impl Fn(Inode) -> Option<Inode>) -> Option<u32> {
        let inode = in_table(Inode::at(&self.path).ok().flatten()?)?;
        LockTable::read().ok()?.of(inode).find(|grip| !grip.waits).map(|grip| grip.pid)
    }

    /// Whether locks are locks here, what the kernel's table shows, and whether files can be exchanged.
    pub(super) fn examine(
        &self,
        path: &Path,
        name: &str,
        settings: &Settings,
    ) -> Result<Examined, LockError> {
        let patience = kernel::now() + 5_000_000_000;
        let mut entered = loop {
            if let Some(entered) = self.try_enter()? {
                break entered;
            }
            if kernel::now() > patience {
                let pid = self.holder(Some);
                return Err(fault::held_up(name, pid));
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        };
        let failed = |error| fault::books(&self.name, &self.path, error);
        let inode = Inode::of(entered.file()).map_err(failed)?;
        let second = self.open_file().map_err(failed)?;
        match fs4::FileExt::try_lock(&second) {
            Err(fs4::TryLockError::WouldBlock) => {}
            // Unless somebody has removed the books meanwhile, and these are others.
            Ok(()) if Inode::of(&second).map_err(failed)? == inode => {
                return Err(fault::no_exclusion(path));
            }
            Ok(()) => {}
            Err(fs4::TryLockError::Error(error)) => return Err(fault::no_locks(path, error)),
        }
        drop(second);
        let table_device = table_device(inode);
        let boot = kernel::boot();
        let exchanges = match entered.books.exchanges.filter(|_| entered.books.boot == boot) {
            Some(known) => known,
            None => {
                let can = exchange::probe(path, settings);
                entered.books.exchanges = Some(can);
                entered.write_books()?;
                can
            }
        };
        Ok(Examined { table_device, exchanges })
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// The device that the kernel's table has for a file which this process has locked. The table is not
/// read in one piece: where locks come and go, an entry can be missed.
fn table_device(inode: Inode) -> Option<u64> {
    const LOOKS: usize = 50;
    (0..LOOKS).find_map(|_| {
        let table = LockTable::read().ok()?;
        let mut devices = table.devices_of(inode.ino, std::process::id());
        // Some file systems tell `stat` of another device than the table has.
        let first = devices.next()?;
        Some(if devices.any(|dev| dev == inode.dev) { inode.dev } else { first })
    })
}

/// The inode that a theft under way puts in somebody's place, in the directory of this file. Read
/// without having the books in hand.
pub(crate) fn theft_under_way(path: &Path) -> Option<u64> {
    let books = open_existing(&path.with_file_name(BOOKS)).ok()?;
    Books::read(&books).ok()??.theft.map(|(_, inode)| inode)
}

impl Entered<'_> {
    /// The next epoch of the directory (E1).
    ///
    /// # Errors
    /// If the books cannot be written, and if there are no epochs left.
    pub(crate) fn next_epoch(&mut self) -> Result<u32, LockError> {
        self.settle()?;
        if self.books.next >= LAST {
            let why = "its epochs have run out: name another directory by `file:///dir`";
            return Err(LockError::new(locks_core::ErrorKind::LimitExceeded, "")
                .with_backend(&*self.epochs.name)
                .with_message(format!("`{}`: {why}", self.epochs.name)));
        }
        let mut books = self.books.clone();
        books.next += 1;
        self.write(books)?;
        Ok(self.books.next - 1)
    }

    /// Notes the theft that begins, or that there is none any more.
    pub(crate) fn note_theft(&mut self, theft: Option<(String, u64)>) -> Result<(), LockError> {
        self.books.theft = theft;
        self.write_books()
    }

    fn write_books(&mut self) -> Result<(), LockError> {
        self.settle()?;
        self.write(self.books.clone())
    }

    /// Sees to it that the books are of this start of the machine and have a promised epoch.
    fn settle(&mut self) -> Result<(), LockError> {
        let boot = kernel::boot();
        let mut books = self.books.clone();
        if books.next == 0 {
            books.next = self.greatest_found()?.map_or(1, |found| found.saturating_add(LEAP));
            books.until = books.next;
        } else if books.boot != boot {
            // What was handed out before the crash may not have been written down.
            books.next = books.until;
        }
        books.boot = boot;
        if books.next >= books.until {
            books.until = books.next.saturating_add(PROMISED);
            self.write(books)?;
            let failed = |error| fault::books(&self.epochs.name, &self.epochs.path, error);
            self.file().sync_data().map_err(failed)?;
            File::open(self.epochs.directory()).and_then(|dir| dir.sync_all()).map_err(failed)?;
        } else {
            self.books = books;
        }
        Ok(())
    }

    /// The greatest epoch that any lock file here tells of.
    fn greatest_found(&self) -> Result<Option<u32>, LockError> {
        let failed = |error| fault::books(&self.epochs.name, &self.epochs.path, error);
        let mut greatest = None;
        for entry in std::fs::read_dir(self.epochs.directory()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().ends_with(name::SUFFIX)
                && let Ok(file) = open_existing(&entry.path())
                && let Some(record) = Text::read(&file).ok().as_ref().and_then(Text::record)
            {
                greatest = greatest.max(u32::try_from(record.token >> 32).ok());
            }
        }
        Ok(greatest)
    }

    /// E2.
    fn recover(&mut self) -> Result<(), LockError> {
        let Some((name, inode)) = self.books.theft.clone() else { return Ok(()) };
        exchange::recover(self.epochs.directory(), &name, inode)
            .map_err(|error| fault::books(&self.epochs.name, &self.epochs.path, error))?;
        self.note_theft(None)
    }

    fn write(&mut self, books: Books) -> Result<(), LockError> {
        let failed = |error| fault::books(&self.epochs.name, &self.epochs.path, error);
        self.file().write_all_at(&books.to_bytes(), 0).map_err(failed)?;
        self.books = books;
        Ok(())
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("it is there while the books are in hand")
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // Should it fail, the file is closed, which unlocks as well.
        if fs4::FileExt::unlock(self.file()).is_err() {
            *self.file = None;
        }
    }
}

impl Books {
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; 512];
        let mut read = 0;
        while let more @ 1.. = file.read_at(&mut bytes[read..], read as u64)? {
            read += more;
        }
        Ok(std::str::from_utf8(&bytes[..read]).ok().and_then(Self::parse))
    }

    /// `epochs1 <crc> <boot> <next> <until> <exchanges> <inode> <name>`, and what is left of longer
    /// ones.
    fn parse(text: &str) -> Option<Self> {
        let (sum, rest) = text.lines().next()?.strip_prefix("epochs1 ")?.split_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(rest.as_bytes()) {
            return None;
        }
        let mut words = rest.split(' ');
        let boot = u64::from_str_radix(words.next()?, 16).ok()?;
        let (next, until) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let exchanges = match words.next()? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        let inode = words.next()?.parse().ok()?;
        let theft = words.next().filter(|name| !name.is_empty()).map(|name| (name.into(), inode));
        Some(Self { boot, next, until, exchanges, theft })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let exchanges = match self.exchanges {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let (name, inode) = self.theft.as_ref().map_or(("", 0), |(name, inode)| (name, *inode));
        let Self { boot, next, until, .. } = self;
        let rest = format!("{boot:x} {next} {until} {exchanges} {inode} {name}");
        format!("epochs1 {:08x} {rest}\n", crc32fast::hash(rest.as_bytes())).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_read_as_written() {
        let books = Books {
            boot: 0xfe,
            next: 7,
            until: 1024,
            exchanges: Some(true),
            theft: Some(("a.lock".into(), 77)),
        };
        let text = String::from_utf8(books.to_bytes()).unwrap();
        assert_eq!(Books::parse(&text), Some(books.clone()));
        assert_eq!(Books::parse(&format!("{text}lock\n")), Some(books));
        for len in 0..text.len() - 1 {
            assert_eq!(Books::parse(&text[..len]), None, "{len}");
        }
        assert_eq!(Books::parse(""), None);
    }
}
