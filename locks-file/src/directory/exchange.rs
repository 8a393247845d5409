//! Putting a new file in the place of another in one step, and the other back (F4).

use std::io;

use locks_core::LockError;
use rustix::fs::{Mode, OFlags};

use super::{Directory, Entered, Root};
use crate::kernel::Opened;
use crate::record::Text;

/// Where the file is that does not stand at its path: the new one before, the old one after.
pub(crate) const ASIDE: &str = ".exchange";
/// For finding out whether it can be done.
pub(super) const PROBE: &str = ".probe";

/// A theft under way. The books are in hand as long as it lives, so there is only one.
pub(crate) struct Exchange<'a, 'e> {
    directory: &'a Directory,
    entered: &'a mut Entered<'e>,
    /// The name of the lock file.
    name: &'a str,
    /// The new file, which nobody else has opened before it stood at the path.
    file: Opened,
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
        name: &'a str,
        exclusive: bool,
    ) -> Result<Self, LockError> {
        let failed = |error| directory.lock_file(name).failed("taken over", error);
        // What a dead thief had made, without having come to note it.
        directory.root.remove(ASIDE).map_err(|error| thwarted(directory, name, error))?;
        let file = directory.make_file(ASIDE).map_err(failed)?;
        let locked = if exclusive {
            fs4::FileExt::try_lock(&*file)
        } else {
            fs4::FileExt::try_lock_shared(&*file)
        };
        locked.map_err(|error| failed(error.into()))?;
        Ok(Self { directory, entered, name, file })
    }

    /// Puts the new file at the path; asks `still` whether the old one is as it was judged; and if
    /// so writes the new record, with which the theft is done. If not, or if anything fails, the
    /// old file is put back.
    pub(crate) fn carry_out(
        self,
        still: impl FnOnce() -> bool,
        write: impl FnOnce(&Opened) -> io::Result<()>,
    ) -> Result<Outcome, LockError> {
        let Self { directory, entered, name, file } = self;
        let root = &directory.root;
        entered.note_theft(Some((name.to_owned(), file.inode.ino)))?;
        let outcome = match root.exchange(ASIDE, name) {
            Ok(()) if still() => match write(&file) {
                Ok(()) => Ok(Outcome::Taken),
                Err(error) => put_back(root, name).and(Err(error)),
            },
            Ok(()) => put_back(root, name).map(|()| Outcome::Undone),
            // Somebody has removed the old one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Undone),
            Err(error) => Err(error),
        };
        // Should either fail, the next to have the books does it.
        let failed = |error| directory.lock_file(name).failed("taken over", error);
        let removed = root.remove(ASIDE).map_err(failed);
        let noted = removed.and_then(|()| entered.note_theft(None));
        match outcome {
            // It is taken, whatever the books say.
            Ok(taken @ Outcome::Taken) => Ok(taken),
            Ok(undone) => noted.map(|()| undone),
            Err(error) => Err(thwarted(directory, name, error)),
        }
    }
}

/// Why a file cannot be put in the place of another: in a sticky directory one has to own both, or
/// the directory, and no right to the file helps.
fn thwarted(directory: &Directory, name: &str, error: io::Error) -> LockError {
    let is_sticky = directory.root.mode().is_ok_and(|mode| mode & 0o1000 != 0);
    match error.kind() {
        io::ErrorKind::PermissionDenied if is_sticky => directory.lock_file(name).sticky(error),
        _ => directory.lock_file(name).failed("taken over", error),
    }
}

/// Undoes an exchange. If somebody has removed the new file meanwhile, there is nothing to put in
/// the place of, and the old one is gone with it.
fn put_back(root: &Root, name: &str) -> io::Result<()> {
    match root.exchange(ASIDE, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Finishes or undoes the exchange that somebody had begun who is dead.
pub(super) fn recover(root: &Root, name: &str, inode: u64) -> io::Result<()> {
    let new_is_there = root.inode_at(name)?.is_some_and(|found| found.ino == inode);
    if new_is_there && root.inode_at(ASIDE)?.is_some() {
        let file = root.open_existing(name)?;
        if Text::read(&file)?.record().is_none() {
            // It was not written down, so it was not done.
            put_back(root, name)?;
        }
    }
    root.remove(ASIDE)
}

/// Whether two files can be exchanged in this directory.
pub(super) fn probe(root: &Root, mode: Mode) -> bool {
    let make = |name: &str| root.open_file(name, OFlags::CREATE, mode).map(drop).is_ok();
    let can = make(ASIDE) && make(PROBE) && root.exchange(ASIDE, PROBE).is_ok();
    // They are in nobody's way, should they stay.
    let _ = root.remove(ASIDE);
    let _ = root.remove(PROBE);
    can
}
