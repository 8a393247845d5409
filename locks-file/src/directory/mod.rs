//! The directory that the lock files lie in: which one, whether it will do, what in it is ours, and
//! what keeps the work on it in order.

mod books_queue;
mod entered;
mod epoch_file;
mod epochs;
mod exchange;
mod fitness;
mod kept;
mod progress;
mod root;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use locks_core::LockError;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(crate) use self::books_queue::BooksTicket;
pub(crate) use self::entered::Entered;
pub(crate) use self::epochs::{Epochs, theft_under_way};
pub(crate) use self::exchange::{ASIDE, Exchange, Outcome};
pub(crate) use self::fitness::Settings;
pub(crate) use self::kept::{KEPT, KeptFiles};
pub(crate) use self::progress::STALL_TIMEOUT;
pub(crate) use self::root::Root;
use crate::fault::{self, LockFile};
use crate::kernel::{self, Nanos, Opened};
use crate::record::{Record, Text, is_marked};

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inode {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

/// A directory of lock files that has been found fit.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) root: Arc<Root>,
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) kept: KeptFiles,
    /// Whose process this is.
    user: u32,
    /// The file system's device, as `stat` and as the lock table have it.
    devices: Devices,
    /// Whether two files can be exchanged by one step, without which nothing is stolen.
    pub(crate) exchanges: bool,
    /// Whether every lock file in it is ours, whatever it has (F9): there was nothing in it when it
    /// was used first.
    own: bool,
    /// Whether this process has gone over to another directory, which has taken this one's place.
    left: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Devices {
    stat: u64,
    /// `None`: there is no table, or it does not show our locks.
    table: Option<u64>,
}

impl Inode {
    /// The inode of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }

    /// What is at this path, links not followed; `None`: nothing.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        match rustix::fs::lstat(path) {
            Ok(stat) => Ok(Some(Self::from_stat(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn from_stat(stat: &Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

impl Directory {
    /// The directory at `path`, made if there is none.
    ///
    /// # Errors
    /// `NotConfigured` if it is not what it should be, `Unavailable` if it cannot be used.
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<Self, LockError> {
        let path = fitness::prepare(path, &settings)?;
        let root = Root::open(path.clone()).map_err(|error| fault::directory(&path, error))?;
        Self::examined(root, settings)
    }

    /// The same directory once more, for a forked child.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn reopen(&self) -> Result<Self, LockError> {
        let root = self.root.reopen();
        let root = root.map_err(|error| fault::directory(&self.root.path, error))?;
        Self::examined(root, self.settings.clone())
    }

    fn examined(root: Root, settings: Settings) -> Result<Self, LockError> {
        kernel::look_at_namespace();
        let root = Arc::new(root);
        let name = format!("file://{}", root.path.display());
        let mode = settings.file_mode(&root);
        let epochs = Arc::new(Epochs::open(&root, &name, mode)?);
        let found = epochs.examine(mode)?;
        let devices = Devices { stat: root.inode().dev, table: found.table_device };
        let user = rustix::process::geteuid().as_raw();
        let kept = KeptFiles::new(&root, settings.of_several_users);
        let (exchanges, own) = (found.exchanges, found.own);
        Ok(Self {
            root,
            name,
            settings,
            epochs,
            kept,
            user,
            devices,
            exchanges,
            own,
            left: AtomicBool::new(false),
        })
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.root.path
    }

    /// Where a file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.shown(name)
    }

    /// The file of this name, for what there is to tell of it.
    pub(crate) fn lock_file<'a>(&'a self, name: &'a str) -> LockFile<'a> {
        LockFile { backend: &self.name, directory: self.path(), name }
    }

    /// Whether newcomers find another directory at its path.
    pub(crate) fn is_replaced(&self) -> bool {
        self.root.is_replaced()
    }

    /// This process uses the one that is there now.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// Whether it does.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Whether the kernel tells who holds what here.
    pub(crate) fn has_table(&self) -> bool {
        self.devices.table.is_some()
    }

    /// A file of this directory as the lock table names it.
    pub(crate) fn in_table(&self, inode: Inode) -> Option<Inode> {
        if inode.dev != self.devices.stat {
            return Some(inode);
        }
        Some(Inode { dev: self.devices.table?, ino: inode.ino })
    }

    /// Opens the lock file of this name, or makes it.
    ///
    /// # Errors
    /// What is there and is no lock file of ours is refused, untouched (F7, F9).
    pub(crate) fn open_file(&self, name: &str) -> Result<Opened, LockError> {
        let failed = |error: io::Error| self.lock_file(name).opening(error);
        let opened = match self.root.open_file(name, OFlags::empty(), Mode::empty()) {
            Err(Errno::ACCESS) if self.give_back_rights(name) => {
                self.root.open_file(name, OFlags::empty(), Mode::empty())
            }
            outcome => outcome,
        };
        let file = match opened {
            Err(Errno::NOENT) => self.create_file(name),
            outcome => outcome,
        };
        let file = file.map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(self.lock_file(name).no_lock_file(kind));
        }
        if stat.st_uid != self.user && !self.settings.of_several_users {
            return Err(self.lock_file(name).foreign_file(stat.st_uid));
        }
        if !self.is_ours(&file, &stat).map_err(failed)? {
            return Err(self.lock_file(name).not_ours());
        }
        Opened::new(file).map_err(failed)
    }

    /// Opens the lock file of this name if there is one. Others are left alone, as if they were not
    /// there.
    ///
    /// # Errors
    /// Those of opening it.
    pub(crate) fn find_file(&self, name: &str) -> io::Result<Option<Opened>> {
        let open = || self.root.open_file(name, OFlags::empty(), Mode::empty());
        let opened = match open() {
            Err(Errno::ACCESS) if self.give_back_rights(name) => open(),
            outcome => outcome,
        };
        let file = match opened {
            Ok(file) => file,
            // Nothing, or what no lock file of ours can be.
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_regular && self.settings.is_own(stat.st_uid) && self.is_ours(&file, &stat)? {
            return Opened::new(file).map(Some);
        }
        Ok(None)
    }

    /// Whether what an open file has speaks for its being a lock file (F9). One that has other
    /// names as well may be anything, wherever it is.
    fn is_ours(&self, file: &File, stat: &Stat) -> io::Result<bool> {
        if stat.st_size == 0 || self.own && stat.st_nlink <= 1 {
            return Ok(true);
        }
        let mut begins = [0; 8];
        let read = file.read_at(&mut begins, 0)?;
        Ok(is_marked(&begins[..read]))
    }

    /// Whether what was found in a lock file is not ours to write over: by now somebody else has
    /// written into it, in a directory that is not for lock files alone (F9).
    pub(crate) fn is_anothers(&self, text: &Text) -> bool {
        !self.own && text.is_foreign()
    }

    /// Writes the record of the lock file of this name; what it says is reserved before that (K1).
    ///
    /// # Errors
    /// Those of writing: a full disk, for one.
    pub(crate) fn write_record(
        &self,
        name: &str,
        file: &File,
        record: &Record<'_>,
    ) -> io::Result<()> {
        if record.entries.iter().any(|entry| entry.keep_until > 0) {
            let reserved = record.reserved(kernel::now());
            if !reserved.is_empty() {
                self.kept.reserve(name, record.key, reserved)?;
            }
        }
        record.write(file)
    }

    /// Until when a hold of this mode has to stay away from a lock file that has this text, whoever
    /// is there (C14); 0: it need not.
    pub(crate) fn reserved_until(
        &self,
        name: &str,
        file: &File,
        text: &Text,
        exclusive: bool,
    ) -> Nanos {
        let now = kernel::now();
        match text.record() {
            Some(record) if kernel::is_of_this_boot(record.boot, file) => {
                record.reserved_until(exclusive, now)
            }
            Some(_) => 0,
            None => {
                let beside = self.kept.reservations(name);
                beside.record().map_or(0, |record| record.reserved_until(exclusive, now))
            }
        }
    }

    fn create_file(&self, name: &str) -> Result<File, Errno> {
        let mode = self.settings.file_mode(&self.root);
        let file = self.root.open_file(name, OFlags::CREATE, mode)?;
        if self.settings.of_several_users {
            // The umask is each user's own, and the file is everybody's. Of another's it fails.
            let _ = rustix::fs::fchmod(&file, mode);
        }
        Ok(file)
    }

    /// Makes a file that nobody has.
    pub(crate) fn make_file(&self, name: &str) -> io::Result<Opened> {
        let mode = self.settings.file_mode(&self.root);
        let file = self.root.open_file(name, OFlags::CREATE | OFlags::EXCL, mode)?;
        // Whatever the umask says (F12).
        rustix::fs::fchmod(&file, mode)?;
        Opened::new(file)
    }

    /// Gives this user the right to a lock file of its own that somebody, or a umask, has taken
    /// away (F10, F12). Whether that is worth another try.
    fn give_back_rights(&self, name: &str) -> bool {
        let Ok(Some(stat)) = self.root.stat(name) else { return false };
        let ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == self.user
            && stat.st_mode & 0o600 != 0o600
            && (stat.st_size == 0 || self.own && stat.st_nlink <= 1 || self.is_marked(name));
        ours && self.root.chmod(name, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o600)).is_ok()
    }

    /// Whether a file that can at least be read is marked.
    fn is_marked(&self, name: &str) -> bool {
        let mut begins = [0; 8];
        let read = self.root.open_to_read(name).and_then(|file| file.read_at(&mut begins, 0));
        read.is_ok_and(|read| is_marked(&begins[..read]))
    }
}
