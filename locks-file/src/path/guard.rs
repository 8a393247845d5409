use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use locks_core::{Guard, LockError, OwnedGuard, Token};

use super::place::ResolvedFile;
use super::seize::{FileLock, put_in_place};
use crate::kernel::Opened;

/// A locked file, read and written through its guard; the [`check`](PathsGuard::check) of the guard
/// is about its lock.
pub struct LockedFile {
    place: ResolvedFile,
    /// Read and written through. In a nest each guard has its own.
    file: Opened,
    /// P2: it is closed in a forked child, and `file` is not.
    lock: Option<FileLock>,
    token: Token,
}

impl LockedFile {
    pub(super) fn new(place: ResolvedFile, file: Opened, lock: FileLock, token: Token) -> Self {
        Self { place, file, lock: Some(lock), token }
    }

    /// Returns the path of the file, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Returns the open file, for its length or metadata. Do not call its own locking methods: they
    /// wait for this lock, or act on it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Overwrites the content of the file in place.
    ///
    /// Not atomic: a reader without a lock can see a part of it, and a crash can leave a part of
    /// it. [`replace`](Self::replace) is atomic.
    ///
    /// # Errors
    /// Those of the file.
    pub fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file = &*self.file;
        file.rewind()?;
        file.write_all(content)
    }

    /// Replaces the file atomically by a new one with this content.
    ///
    /// A reader, locked or not, sees the old content or the new one, even after a crash. The guard
    /// keeps the lock, and waiters go over to the new file; other programs that wait for the old
    /// file by `flock` get the lock of the old one.
    ///
    /// The new file gets the permissions of the old one and, where that is allowed, its owner. Hard
    /// links of the old file keep the old content. The directory must be readable and writable.
    ///
    /// # Errors
    /// Those of the files; also if the lock is lost, or nested in another guard, which has the old
    /// file open. The old content is kept then, or, where only the sync of the directory has
    /// failed, it may be there again after a crash.
    pub fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        self.place.check().map_err(io::Error::from)?;
        if !self.lock.as_ref().is_some_and(FileLock::is_alone) {
            let why = "the lock is nested in another guard's: replace the file by that one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (file, lock, directory) = put_in_place(&self.place, &self.file, self.token, content)?;
        let old = self.lock.replace(lock);
        self.place.inode = file.inode;
        self.file = file;
        // Who waits for the old one looks, and finds the new one.
        let unlocked = old.map_or(Ok(()), FileLock::unlock);
        directory.sync_all().and(unlocked)
    }

    /// Gives the file's lock back, if nobody else of the nest is left.
    pub(super) fn unlock(&mut self) -> Result<(), LockError> {
        let unlocked = self.lock.take().map_or(Ok(()), FileLock::unlock);
        unlocked.map_err(|error| self.place.failed("unlocked", error))
    }

    pub(super) fn place(&self) -> &ResolvedFile {
        &self.place
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

            /// Returns the fencing token of the grant. Tokens grow for as long as the file is not
            /// replaced ([C7](locks_core::contract#c7-fencing-tokens)).
            pub fn token(&self) -> Token {
                self.guard.token()
            }

            /// Returns `true` if the lock has been lost; see [`check`](Self::check).
            pub fn is_lost(&self) -> bool {
                self.check().is_err()
            }

            /// Returns an error if the lock has been lost: another file was moved to the path, as
            /// editors do when they save, an administrator released it, or this is a forked child.
            ///
            /// The answer is true of the instant of the call.
            ///
            /// # Errors
            /// [`Lost`](locks_core::ErrorKind::Lost), with the cause.
            pub fn check(&self) -> Result<(), LockError> {
                for file in self.as_files() {
                    file.place().check()?;
                }
                self.guard.check().map_err(|error| self.named(error))
            }

            /// Releases the lock and returns any error, which dropping the guard can only log.
            ///
            /// # Errors
            /// As [`check`](Self::check), and those of the system.
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
            /// Returns the open file, for its length or metadata. Do not call its own locking
            /// methods: they wait for this lock, or act on it.
            pub fn file(&self) -> &File {
                self.files.file()
            }

            /// Returns the path of the file, without symbolic links.
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
            /// Overwrites the content of the file in place, not atomically; see
            /// [`LockedFile::rewrite`].
            ///
            /// # Errors
            /// Those of the file.
            pub fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
                self.files.rewrite(content)
            }

            /// Replaces the file atomically by a new one with this content, and keeps the lock; see
            /// [`LockedFile::replace`].
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
            /// Converts the guard into one that can be sent to another thread; see
            /// [`Guard::into_owned`](locks_core::Guard::into_owned).
            pub fn into_owned(self) -> $owned {
                $owned::new(self.files, self.guard.into_owned())
            }
        }
    };
}

guard! {
    /// An RAII guard of a file that this thread has locked; dropping it releases the lock and
    /// closes the file.
    ///
    /// It implements `Read`, `Write` and `Seek` for the file. Like [`Guard`](locks_core::Guard) it
    /// is not `Send`; see [`lock_path`](crate::lock_path) for an example.
    PathGuard, Guard, LockedFile
}
reads!(PathGuard);
writes!(PathGuard);
owned!(PathGuard, OwnedPathGuard);

guard! {
    /// An RAII guard of a locked file that can be sent to another thread; see [`PathGuard`].
    OwnedPathGuard, OwnedGuard, LockedFile
}
reads!(OwnedPathGuard);
writes!(OwnedPathGuard);

guard! {
    /// An RAII guard of a shared lock of a file; dropping it releases the lock and closes the file.
    ///
    /// It implements `Read` and `Seek` for the file; see [`read_path`](crate::read_path) for an
    /// example.
    ReadPathGuard, Guard, LockedFile
}
reads!(ReadPathGuard);
owned!(ReadPathGuard, OwnedReadPathGuard);

guard! {
    /// An RAII guard of a shared lock of a file that can be sent to another thread; see
    /// [`ReadPathGuard`].
    OwnedReadPathGuard, OwnedGuard, LockedFile
}
reads!(OwnedReadPathGuard);

guard! {
    /// An RAII guard of several locked files; dropping it releases and closes all of them. See
    /// [`lock_paths`](crate::lock_paths) for an example.
    PathsGuard, Guard, Vec<LockedFile>
}
several!(PathsGuard);
owned!(PathsGuard, OwnedPathsGuard);

guard! {
    /// An RAII guard of several locked files that can be sent to another thread; see
    /// [`PathsGuard`].
    OwnedPathsGuard, OwnedGuard, Vec<LockedFile>
}
several!(OwnedPathsGuard);
