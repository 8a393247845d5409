//! Putting a new file in the place of another in one step, and the other back (F4).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};

use locks_core::LockError;

use super::{Directory, Entered, Inode, Settings, open_at, open_existing};
use crate::fault;
use crate::record::Text;

/// Where the file is that does not stand at its path: the new one before, the old one after.
pub(crate) const ASIDE: &str = ".exchange";
/// For finding out whether it can be done.
const PROBE: &str = ".probe";

/// A theft under way. The books are in hand as long as it lives, so there is only one.
pub(crate) struct Exchange<'a, 'e> {
    directory: &'a Directory,
    entered: &'a mut Entered<'e>,
    path: PathBuf,
    /// The new file, which nobody else has opened before it stood at the path.
    file: File,
}

/// How a theft ended.
pub(crate) enum Outcome {
    /// The new file stands at the path, with its record.
    Taken,
    /// The old one does.
    Undone,
}

impl<'a, 'e> Exchange<'a, 'e> {
    /// Makes a new file and locks it.
    pub(crate) fn prepare(
        directory: &'a Directory,
        entered: &'a mut Entered<'e>,
        path: &Path,
        exclusive: bool,
    ) -> Result<Self, LockError> {
        let aside = directory.file(ASIDE);
        let failed = |error| fault::at(directory, path, "taken over", error);
        // What a dead thief had made, without having come to note it.
        remove(&aside).map_err(failed)?;
        let file = directory.make_file(&aside).map_err(failed)?;
        let locked = if exclusive {
            fs4::FileExt::try_lock(&file)
        } else {
            fs4::FileExt::try_lock_shared(&file)
        };
        locked.map_err(|error| failed(error.into()))?;
        Ok(Self { directory, entered, path: path.to_owned(), file })
    }

    /// Puts the new file at the path; asks `still` whether the old one is as it was judged; and if so
    /// writes the new record, with which the theft is done. If not, or if anything fails, the old file
    /// is put back.
    pub(crate) fn carry_out(
        self,
        still: impl FnOnce() -> bool,
        write: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<Outcome, LockError> {
        let Self { directory, entered, path, file } = self;
        let aside = directory.file(ASIDE);
        let failed = |error| fault::at(directory, &path, "taken over", error);
        let inode = Inode::of(&file).map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        entered.note_theft(Some((name, inode.ino)))?;
        let outcome = match swap(&aside, &path) {
            Ok(()) if still() => match write(&file) {
                Ok(()) => Ok(Outcome::Taken),
                Err(error) => put_back(&aside, &path).and(Err(error)),
            },
            Ok(()) => put_back(&aside, &path).map(|()| Outcome::Undone),
            // Somebody has removed the old one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Undone),
            Err(error) => Err(error),
        };
        // Should either fail, the next to have the books does it.
        let removed = remove(&aside).map_err(failed);
        let noted = removed.and_then(|()| entered.note_theft(None));
        match outcome {
            // It is taken, whatever the books say.
            Ok(taken @ Outcome::Taken) => Ok(taken),
            Ok(undone) => noted.map(|()| undone),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Undoes an exchange. If somebody has removed the new file meanwhile, there is nothing to put in the
/// place of, and the old one is gone with it.
fn put_back(aside: &Path, path: &Path) -> io::Result<()> {
    match swap(aside, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Finishes or undoes the exchange that somebody had begun who is dead.
pub(super) fn recover(directory: &Path, name: &str, inode: u64) -> io::Result<()> {
    let (aside, path) = (directory.join(ASIDE), directory.join(name));
    let new_is_there = Inode::at(&path)?.is_some_and(|found| found.ino == inode);
    if new_is_there && Inode::at(&aside)?.is_some() {
        let file = open_existing(&path)?;
        if Text::read(&file)?.record().is_none() {
            // It was not written down, so it was not done.
            put_back(&aside, &path)?;
        }
    }
    remove(&aside)
}

/// Whether two files can be exchanged in this directory.
pub(super) fn probe(directory: &Path, settings: &Settings) -> bool {
    let (one, other) = (directory.join(ASIDE), directory.join(PROBE));
    let mode = settings.file_mode(directory);
    let make = |path: &Path| open_at(path, OFlags::CREATE, mode).map(drop).is_ok();
    let can = make(&one) && make(&other) && swap(&one, &other).is_ok();
    // They are in nobody's way, should they stay.
    let _ = remove(&one);
    let _ = remove(&other);
    can
}

#[cfg(target_os = "linux")]
fn swap(one: &Path, other: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn swap(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
