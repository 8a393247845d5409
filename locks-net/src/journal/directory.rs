use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use locks_core::LockError;
use locks_core::directory::{make_private, open_private};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::fault;

/// The directory of a server: its user's own, and nobody else writes to it (F7).
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Everything in it is reached by this, so that it stays the one that was found fit.
    handle: OwnedFd,
    inode: Inode,
}

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode {
    /// Wider than either: their types differ from system to system.
    dev: i128,
    ino: i128,
}

impl Inode {
    fn from_stat(stat: &Stat) -> Self {
        Self { dev: stat.st_dev.into(), ino: stat.st_ino.into() }
    }

    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }
}

impl Directory {
    /// The directory at `path`, made if there is none.
    ///
    /// # Errors
    /// `NotConfigured` if it is not what it should be, `Unavailable` if it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, LockError> {
        let unusable = |error| fault::directory(path, error);
        let path = without_slashes(&std::path::absolute(path).map_err(unusable)?);
        let handle = match open_directory(&path) {
            // Also where another process is making it, or what is above it, this instant (F12).
            Err(Errno::NOENT | Errno::ACCESS) => {
                make_private(&path).and_then(|()| Ok(open_directory(&path)?))
            }
            outcome => outcome.map_err(io::Error::from),
        };
        let handle = match handle {
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) => {
                return Err(fault::linked_directory(&path));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && path.exists() => {
                return Err(fault::no_directory(&path));
            }
            outcome => outcome.map_err(unusable)?,
        };
        let stat = rustix::fs::fstat(&handle).map_err(|error| unusable(error.into()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(fault::foreign_directory(&path, stat.st_uid));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(fault::open_directory(&path, stat.st_mode & 0o777));
        }
        Ok(Self { path, inode: Inode::from_stat(&stat), handle })
    }

    /// The directory at `path`, whatever it is like, if there is one.
    pub(super) fn existing(path: &Path) -> Option<Self> {
        let path = without_slashes(&std::path::absolute(path).ok()?);
        let handle = open_directory(&path).ok()?;
        let stat = rustix::fs::fstat(&handle).ok()?;
        Some(Self { path, inode: Inode::from_stat(&stat), handle })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of this name is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn inode(&self) -> Inode {
        self.inode
    }

    /// What is called so, links not followed; `None`: nothing.
    pub(super) fn inode_at(&self, name: &str) -> io::Result<Option<Inode>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Inode::from_stat(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file for reading and writing; `None`: there is none.
    ///
    /// # Errors
    /// Also for what is no regular file, or not this user's: it is left alone.
    pub(super) fn open_file(&self, name: &str) -> io::Result<Option<File>> {
        match self.open_at(name, OFlags::empty()) {
            Err(Errno::NOENT) => Ok(None),
            outcome => Ok(Some(own(outcome?)?)),
        }
    }

    /// Opens a file for reading and writing, or makes it.
    pub(super) fn open_or_make(&self, name: &str) -> io::Result<File> {
        own(self.open_at(name, OFlags::CREATE)?)
    }

    /// Puts a file of this name and content in the place of the one there is, in one step;
    /// `synced`: so that it is there after a failure of power, too.
    pub(super) fn replace(&self, name: &str, content: &[&[u8]], synced: bool) -> io::Result<File> {
        let new = new_of(name);
        self.remove(&new)?;
        let replaced = self.write_new(&new, content, synced).and_then(|file| {
            self.move_into_place(name)?;
            Ok(file)
        });
        if replaced.is_err() {
            // There may be no room even for this; the next one to be written takes its place.
            let _ = self.remove(&new);
        }
        let file = replaced?;
        if synced {
            rustix::fs::fsync(&self.handle)?;
        }
        Ok(file)
    }

    /// Opens what is to [take the place](Self::move_into_place) of the file of this name, or makes
    /// it.
    pub(super) fn open_new(&self, name: &str) -> io::Result<File> {
        self.open_or_make(&new_of(name))
    }

    /// Puts it there, in one step.
    pub(super) fn move_into_place(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, new_of(name), &self.handle, name)?)
    }

    fn write_new(&self, name: &str, content: &[&[u8]], synced: bool) -> io::Result<File> {
        let mut file = File::from(self.open_at(name, OFlags::CREATE | OFlags::EXCL)?);
        for part in content {
            file.write_all(part)?;
        }
        if synced {
            file.sync_all()?;
        }
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Does not follow links, wait for pipes or lend to children.
    fn open_at(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::io::retry_on_intr(|| {
            open_private(self.handle.as_fd(), Path::new(name), flags, Mode::RUSR | Mode::WUSR)
        })
    }
}

/// All of a file, whatever its position.
pub(super) fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let (mut file, mut content) = (file, Vec::new());
    io::Seek::rewind(&mut file)?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// What is written before it takes the place of the file of this name.
fn new_of(name: &str) -> String {
    format!("{name}.new")
}

fn own(file: OwnedFd) -> io::Result<File> {
    let stat = rustix::fs::fstat(&file)?;
    let why = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_uid == rustix::process::geteuid().as_raw() => {
            return Ok(File::from(file));
        }
        FileType::RegularFile => format!("it belongs to user {}", stat.st_uid),
        _ => "it is no regular file".to_owned(),
    };
    Err(io::Error::other(format!("{why}, and is left alone: remove it")))
}

/// So that a link at the end is seen as one.
fn without_slashes(path: &Path) -> PathBuf {
    path.components().collect()
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
}
