//! The directory that the lock files lie in: which one, whether it will do, and what keeps the work on
//! it in order.

mod epochs;
mod exchange;
mod fitness;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use locks_core::LockError;
use locks_core::directory::open_private;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

pub(crate) use self::epochs::{Entered, Epochs, theft_under_way};
pub(crate) use self::exchange::{ASIDE, Exchange, Outcome};
pub(crate) use self::fitness::Settings;
use crate::fault;

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inode {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

/// A directory of lock files that has been found fit.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Absolute, and free of symbolic links.
    pub(crate) path: PathBuf,
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) epochs: Epochs,
    /// Whose process this is.
    user: u32,
    /// The file system's device, as `stat` and as the lock table have it.
    devices: Devices,
    /// Whether two files can be exchanged by one step, without which nothing is stolen.
    pub(crate) exchanges: bool,
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

    pub(crate) fn from_stat(stat: &rustix::fs::Stat) -> Self {
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
        let name = format!("file://{}", path.display());
        let epochs = Epochs::open(&path, &name, &settings)?;
        let stat = Inode::at(&path).ok().flatten().map_or(0, |inode| inode.dev);
        let found = epochs.examine(&path, &name, &settings)?;
        let devices = Devices { stat, table: found.table_device };
        let user = rustix::process::geteuid().as_raw();
        Ok(Self { path, name, settings, epochs, user, devices, exchanges: found.exchanges })
    }

    /// Where a file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
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

    /// Opens the lock file at `path`, which is in this directory, or makes it.
    ///
    /// # Errors
    /// What is there and is no lock file of ours is refused, untouched (F7).
    pub(crate) fn open_file(&self, path: &Path) -> Result<(File, Inode), LockError> {
        let file = match open_at(path, OFlags::empty(), Mode::empty()) {
            Err(Errno::NOENT) => self.create_file(path),
            outcome => outcome,
        };
        let file = file.map_err(|error| fault::opening(self, path, error.into()))?;
        let stat =
            rustix::fs::fstat(&file).map_err(|error| fault::opening(self, path, error.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(fault::no_lock_file(self, path, kind));
        }
        if stat.st_uid != self.user && !self.settings.of_several_users {
            return Err(fault::foreign_file(self, path, stat.st_uid));
        }
        Ok((file, Inode::from_stat(&stat)))
    }

    fn create_file(&self, path: &Path) -> Result<File, Errno> {
        let mode = self.settings.file_mode(&self.path);
        let file = open_at(path, OFlags::CREATE, mode)?;
        if self.settings.of_several_users {
            // The umask is each user's own, and the file is everybody's. Of another's it fails.
            let _ = rustix::fs::fchmod(&file, mode);
        }
        Ok(file)
    }

    /// Makes a file that nobody has.
    pub(crate) fn make_file(&self, path: &Path) -> io::Result<File> {
        let mode = self.settings.file_mode(&self.path);
        let file = open_at(path, OFlags::CREATE | OFlags::EXCL, mode)?;
        if self.settings.of_several_users {
            rustix::fs::fchmod(&file, mode)?;
        }
        Ok(file)
    }
}

/// Opens what is at `path`.
///
/// # Errors
/// Also where it is a link.
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    Ok(open_at(path, OFlags::empty(), Mode::empty())?)
}

/// Opens for reading and writing, without following links, waiting for pipes or lending to children.
fn open_at(path: &Path, flags: OFlags, mode: Mode) -> Result<File, Errno> {
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    loop {
        match open_private(rustix::fs::CWD, path, flags, mode) {
            Ok(file) => return Ok(File::from(file)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
