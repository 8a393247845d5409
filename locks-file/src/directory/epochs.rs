//! The books of a directory: which epoch is next (F3), and which theft is under way (F4). Whoever
//! has their `flock` is alone in changing what several may want to change.
//!
//! * E1: an epoch is handed out once. The books promise epochs to come on disk before any of them
//!   is handed out, so that those survive a crash of the machine.
//! * E2: whoever enters first finishes or undoes what somebody who died in here had begun.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, TryLockError};

use fs4::TryLockError::WouldBlock;
use locks_core::LockError;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::books_queue::{BooksQueue, BooksTicket};
use super::entered::Entered;
use super::epoch_file::EpochFile;
use super::exchange::{self, ASIDE, PROBE};
use super::progress::{ProgressWatch, STALL_TIMEOUT};
use super::{Inode, KEPT, Root};
use crate::fault;
use crate::kernel::{self, LockTable, Nanos, Opened, Process};
use crate::name;

/// The file of the books.
const BOOKS: &str = ".epochs";
/// Where in the file it is counted how often somebody has had the books.
const VISITS: u64 = 480;

#[derive(Debug)]
pub(crate) struct Epochs {
    pub(super) root: Arc<Root>,
    pub(super) name: String,
    mode: Mode,
    /// One of this process at a time: threads that share an open file share its lock.
    file: Mutex<Option<Opened>>,
    progress: ProgressWatch,
    pub(super) queue: BooksQueue,
}

/// What a look at the directory came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Examined {
    pub(super) table_device: Option<u64>,
    pub(super) exchanges: bool,
    pub(super) own: bool,
}

impl Epochs {
    pub(super) fn open(root: &Arc<Root>, name: &str, mode: Mode) -> Result<Self, LockError> {
        let epochs = Self {
            root: root.clone(),
            name: name.to_owned(),
            mode,
            file: Mutex::new(None),
            progress: ProgressWatch::default(),
            queue: BooksQueue::default(),
        };
        let file = epochs.open_file().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied
                if root.stat(BOOKS).is_ok_and(|stat| stat.is_some()) =>
            {
                epochs.failed(error)
            }
            _ => fault::directory(&root.path, error),
        })?;
        *epochs.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
        Ok(epochs)
    }

    pub(super) fn failed(&self, error: io::Error) -> LockError {
        fault::books(&self.name, &self.root.shown(BOOKS), error)
    }

    fn open_file(&self) -> io::Result<Opened> {
        let is = |what| {
            let shown = self.root.shown(BOOKS);
            let shown = shown.display();
            io::Error::other(format!("`{shown}` is {what}, and is left alone: remove it"))
        };
        let open = || self.root.open_file(BOOKS, OFlags::empty(), Mode::empty());
        let file = match open() {
            Err(Errno::NOENT) => self.make_file(),
            Err(Errno::ACCESS) if self.give_back_rights() => open(),
            outcome => outcome,
        };
        let file = match file {
            Err(Errno::LOOP) => return Err(is("a symbolic link")),
            Err(Errno::ISDIR) => return Err(is("a directory")),
            Err(Errno::NXIO) => return Err(is("no regular file")),
            outcome => outcome?,
        };
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Opened::new(file),
            _ => Err(is("no regular file")),
        }
    }

    fn make_file(&self) -> Result<File, Errno> {
        let file = self.root.open_file(BOOKS, OFlags::CREATE, self.mode)?;
        // The umask is each user's own, and the books may be everybody's. Of another's it fails.
        let _ = rustix::fs::fchmod(&file, self.mode);
        Ok(file)
    }

    /// As [`Directory`](super::Directory) does with lock files (F12).
    fn give_back_rights(&self) -> bool {
        let Ok(Some(stat)) = self.root.stat(BOOKS) else { return false };
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == rustix::process::geteuid().as_raw()
            && stat.st_mode & 0o600 != 0o600
            && self.root.chmod(BOOKS, self.mode).is_ok()
    }

    /// Stands in line for the books.
    pub(crate) fn queue_up(self: &Arc<Self>) -> BooksTicket {
        BooksTicket::new(self)
    }

    /// Opens the books, if nobody else has them just now, whoever stands in line for them.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub(crate) fn try_enter(&self) -> Result<Option<Entered<'_>>, LockError> {
        self.try_enter_if(false)
    }

    /// The same, if nobody of another process stands before this one.
    pub(super) fn try_enter_in_turn(&self) -> Result<Option<Entered<'_>>, LockError> {
        self.try_enter_if(true)
    }

    fn try_enter_if(&self, in_turn: bool) -> Result<Option<Entered<'_>>, LockError> {
        let mut file = match self.file.try_lock() {
            Ok(file) => file,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.progress.refused(None, kernel::now());
                return Ok(None);
            }
        };
        let failed = |error| self.failed(error);
        // Only somebody who deletes files all the time gets it to go round more than once.
        for _ in 0..100 {
            let open = match file.take() {
                Some(open) => open,
                None => self.open_file().map_err(failed)?,
            };
            let now = kernel::now();
            match self.lock(&open, in_turn, now) {
                Ok(()) => {}
                Err(WouldBlock) => {
                    // Of a file that is gone nobody will ever tell that it is free.
                    if self.root.inode_at(BOOKS).ok().flatten() == Some(open.inode) {
                        self.progress.refused(visits(&open), now);
                        self.queue.take_place(&open, now);
                        *file = Some(open);
                    }
                    return Ok(None);
                }
                Err(fs4::TryLockError::Error(error)) => {
                    return Err(fault::no_locks(&self.root.shown(BOOKS), error));
                }
            }
            if self.root.inode_at(BOOKS).map_err(failed)? == Some(open.inode) {
                let books = EpochFile::read(&open).map_err(failed)?.unwrap_or_default();
                count_visit(&open);
                self.queue.leave_place(&open);
                *file = Some(open);
                self.progress.served();
                let mut entered = Entered { epochs: self, file, books };
                entered.recover()?;
                return Ok(Some(entered));
            }
        }
        Ok(None)
    }

    /// Locks the books' file if it is free, and, with regard to the line, if it is this process's
    /// turn.
    fn lock(&self, open: &Opened, in_turn: bool, now: Nanos) -> Result<(), fs4::TryLockError> {
        let Some(before) = in_turn.then(|| self.queue.before(open)).flatten() else {
            return fs4::FileExt::try_lock(&**open);
        };
        if !self.queue.probes(now) {
            return Err(WouldBlock);
        }
        fs4::FileExt::try_lock(&**open)?;
        if self.queue.passes(before, now) {
            return Ok(());
        }
        fs4::FileExt::unlock(&**open)?;
        Err(WouldBlock)
    }

    /// As [`try_enter`](Self::try_enter), for somebody who would rather wait a moment than come
    /// again.
    pub(crate) fn enter_soon(&self) -> Result<Option<Entered<'_>>, LockError> {
        for _ in 0..20 {
            if let Some(entered) = self.try_enter()? {
                return Ok(Some(entered));
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// As [`enter_soon`](Self::enter_soon), behind those who stand in line, and with a place among
    /// them from then on.
    pub(crate) fn enter_in_turn(
        self: &Arc<Self>,
        ticket: &mut Option<BooksTicket>,
    ) -> Result<Option<Entered<'_>>, LockError> {
        for _ in 0..20 {
            if let Some(entered) = self.try_enter_in_turn()? {
                return Ok(Some(entered));
            }
            ticket.get_or_insert_with(|| self.queue_up());
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// Nobody of this process wants the books any more.
    pub(super) fn leave_queue(&self) {
        // Who has the file leaves the place itself.
        if let Ok(file) = self.file.try_lock()
            && let Some(open) = &*file
        {
            self.queue.leave_place(open);
        }
    }

    /// The error of somebody who has waited for the books for as long as that makes sense: those
    /// who have them have not got on for so long.
    ///
    /// # Errors
    /// If so.
    pub(crate) fn check_progress(
        &self,
        timeout: Nanos,
        in_table: impl Fn(Inode) -> Option<Inode>,
    ) -> Result<(), LockError> {
        match self.progress.is_stalled(timeout, kernel::now()) {
            true => Err(self.held_up(in_table)),
            false => Ok(()),
        }
    }

    /// Whether this process has asked for the books in vain just now.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.progress.is_waiting(kernel::now())
    }

    /// The error of somebody who could not have the books.
    pub(crate) fn held_up(&self, in_table: impl Fn(Inode) -> Option<Inode>) -> LockError {
        fault::held_up(&self.name, self.holder(in_table))
    }

    /// Who has the books, as far as the kernel tells.
    fn holder(&self, in_table: impl Fn(Inode) -> Option<Inode>) -> Option<u32> {
        let inode = in_table(self.root.inode_at(BOOKS).ok().flatten()?)?;
        LockTable::read().ok()?.of(inode).find(|grip| !grip.waits).map(|grip| grip.pid)
    }

    /// Whether locks are locks here, what the kernel's table shows, whether files can be exchanged,
    /// and whether the directory is ours alone.
    pub(super) fn examine(self: &Arc<Self>, mode: Mode) -> Result<Examined, LockError> {
        let mut ticket = None;
        let mut entered = loop {
            if let Some(entered) = self.enter_in_turn(&mut ticket)? {
                break entered;
            }
            self.check_progress(STALL_TIMEOUT, Some)?;
            std::thread::sleep(std::time::Duration::from_micros(200));
        };
        let failed = |error| self.failed(error);
        let inode = entered.file().inode;
        let second = self.open_file().map_err(failed)?;
        match fs4::FileExt::try_lock(&*second) {
            Err(fs4::TryLockError::WouldBlock) => {}
            // Unless somebody has removed the books meanwhile, and these are others.
            Ok(()) if second.inode == inode => {
                return Err(fault::no_exclusion(&self.root.path));
            }
            Ok(()) => {}
            Err(fs4::TryLockError::Error(error)) => {
                return Err(fault::no_locks(&self.root.path, error));
            }
        }
        drop(second);
        let table_device = table_device(inode);
        let is_current = kernel::is_of_this_boot(entered.books.boot, entered.file());
        if entered.books.exchanges.is_none() || !is_current {
            let is_new = entered.books.next == 0;
            if is_new {
                let names = self.root.names().map_err(failed)?;
                entered.books.own = names.iter().all(|name| is_bookkeeping(name));
            }
            entered.books.exchanges = Some(exchange::probe(&self.root, mode));
            entered.write_books()?;
        }
        let (exchanges, own) = (entered.books.exchanges == Some(true), entered.books.own);
        Ok(Examined { table_device, exchanges, own })
    }
}

/// Whether something of this name is ours and no lock file. It has nothing to do with what else is
/// in the directory.
fn is_bookkeeping(name: &str) -> bool {
    // The last is of `locks_core::directory`.
    [BOOKS, ASIDE, PROBE, KEPT, ".default"].contains(&name) || name.starts_with(name::WAITS)
}

/// How often somebody has had the books.
fn visits(file: &File) -> Option<u64> {
    let mut digits = [0; 16];
    file.read_exact_at(&mut digits, VISITS).ok()?;
    u64::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
}

/// Lets those who wait see that somebody has had them.
fn count_visit(file: &File) {
    let count = visits(file).unwrap_or(0).wrapping_add(1);
    // Should it fail, they take this one for standing still a little sooner.
    let _ = file.write_all_at(format!("{count:016x}").as_bytes(), VISITS);
}

/// The device that the kernel's table has for a file which this process has locked. The table is
/// not read in one piece: where locks come and go, an entry can be missed.
fn table_device(inode: Inode) -> Option<u64> {
    const LOOKS: usize = 50;
    (0..LOOKS).find_map(|_| {
        let table = LockTable::read().ok()?;
        let mut devices = table.devices_of(inode.ino, Process::this().in_proc?);
        // Some file systems tell `stat` of another device than the table has.
        let first = devices.next()?;
        Some(if devices.any(|dev| dev == inode.dev) { inode.dev } else { first })
    })
}

/// The inode that a theft under way puts in somebody's place. Read without having the books in
/// hand.
pub(crate) fn theft_under_way(root: &Root) -> Option<u64> {
    let books = root.open_existing(BOOKS).ok()?;
    EpochFile::read(&books).ok()??.theft.map(|(_, inode)| inode)
}
