use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use locks_core::directory::is_network;
use locks_core::{DeadlockStep, ErrorKind, LockError};
use rustix::fs::OFlags;

use crate::FileBackend;
use crate::directory::Inode;
use crate::fault;
use crate::kernel::Opened;

/// Where a file that is to be locked was found.
#[derive(Debug)]
pub(super) struct ResolvedFile {
    /// Without links: those are followed once.
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
    pub(super) files: FileBackend,
    is_network: bool,
}

impl ResolvedFile {
    /// Opens the file, or makes it.
    pub(super) fn open(
        given: &Path,
        writable: bool,
        create: bool,
        files: &FileBackend,
    ) -> Result<(Self, Opened), LockError> {
        let refused = |error| {
            let advice = match io::Error::kind(&error) {
                io::ErrorKind::NotFound if create => "; its directory is not there",
                io::ErrorKind::NotFound => "; `create(true)` makes it, if its directory is there",
                io::ErrorKind::PermissionDenied if writable => {
                    "; where reading it is enough, `read_path` may do"
                }
                io::ErrorKind::PermissionDenied => "; give this user the right to it",
                _ => "",
            };
            refused(given, "opened", error, advice)
        };
        let path = match fs::canonicalize(given) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                made(given).map_err(refused)?
            }
            outcome => outcome.map_err(refused)?,
        };
        // A pipe would be waited for, and a device might do something.
        let kind = fs::symlink_metadata(&path).map_err(refused)?;
        if !kind.is_file() {
            let what = if kind.is_dir() { "a directory" } else { "no regular file" };
            let why = format!("`{}` is {what}, and cannot be locked", given.display());
            return Err(LockError::new(ErrorKind::Io, "").with_message(why));
        }
        let is_network = is_network(&path).unwrap_or(false);
        if is_network && !files.allows_network_fs() {
            return Err(fault::network(&path));
        }
        let file = open_file(&path, writable).and_then(Opened::of_users).map_err(refused)?;
        Ok((Self { path, inode: file.inode, files: files.clone(), is_network }, file))
    }

    /// Opens `file`, which is at `path`, once more for its lock; `None` if another one is there by
    /// now.
    ///
    /// P2, but for network file systems, where it is the same open file: with SMB a locked file can
    /// be read and written by no other, and NFS fails writes by one that has lost its lock, and not
    /// by others.
    pub(super) fn open_for_lock(
        &self,
        path: &Path,
        file: &Opened,
        writable: bool,
    ) -> io::Result<Option<Opened>> {
        let opened = match self.is_network {
            true => file.duplicate()?,
            false => Opened::new(open_file(path, writable)?)?,
        };
        Ok(Some(opened).filter(|opened| opened.inode == file.inode))
    }

    /// By which users of this library meet before they lock the file itself. It tells where it is.
    pub(super) fn key(&self) -> String {
        let Inode { dev, ino } = self.inode;
        let path = self.path.to_string_lossy();
        // The end of a path says more than its beginning.
        let mut begin = path.len().saturating_sub(900);
        while !path.is_char_boundary(begin) {
            begin += 1;
        }
        format!("path:{dev:x}:{ino}:{}", path[begin..].replace('\0', "?"))
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The error as one about the file: nobody has named the key that stands for it.
    pub(super) fn named(&self, error: LockError) -> LockError {
        let (key, name) = (self.key(), self.name());
        let cycle = error.cycle().iter().map(|step| {
            let wants = if step.wants == key { &name } else { shown(&step.wants) };
            DeadlockStep::new(wants, step.waiter.clone(), step.holder.clone())
        });
        let cycle = cycle.collect();
        let keys = error.key().replace(&key, &name);
        let error = error.with_key(keys).with_cycle(cycle);
        // What is left is in sentences of the backend's own.
        let text = error.to_string();
        if text.contains(&key) { error.with_message(text.replace(&key, &name)) } else { error }
    }

    /// Fails if another file, or none, is at the path.
    pub(super) fn check(&self) -> Result<(), LockError> {
        if Inode::at(&self.path).ok().flatten() == Some(self.inode) {
            return Ok(());
        }
        let cause = locks_core::LostCause::Replaced;
        Err(LockError::new(ErrorKind::Lost { cause }, self.name()))
    }

    pub(super) fn failed(&self, verb: &str, error: io::Error) -> LockError {
        refused(&self.path, verb, error, "")
    }
}

/// What a key is called: that of a file is called by its path.
fn shown(key: &str) -> &str {
    let parts = key.strip_prefix("path:").map(|parts| parts.splitn(3, ':').collect::<Vec<_>>());
    match parts.as_deref() {
        Some([dev, ino, path])
            if u64::from_str_radix(dev, 16).is_ok() && ino.parse::<u64>().is_ok() =>
        {
            path
        }
        _ => key,
    }
}

/// Opens a regular file, as long as it is one.
fn open_file(path: &Path, writable: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    options.read(true).write(writable).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Makes the file, and says where it is, without links.
fn made(given: &Path) -> io::Result<PathBuf> {
    // Not `create_new`: somebody else may have been quicker.
    File::options().create(true).truncate(false).write(true).open(given)?;
    fs::canonicalize(given)
}

#[cold]
fn refused(path: &Path, verb: &str, error: io::Error, advice: &str) -> LockError {
    let why = format!("`{}` cannot be {verb}: {error}{advice}", path.display());
    LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P2: whether what users read and write is what is locked.
    #[test]
    fn f2_a_lock_is_of_a_file_of_its_own_unless_that_is_on_a_network() {
        let dir = std::env::temp_dir().join(format!("locks-file-place-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let files = FileBackend::new(dir.join("locks")).unwrap();
        let path = dir.join("data");
        for is_network in [false, true] {
            let (mut place, file) = ResolvedFile::open(&path, true, true, &files).unwrap();
            assert!(!place.is_network, "the tests' own directory");
            place.is_network = is_network;
            let lock = place.open_for_lock(&place.path, &file, true).unwrap().unwrap();
            fs4::FileExt::try_lock(&*lock).unwrap();
            assert_eq!(fs4::FileExt::try_lock(&*file).is_ok(), is_network);
        }
        let (place, file) = ResolvedFile::open(&path, true, false, &files).unwrap();
        fs::write(dir.join("saved"), "").unwrap();
        fs::rename(dir.join("saved"), &path).unwrap();
        assert!(place.open_for_lock(&place.path, &file, true).unwrap().is_none(), "it is another");
        fs::remove_dir_all(dir).unwrap();
    }
}
