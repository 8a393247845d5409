use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use locks_core::LockError;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockType};

use super::directory::{Directory, Inode, read_all};
use super::fault;

/// Never renamed or removed by us (N3): who has locked it serves, and its number is in it.
const LOCK: &str = "server.lock";

/// The right to serve a directory, which one process has at a time.
///
/// It is a POSIX record lock on [`LOCK`], which forked children do not inherit; but it is gone as soon as
/// the process closes *any* handle of that file.
///
/// * H1: a process opens the file only while it is not in [`SERVED`] with it, under its mutex.
#[derive(Debug)]
pub(super) struct Charge {
    /// `None` while it is dropped.
    file: Option<File>,
    lock: Inode,
    directory: Inode,
}

/// The directories that processes serve: this one, or those that it was forked from.
static SERVED: Mutex<BTreeMap<Inode, u32>> = Mutex::new(BTreeMap::new());

impl Charge {
    /// # Errors
    /// `Contended` if the directory is served already, by another process or this one.
    pub(super) fn take(directory: &Directory) -> Result<Self, LockError> {
        let path = directory.file(LOCK);
        match take(directory) {
            Ok(Ok(charge)) => Ok(charge),
            Ok(Err(Taken { by })) => Err(fault::served(directory.path(), by)),
            Err(error) => Err(fault::file(&path, error)),
        }
    }

    /// Whether the lock file is still the one that others would lock: if somebody has removed it, another
    /// server may have begun.
    pub(super) fn ensure(&self, directory: &Directory) -> io::Result<()> {
        if directory.inode_at(LOCK)? == Some(self.lock) {
            return Ok(());
        }
        let shown = directory.file(LOCK);
        let why = format!("`{}` was removed under its server: end it", shown.display());
        Err(io::Error::other(why))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // H1: nobody opens the file before it is closed here.
        let mut served = served();
        drop(self.file.take());
        if is_here(&served, self.directory) {
            served.remove(&self.directory);
        }
    }
}

/// The process that serves the directory at `path`, as far as can be told.
pub(crate) fn serving_pid(path: &Path) -> Option<u32> {
    let directory = Directory::existing(path)?;
    let served = served();
    if is_here(&served, directory.inode()) {
        return Some(std::process::id());
    }
    let file = directory.open_file(LOCK).ok().flatten()?;
    holder(&file).ok().flatten()?.by
}

/// Somebody else has it.
#[derive(Clone, Copy)]
struct Taken {
    by: Option<u32>,
}

fn take(directory: &Directory) -> io::Result<Result<Charge, Taken>> {
    let mut served = served();
    if is_here(&served, directory.inode()) {
        return Ok(Err(Taken { by: Some(std::process::id()) }));
    }
    loop {
        let file = directory.open_or_make(LOCK)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN | Errno::ACCESS) => match holder(&file)? {
                Some(taken) => return Ok(Err(taken)),
                // It has let go meanwhile.
                None => continue,
            },
            Err(error) => return Err(error.into()),
        }
        let lock = Inode::of(&file)?;
        if directory.inode_at(LOCK)? != Some(lock) {
            continue;
        }
        file.set_len(0)?;
        writeln!(&file, "{}", std::process::id())?;
        served.insert(directory.inode(), std::process::id());
        return Ok(Ok(Charge { file: Some(file), lock, directory: directory.inode() }));
    }
}

/// Who has locked the file; `None`: nobody.
fn holder(file: &File) -> io::Result<Option<Taken>> {
    let Some(lock) = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock))? else {
        return Ok(None);
    };
    let by = match lock.pid {
        Some(pid) => u32::try_from(pid.as_raw_nonzero().get()).ok(),
        // It is not to be seen from here; by its own account it may be.
        None => str::from_utf8(&read_all(file)?).ok().and_then(|text| text.trim().parse().ok()),
    };
    Ok(Some(Taken { by }))
}

fn served() -> MutexGuard<'static, BTreeMap<Inode, u32>> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A forked child has the list, but not the locks.
fn is_here(served: &BTreeMap<Inode, u32>, directory: Inode) -> bool {
    served.get(&directory) == Some(&std::process::id())
}
