//! The directory as it was opened: names are looked up in it, and not by its path, which can come
//! to mean something else for this process (F12).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use rustix::fs::RenameFlags;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use locks_core::directory::open_private;

use super::Inode;
use crate::kernel::Opened;

/// A directory is opened to look up names in it, which takes no right to read it.
#[cfg(target_os = "linux")]
const ANCHOR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const ANCHOR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory.
#[derive(Debug)]
pub(crate) struct Root {
    directory: Opened,
    /// Where it was found: absolute, and free of symbolic links.
    pub(crate) path: PathBuf,
    /// What this process calls `/`, which tells whether paths mean what they meant.
    slash: Option<Inode>,
}

impl Root {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// Those of opening it, also where it is no directory, or a link to one.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let flags = ANCHOR | OFlags::NOFOLLOW;
        let directory = uninterrupted(|| rustix::fs::open(&path, flags, Mode::empty()))?;
        let directory = Opened::left_open(File::from(directory))?;
        Ok(Self { directory, path, slash: slash() })
    }

    /// The same directory for a forked child: a descriptor of its own, by the one that it has
    /// inherited, because its paths may be others. By the path where it has closed that.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn reopen(&self) -> io::Result<Self> {
        if !self.directory.still_is_itself() {
            return Self::open(self.path.clone());
        }
        let again =
            uninterrupted(|| rustix::fs::openat(&*self.directory, ".", ANCHOR, Mode::empty()))?;
        let directory = Opened::left_open(File::from(again))?;
        Ok(Self { directory, path: self.path.clone(), slash: self.slash })
    }

    /// The directory itself.
    pub(super) fn inode(&self) -> Inode {
        self.directory.inode
    }

    /// Whether another directory is at its path by now, where newcomers will look. Nothing is known
    /// of that where nothing can be seen there, or where this process has changed its root.
    pub(super) fn is_replaced(&self) -> bool {
        let Ok(stat) = rustix::fs::stat(&self.path) else { return false };
        let there = Inode::from_stat(&stat);
        there != self.inode() && slash() == self.slash && !self.is_unmounted(there)
    }

    /// Whether its file system has been unmounted, so that its path leads to what was below.
    fn is_unmounted(&self, there: Inode) -> bool {
        there.dev != self.inode().dev && !is_mounted(&self.directory).unwrap_or(true)
    }

    /// Opens `name` for reading and writing, without following links, waiting for pipes or lending
    /// to children. What is made is its owner's to use, whatever the umask (F12).
    ///
    /// # Errors
    /// Those of `open`.
    pub(crate) fn open_file(&self, name: &str, flags: OFlags, mode: Mode) -> Result<File, Errno> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = || open_private(&*self.directory, Path::new(name), flags, mode);
        uninterrupted(open).map(File::from)
    }

    /// Opens what is at `name`, as [`open_file`](Self::open_file) does.
    ///
    /// # Errors
    /// Also where it is a link.
    pub(crate) fn open_existing(&self, name: &str) -> io::Result<Opened> {
        Opened::new(self.open_file(name, OFlags::empty(), Mode::empty())?)
    }

    /// Opens what is at `name`, links not followed, for reading.
    ///
    /// # Errors
    /// Those of `open`.
    pub(crate) fn open_to_read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(&*self.directory, name, flags, Mode::empty());
        Ok(File::from(uninterrupted(open)?))
    }

    /// Opens the directory `name`, or makes it, with these rights whatever the umask says.
    ///
    /// # Errors
    /// Those of making and opening it; what is no directory is left alone.
    pub(super) fn subdirectory(&self, name: &str, mode: Option<Mode>) -> io::Result<Self> {
        if let Some(mode) = mode {
            match rustix::fs::mkdirat(&*self.directory, name, mode) {
                Ok(()) => rustix::fs::chmodat(&*self.directory, name, mode, AtFlags::empty())?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let flags = ANCHOR | OFlags::NOFOLLOW;
        let open = || rustix::fs::openat(&*self.directory, name, flags, Mode::empty());
        let directory = Opened::left_open(File::from(uninterrupted(open)?))?;
        Ok(Self { directory, path: self.shown(name), slash: self.slash })
    }

    /// Changes the rights to what is at `name`.
    ///
    /// # Errors
    /// Those of `chmod`.
    pub(super) fn chmod(&self, name: &str, mode: Mode) -> io::Result<()> {
        Ok(rustix::fs::chmodat(&*self.directory, name, mode, AtFlags::empty())?)
    }

    /// Its rights.
    ///
    /// # Errors
    /// Those of `stat`.
    pub(super) fn mode(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&*self.directory)?.st_mode)
    }

    /// What is at `name`, links not followed; `None`: nothing.
    ///
    /// # Errors
    /// Those of `stat`.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Which file is at `name`; `None`: none.
    ///
    /// # Errors
    /// Those of `stat`.
    pub(crate) fn inode_at(&self, name: &str) -> io::Result<Option<Inode>> {
        Ok(self.stat(name)?.as_ref().map(Inode::from_stat))
    }

    /// Removes what is at `name`, if there is something.
    ///
    /// # Errors
    /// Those of `unlink`.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&*self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts each of two files in the place of the other, in one step.
    ///
    /// # Errors
    /// Those of `renameat2`; `Unsupported` where there is none.
    #[cfg(target_os = "linux")]
    pub(super) fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        let directory = &*self.directory;
        Ok(rustix::fs::renameat_with(directory, one, directory, other, RenameFlags::EXCHANGE)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn exchange(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The names in it that are text; all of ours are.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.to_read()?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Has what is in it survive a crash of the machine.
    ///
    /// # Errors
    /// Those of `fsync`.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.to_read()?)?)
    }

    fn to_read(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&*self.directory, ".", flags, Mode::empty());
        Ok(uninterrupted(open)?)
    }

    /// Where something of this name is, for messages.
    pub(crate) fn shown(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn slash() -> Option<Inode> {
    rustix::fs::stat(Path::new("/")).ok().as_ref().map(Inode::from_stat)
}

/// Whether the mount that a file was opened by is still there.
fn is_mounted(file: &File) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.split(' ').next() == id))
}

fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
