//! Removing the files of keys that nobody uses: the only thing that removes any (F4).

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use locks_core::LockError;

use crate::directory::Directory;
use crate::fault;
use crate::kernel::{self, Opened};
use crate::name;
use crate::record::{Record, Text};
use crate::waiting;

/// The result of [`FileBackend::clean`](crate::FileBackend::clean).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// The number of lock files that were removed.
    pub removed: usize,
    /// The number of lock files that were kept, because they are held, reserved, empty or too
    /// young. Other files are not counted.
    pub kept: usize,
}

/// Removes the lock files that nobody has used for so long.
///
/// # Errors
/// If the directory cannot be read, or a file cannot be removed.
pub(crate) fn clean(directory: &Directory, unused_for: Duration) -> Result<Cleaned, LockError> {
    let mut cleaned = Cleaned::default();
    let process = kernel::Process::this();
    waiting::clean(directory, &process);
    let names = directory.root.names();
    for name in names.map_err(|error| fault::directory(directory.path(), error))? {
        if name::to_key(&name) == name::Named::Other {
            continue;
        }
        match remove(directory, &name, unused_for) {
            Ok(Some(true)) => cleaned.removed += 1,
            Ok(Some(false)) => cleaned.kept += 1,
            // No lock file, or somebody else was quicker.
            Ok(None) => {}
            Err(Failure::Io(error)) => {
                return Err(directory.lock_file(&name).failed("removed", error));
            }
            Err(Failure::Books(error)) => return Err(error),
        }
    }
    if let Some(entered) = directory.epochs.enter_soon()? {
        directory.kept.clean();
        drop(entered);
    }
    Ok(cleaned)
}

enum Failure {
    Io(io::Error),
    Books(LockError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether it was removed; `None`: it is not ours, or not there.
fn remove(
    directory: &Directory,
    name: &str,
    unused_for: Duration,
) -> Result<Option<bool>, Failure> {
    let Some(file) = directory.find_file(name)? else { return Ok(None) };
    let metadata = file.metadata()?;
    // Every grant writes.
    let used = SystemTime::now().duration_since(metadata.modified().unwrap_or(UNIX_EPOCH));
    // An empty one is made by guests, who open it, then lock it, and do not look whether it is
    // there still (F9).
    if metadata.len() == 0 || used.unwrap_or_default() < unused_for {
        return Ok(Some(false));
    }
    match fs4::FileExt::try_lock(&*file) {
        Ok(()) => {}
        Err(fs4::TryLockError::WouldBlock) => return Ok(Some(false)),
        Err(fs4::TryLockError::Error(error)) => return Err(error.into()),
    }
    let outcome = remove_locked(directory, name, &file);
    // Closing it would not unlock it for as long as a program that is just being started has it
    // open, too. Should it fail, it is closed.
    let _ = fs4::FileExt::unlock(&*file);
    outcome
}

/// Removes a locked file, unless it is reserved, not ours, or replaced; answers as [`remove`].
fn remove_locked(
    directory: &Directory,
    name: &str,
    file: &Opened,
) -> Result<Option<bool>, Failure> {
    // Nobody takes its place at the path as long as the books are in hand.
    let Some(entered) = directory.epochs.enter_soon().map_err(Failure::Books)? else {
        return Ok(Some(false));
    };
    let text = Text::read(file)?;
    let reserved = directory.reserved_until(name, file, &text, true) > kernel::now();
    if text.is_empty()
        || directory.is_anothers(&text)
        || reserved
        || directory.root.inode_at(name)? != Some(file.inode)
    {
        return Ok(Some(false));
    }
    // So that whoever finds it locked just now knows that it will be free.
    let token = text.record().map_or(0, |record| record.token);
    let mark = Record { boot: kernel::boot(), token, removed: true, ..Record::default() };
    mark.write(file)?;
    directory.root.remove(name)?;
    drop(entered);
    Ok(Some(true))
}
