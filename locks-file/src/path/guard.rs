use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use locks_core::{Guard, LockError, OwnedGuard, Token};

use super::place::Place;
use super::seize::{Nest, let_go};
use crate::kernel::{Opened, generation};

/// What the guards have in common: where the file was found, the file, and its lock.
pub(super) struct Locked {
    place: Place,
    /// Read and written through. In a nest each guard has its own.
    file: Opened,
    /// P1: as long as this is there, the file's `flock` is ours. The guards of a nest share it.
    lock: Option<Arc<Opened>>,
    nest: Nest,
    generation: u64,
}

impl Locked {
    pub(super) fn new(place: Place, file: Opened, (lock, nest): (Arc<Opened>, Nest)) -> Self {
        Self { place, file, lock: Some(lock), nest, generation: generation() }
    }

    /// Gives the file's lock back, if nobody else of the nest is left. In a forked child it is only
    /// closed: the lock is the parent's.
    fn unlock(&mut self) -> io::Result<()> {
        match self.lock.take() {
            Some(lock) if self.generation == generation() => let_go(lock, self.nest),
            _ => Ok(()),
        }
    }

    fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file = &*self.file;
        file.rewind()?;
        file.write_all(content)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Should it fail, the file is closed next, which unlocks as well.
        let _ = self.unlock();
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.path.fmt(f)
    }
}

macro_rules! path_guard {
    ($(#[$doc:meta])* $name:ident, $guard:ty) => {
        $(#[$doc])*
        ///
        /// It reads, writes and seeks in the file itself. Dropping it unlocks and closes the file, for
        /// users of this library and then for all.
        #[derive(Debug)]
        #[must_use = "the file is unlocked as soon as its guard is dropped"]
        pub struct $name {
            // Dropped in this order: the file is free before its next user here is told.
            locked: Locked,
            guard: $guard,
        }

        impl $name {
            pub(super) fn new(locked: Locked, guard: $guard) -> Self {
                Self { locked, guard }
            }

            /// The open file, for what has no method here: its length, its metadata. Its own methods
            /// for locks are not to be used; they would act on this lock.
            pub fn file(&self) -> &File {
                &self.locked.file
            }

            /// Replaces what the file has. Whoever reads it without a lock may see it half done.
            ///
            /// # Errors
            /// Those of the file.
            pub fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
                self.locked.rewrite(content)
            }

            /// The fencing token of the grant (C7); tokens grow for as long as it is the same file.
            pub fn token(&self) -> Token {
                self.guard.token()
            }

            /// Whether the lock has been lost; see [`check`](Self::check).
            pub fn is_lost(&self) -> bool {
                self.check().is_err()
            }

            /// Fails if the lock has been lost: because another file has been put in the place of this
            /// one, as editors do when they save (F1), or by an administrator. It speaks of the instant
            /// at which it looked.
            ///
            /// # Errors
            /// [`Lost`](locks_core::ErrorKind::Lost), with the cause.
            pub fn check(&self) -> Result<(), LockError> {
                let locked = &self.locked;
                locked.place.check()?;
                self.guard.check().map_err(|error| locked.place.named(error))
            }

            /// Unlocks the file and says how that went.
            ///
            /// # Errors
            /// As [`check`](Self::check), and what keeps the file from being unlocked.
            pub fn release(self) -> Result<(), LockError> {
                let Self { mut locked, guard } = self;
                let stands = locked.place.check();
                let unlocked =
                    locked.unlock().map_err(|error| locked.place.failed("unlocked", error));
                let released = guard.release().map_err(|error| locked.place.named(error));
                stands.and(unlocked).and(released)
            }
        }

        impl Read for $name {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                (&*self.locked.file).read(into)
            }
        }

        impl Write for $name {
            fn write(&mut self, from: &[u8]) -> io::Result<usize> {
                (&*self.locked.file).write(from)
            }

            fn flush(&mut self) -> io::Result<()> {
                (&*self.locked.file).flush()
            }
        }

        impl Seek for $name {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                (&*self.locked.file).seek(to)
            }
        }
    };
}

path_guard! {
    /// Proof that this thread holds the lock of a file. It stays on its thread, as
    /// [`Guard`](locks_core::Guard) does.
    PathGuard, Guard
}

path_guard! {
    /// Proof that its owner holds the lock of a file, wherever that is.
    OwnedPathGuard, OwnedGuard
}

impl PathGuard {
    /// The same lock as a guard that can be sent to another thread, where it belongs to nobody in
    /// particular (C9, C10).
    pub fn into_owned(self) -> OwnedPathGuard {
        OwnedPathGuard::new(self.locked, self.guard.into_owned())
    }
}
