use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use locks_core::LockError;
use locks_core::fork::PerProcess;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockType};

use super::claim::Claim;
use super::directory::{Directory, Inode, read_all};
use super::fault;
use crate::pidfd::{PidfdHandle, Process, ProcessLookup};

/// Never renamed or removed by us (N3): who has locked it serves, and its number is in it.
pub(super) const LOCK: &str = "server.lock";

/// The right to serve a directory, which one process has at a time.
///
/// Three things say who has it, since each by itself can fail. A POSIX record lock on [`LOCK`] is
/// the process's own, but is gone as soon as anything in the process closes *any* handle of that
/// file, as a backup does. A `flock` on it stays, but a forked child inherits it and keeps it from
/// all who come later. And the file names the process, which may have ended since.
///
/// * H1: a process opens the file only while it is not in [`SERVED`] with it, under its mutex.
/// * H2: whoever serves has the `flock`, or has found that all who have it are children of a
///   process that has ended.
/// * H3: whoever is about to serve takes the record lock, and takes it once more after it has named
///   itself. So of two who do, and lose it in between, one finds the other's lock or the other's
///   name.
#[derive(Debug)]
pub(super) struct Charge {
    /// `None` while it is dropped.
    file: Option<LockFile>,
    /// H2: it is this process's alone.
    is_alone: Cell<bool>,
    lock: Inode,
    /// Open for as long as its inode is in [`SERVED`]: no other directory has that number
    /// meanwhile.
    directory: Directory,
    claim: Option<Claim>,
}

/// The open [`LOCK`]. Dropping it unlocks it: a child that was started meanwhile, and does not run
/// its program yet, has it open, too, so that closing it here unlocks nothing.
#[derive(Debug)]
struct LockFile(File);

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// The directories that this process serves.
static SERVED: PerProcess<Mutex<BTreeSet<Inode>>> = PerProcess::new();

impl Charge {
    /// `dead`: the inode of a process that is known to have ended, by somebody who could see it.
    ///
    /// # Errors
    /// `Contended` if the directory is served already, by another process or this one.
    pub(super) fn take(directory: Directory, dead: Option<u64>) -> Result<Self, LockError> {
        let path = directory.path().to_owned();
        let mut charge = match take(directory, dead) {
            Ok(Ok(charge)) => charge,
            Ok(Err(AlreadyServed { by })) => return Err(fault::served(&path, by)),
            Err(error) => return Err(fault::file(&path.join(LOCK), error)),
        };
        // Or the directory was made anew, and the server of the one before is still at it.
        charge.claim = Some(Claim::take(&path).map_err(|by| fault::served(&path, by))?);
        Ok(charge)
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether the lock file is still the one that others would lock: if somebody has removed it,
    /// another server may have begun.
    ///
    /// # Errors
    /// It is not; or that cannot be found out now.
    pub(super) fn ensure(&self) -> io::Result<bool> {
        if self.directory.inode_at(LOCK)? != Some(self.lock) {
            return Ok(false);
        }
        if let Some(file) = &self.file {
            // What is gone comes back. Somebody who has it just now looks at the file, and lets go.
            let _ = rustix::fs::fcntl_lock(&file.0, FlockOperation::NonBlockingLockExclusive);
            if !self.is_alone.get() {
                let locked = rustix::fs::flock(&file.0, FlockOperation::NonBlockingLockExclusive);
                self.is_alone.set(locked.is_ok());
            }
        }
        Ok(true)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // H1: nobody opens the file before it is closed here.
        let mut served = served();
        drop(self.claim.take());
        if let Some(file) = self.file.take() {
            // The process goes on, and does not serve.
            let _ = file.0.write_all_at(&[b' '; NAME - 1], 0);
        }
        served.remove(&self.directory.inode());
    }
}

/// The process that serves the directory at `path`, as far as can be told.
pub(crate) fn serving_pid(path: &Path) -> Option<u32> {
    let directory = Directory::existing(path)?;
    let served = served();
    if served.contains(&directory.inode()) {
        return Some(std::process::id());
    }
    let file = directory.open_file(LOCK).ok().flatten()?;
    holder(&file).ok().flatten()?.by
}

/// Somebody else has it.
#[derive(Clone, Copy)]
struct AlreadyServed {
    by: Option<u32>,
}

fn take(directory: Directory, dead: Option<u64>) -> io::Result<Result<Charge, AlreadyServed>> {
    let mut served = served();
    if served.contains(&directory.inode()) {
        return Ok(Err(AlreadyServed { by: Some(std::process::id()) }));
    }
    loop {
        let lock_file = LockFile(directory.open_or_make(LOCK)?);
        let file = &lock_file.0;
        if !lock_record(file)? {
            match holder(file)? {
                Some(taken) => return Ok(Err(taken)),
                // It has let go meanwhile.
                None => continue,
            }
        }
        let is_alone = match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => {
                let named = named_in(file)?;
                if !named.is_some_and(|it| has_ended(&it, dead)) {
                    return Ok(Err(AlreadyServed { by: named.and_then(number_here) }));
                }
                false
            }
            Err(error) => return Err(error.into()),
        };
        let lock = Inode::of(file)?;
        if directory.inode_at(LOCK)? != Some(lock) {
            continue;
        }
        name_this(file)?;
        // H3.
        if !lock_record(file)? {
            continue;
        }
        served.insert(directory.inode());
        let is_alone = Cell::new(is_alone);
        return Ok(Ok(Charge { file: Some(lock_file), is_alone, lock, directory, claim: None }));
    }
}

/// Whether the record lock is this process's now.
fn lock_record(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Who has locked the file; `None`: nobody.
fn holder(file: &File) -> io::Result<Option<AlreadyServed>> {
    if let Some(lock) = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock))? {
        let pid = lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        // One that is not to be seen from here may be by its own account.
        let by = pid.or_else(|| named_in(file).ok().flatten().and_then(number_here));
        return Ok(Some(AlreadyServed { by }));
    }
    let named = named_in(file)?.filter(|it| matches!(it.find(), ProcessLookup::There(_)));
    Ok(named.map(|it| AlreadyServed { by: number_here(it) }))
}

/// The number of the process, if it means the same one here.
fn number_here(process: Process) -> Option<u32> {
    let own = Process::own();
    (process.pid != 0 && process.seen_from == own.seen_from).then_some(process.pid)
}

fn has_ended(process: &Process, dead: Option<u64>) -> bool {
    if process.inode != 0 && dead == Some(process.inode) {
        return true;
    }
    match process.find() {
        ProcessLookup::There(fd) => fd.has_ended(),
        ProcessLookup::Ended => true,
        ProcessLookup::Unseen => false,
    }
}

/// How long the name of a process is in the file, whatever it was before.
const NAME: usize = 128;

/// Puts this process's name into the file, over the one that is there: that needs no room on a full
/// disk.
fn name_this(file: &File) -> io::Result<()> {
    let Process { pid, started, seen_from, inode, handle } = Process::own();
    let mut name = format!("{pid} {started} {seen_from} {inode}");
    if let Some(PidfdHandle { kind, bytes }) = handle {
        name += &format!(" {kind} {}", u64::from_le_bytes(bytes));
    }
    file.write_all_at(format!("{name:width$}\n", width = NAME - 1).as_bytes(), 0)?;
    file.set_len(NAME as u64)
}

/// The process that the file names.
fn named_in(file: &File) -> io::Result<Option<Process>> {
    let content = read_all(file)?;
    let words = str::from_utf8(&content).unwrap_or_default().split_ascii_whitespace();
    let numbers = words.map(|word| word.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    let (process, handle) = match numbers.as_deref() {
        Some(&[pid, started, seen_from, inode]) => ((pid, started, seen_from, inode), None),
        Some(&[pid, started, seen_from, inode, kind, bytes]) => {
            let handle = i32::try_from(kind).ok();
            let handle = handle.map(|kind| PidfdHandle { kind, bytes: bytes.to_le_bytes() });
            ((pid, started, seen_from, inode), handle)
        }
        _ => return Ok(None),
    };
    let (pid, started, seen_from, inode) = process;
    let Ok(pid) = u32::try_from(pid) else { return Ok(None) };
    Ok(Some(Process { pid, started, seen_from, inode, handle }))
}

fn served() -> MutexGuard<'static, BTreeSet<Inode>> {
    SERVED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
