use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use locks_core::{Guard, LockError, OwnedGuard, Token};

use super::place::Place;
use super::seize::{Nest, let_go, put_in_place};
use crate::kernel::{Opened, generation};

/// A locked file: what is read and written through a guard.
///
/// Its lock is that of the guard, which says whether it still stands.
pub struct LockedFile {
    place: Place,
    /// Read and written through. In a nest each guard has its own.
    file: Opened,
    /// P1: as long as this is there, the file's `flock` is ours. The guards of a nest share it.
    lock: Option<Arc<Opened>>,
    nest: Nest,
    generation: u64,
}

impl LockedFile {
    pub(super) fn new(place: Place, file: Opened, (lock, nest): (Arc<Opened>, Nest)) -> Self {
        Self { place, file, lock: Some(lock), nest, generation: generation() }
    }

    /// Returns where the file is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Returns the open file, for what has no method here: its length, its metadata. Its own methods for
    /// locks are not to be used; they would act on this lock.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Replaces what the file has, in place. It is not atomic: whoever reads the file without a lock may
    /// see it half done, and a crash may leave it so. [`replace`](Self::replace) is atomic.
    ///
    /// # Errors
    /// Those of the file.
    pub fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file = &*self.file;
        file.rewind()?;
        file.write_all(content)
    }

    /// Puts another file with this content in the place of this one, in one step: whoever opens it,
    /// locked or not, sees the old content or the new one, also after a crash. The lock goes over to the
    /// new file before anybody else can have it, and those who wait for the old one go over as well;
    /// users of `flock` who wait for the old file by other means get that.
    ///
    /// The new file has the permissions of the old one and, where that is allowed, its owner. Other names of
    /// the old file (hard links) keep the old content. It takes the right to write to the directory.
    ///
    /// # Errors
    /// Those of the files; also if the lock is lost, or nested in another guard's, which knows the old
    /// file. The old content is then there still.
    pub fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        self.place.check().map_err(io::Error::from)?;
        let lock = self.lock.as_ref().filter(|lock| Arc::strong_count(lock) == 1);
        if lock.is_none() || self.generation != generation() {
            let why = "the lock is nested in another guard's: replace the file by that one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (file, (lock, nest)) = put_in_place(&self.place, &self.file, self.nest, content)?;
        let old = self.lock.replace(lock);
        self.place.inode = file.inode;
        (self.file, self.nest) = (file, nest);
        // Who waits for the old one looks, and finds the new one.
        old.map_or(Ok(()), |old| fs4::FileExt::unlock(&**old))
    }

    /// Gives the file's lock back, if nobody else of the nest is left. In a forked child it is the parent's.
    pub(super) fn unlock(&mut self) -> Result<(), LockError> {
        let unlocked = match self.lock.take() {
            Some(lock) if self.generation == generation() => let_go(lock, self.nest),
            _ => Ok(()),
        };
        unlocked.map_err(|error| self.place.failed("unlocked", error))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Should it fail, the file is closed next, which unlocks as well.
        let _ = self.unlock();
    }
}

impl fmt::Debug for LockedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.path.fmt(f)
    }
}

impl Read for LockedFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.file).read(into)
    }
}

impl Write for LockedFile {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self.file).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}

impl Seek for LockedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(to)
    }
}

/// What all guards are, for one file or several.
macro_rules! guard {
    ($(#[$doc:meta])* $name:ident, $guard:ty, $files:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "what it locks is unlocked as soon as it is dropped"]
        pub struct $name {
            // Dropped in this order: the file is free before its next user here is told.
            files: $files,
            guard: $guard,
        }

        impl $name {
            pub(super) fn new(files: $files, guard: $guard) -> Self {
                Self { files, guard }
            }

            /// Returns the fencing token of the grant (C7); tokens grow for as long as it is the same
            /// file.
            pub fn token(&self) -> Token {
                self.guard.token()
            }

            /// Returns `true` if the lock has been lost; see [`check`](Self::check).
            pub fn is_lost(&self) -> bool {
                self.check().is_err()
            }

            /// Fails if the lock has been lost: because another file has been put in the place of this
            /// one, as editors do when they save (F1), by an administrator, or in a child that was forked.
            /// It speaks of the instant at which it looked.
            ///
            /// # Errors
            /// [`Lost`](locks_core::ErrorKind::Lost), with the cause.
            pub fn check(&self) -> Result<(), LockError> {
                for file in self.as_files() {
                    file.place().check()?;
                }
                self.guard.check().map_err(|error| self.named(error))
            }

            /// Unlocks, and returns any error, which dropping the guard cannot tell of.
            ///
            /// # Errors
            /// As [`check`](Self::check), and what keeps a file from being unlocked.
            pub fn release(mut self) -> Result<(), LockError> {
                let mut outcome = self.as_files().iter().try_for_each(|file| file.place().check());
                for file in self.as_files_mut() {
                    outcome = outcome.and(file.unlock());
                }
                let Self { files, guard } = self;
                let released = guard.release().map_err(|error| named_by(&files, error));
                outcome.and(released)
            }

            fn named(&self, error: LockError) -> LockError {
                named_by(&self.files, error)
            }

            fn as_files(&self) -> &[LockedFile] {
                AsFiles::as_files(&self.files)
            }

            fn as_files_mut(&mut self) -> &mut [LockedFile] {
                AsFiles::as_files_mut(&mut self.files)
            }
        }
    };
}

/// One file or several.
trait AsFiles {
    fn as_files(&self) -> &[LockedFile];
    fn as_files_mut(&mut self) -> &mut [LockedFile];
}

impl AsFiles for LockedFile {
    fn as_files(&self) -> &[LockedFile] {
        std::slice::from_ref(self)
    }

    fn as_files_mut(&mut self) -> &mut [LockedFile] {
        std::slice::from_mut(self)
    }
}

impl AsFiles for Vec<LockedFile> {
    fn as_files(&self) -> &[LockedFile] {
        self
    }

    fn as_files_mut(&mut self) -> &mut [LockedFile] {
        self
    }
}

fn named_by(files: &impl AsFiles, error: LockError) -> LockError {
    files.as_files().iter().fold(error, |error, file| file.place().named(error))
}

/// What a guard of one file reads.
macro_rules! reads {
    ($name:ident) => {
        impl $name {
            /// Returns the open file, for what has no method here: its length, its metadata. Its own
            /// methods for locks are not to be used; they would act on this lock.
            pub fn file(&self) -> &File {
                self.files.file()
            }

            /// Returns where the file is, without symbolic links.
            pub fn path(&self) -> &Path {
                self.files.path()
            }
        }

        impl Read for $name {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.files.read(into)
            }
        }

        impl Seek for $name {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.files.seek(to)
            }
        }
    };
}

/// What a guard of one file writes.
macro_rules! writes {
    ($name:ident) => {
        impl $name {
            /// Replaces what the file has, in place. It is not atomic: see [`LockedFile::rewrite`].
            ///
            /// # Errors
            /// Those of the file.
            pub fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
                self.files.rewrite(content)
            }

            /// Puts another file with this content in the place of this one, in one step, and keeps the
            /// lock: see [`LockedFile::replace`].
            ///
            /// # Errors
            /// Those of the files; also if the lock is lost, or nested in another guard's.
            pub fn replace(&mut self, content: &[u8]) -> io::Result<()> {
                self.files.replace(content)
            }
        }

        impl Write for $name {
            fn write(&mut self, from: &[u8]) -> io::Result<usize> {
                self.files.write(from)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.files.flush()
            }
        }
    };
}

/// What a guard of several files has.
macro_rules! several {
    ($name:ident) => {
        impl $name {
            /// Returns the files, in the order in which they were named.
            pub fn files(&self) -> &[LockedFile] {
                &self.files
            }

            /// Returns the files, in the order in which they were named, to be read and written.
            pub fn files_mut(&mut self) -> &mut [LockedFile] {
                &mut self.files
            }
        }
    };
}

/// A guard that stays on its thread, and what it becomes where it does not.
macro_rules! owned {
    ($name:ident, $owned:ident) => {
        impl $name {
            /// Returns the same lock as a guard that can be sent to another thread, where it belongs to
            /// nobody in particular (C9, C10).
            pub fn into_owned(self) -> $owned {
                $owned::new(self.files, self.guard.into_owned())
            }
        }
    };
}

guard! {
    /// Proof that this thread holds the lock of a file. It stays on its thread, as
    /// [`Guard`](locks_core::Guard) does.
    ///
    /// It reads, writes and seeks in the file itself. Dropping it unlocks and closes the file, for users of
    /// this library and then for all.
    PathGuard, Guard, LockedFile
}
reads!(PathGuard);
writes!(PathGuard);
owned!(PathGuard, OwnedPathGuard);

guard! {
    /// Proof that its owner holds the lock of a file, wherever that is; see [`PathGuard`].
    OwnedPathGuard, OwnedGuard, LockedFile
}
reads!(OwnedPathGuard);
writes!(OwnedPathGuard);

guard! {
    /// Proof that this thread shares the lock of a file with others who read it. It stays on its thread.
    ///
    /// It reads and seeks in the file itself. Dropping it unlocks and closes the file.
    ReadPathGuard, Guard, LockedFile
}
reads!(ReadPathGuard);
owned!(ReadPathGuard, OwnedReadPathGuard);

guard! {
    /// Proof that its owner shares the lock of a file, wherever that is; see [`ReadPathGuard`].
    OwnedReadPathGuard, OwnedGuard, LockedFile
}
reads!(OwnedReadPathGuard);

guard! {
    /// Proof that this thread holds the locks of several files. It stays on its thread.
    ///
    /// Dropping it unlocks and closes all of them.
    PathsGuard, Guard, Vec<LockedFile>
}
several!(PathsGuard);
owned!(PathsGuard, OwnedPathsGuard);

guard! {
    /// Proof that its owner holds the locks of several files, wherever they are; see [`PathsGuard`].
    OwnedPathsGuard, OwnedGuard, Vec<LockedFile>
}
several!(OwnedPathsGuard);
