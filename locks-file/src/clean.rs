//! Removing the files of keys that nobody uses: the only thing that removes any (F4).

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use locks_core::LockError;

use crate::directory::{Directory, Inode, open_existing};
use crate::fault;
use crate::kernel;
use crate::name;
use crate::record::{Record, Text};
use crate::waiting;

/// What [`clean`](crate::FileBackend::clean) has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// How many lock files it has removed.
    pub removed: usize,
    /// How many it has left, because they are held, reserved, or younger than asked for.
    pub kept: usize,
}

/// Removes the lock files that nobody has used for so long.
///
/// # Errors
/// If the directory cannot be read, or a file cannot be removed.
pub(crate) fn clean(directory: &Directory, unused_for: Duration) -> Result<Cleaned, LockError> {
    let path = &directory.path;
    let mut cleaned = Cleaned::default();
    waiting::clean(directory);
    for entry in fs::read_dir(path).map_err(|error| fault::directory(path, error))? {
        let entry = entry.map_err(|error| fault::directory(path, error))?;
        if name::to_key(&entry.file_name().to_string_lossy()) == name::Named::Other {
            continue;
        }
        let path = entry.path();
        match remove(directory, &path, unused_for) {
            Ok(true) => cleaned.removed += 1,
            Ok(false) => cleaned.kept += 1,
            // Somebody else was quicker.
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Failure::Io(error)) => return Err(fault::at(directory, &path, "removed", error)),
            Err(Failure::Books(error)) => return Err(error),
        }
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

fn remove(directory: &Directory, path: &Path, unused_for: Duration) -> Result<bool, Failure> {
    let metadata = fs::symlink_metadata(path)?;
    // Every grant writes.
    let used = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
    if !metadata.is_file() || !directory.settings.is_own(metadata.uid()) || used < unused_for {
        return Ok(false);
    }
    let file = open_existing(path)?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => {}
        Err(fs4::TryLockError::WouldBlock) => return Ok(false),
        Err(fs4::TryLockError::Error(error)) => return Err(error.into()),
    }
    // Nobody takes its place at the path as long as the books are in hand.
    let Some(entered) = directory.epochs.enter_soon().map_err(Failure::Books)? else {
        return Ok(false);
    };
    let text = Text::read(&file)?;
    let record = text.record().unwrap_or_default();
    let reserved = record.boot == kernel::boot() && record.reserved_until(true, kernel::now()) > 0;
    if reserved || Inode::at(path)? != Some(Inode::of(&file)?) {
        return Ok(false);
    }
    // So that whoever finds it locked just now knows that it will be free.
    let mark =
        Record { boot: kernel::boot(), token: record.token, removed: true, ..Record::default() };
    mark.write(&file)?;
    fs::remove_file(path)?;
    drop(entered);
    Ok(true)
}
