//! What files are locked, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use locks_core::{CallSite, LockError, OwnerId, Wait};

use super::guard::{
    OwnedPathGuard, OwnedPathsGuard, OwnedReadPathGuard, PathGuard, PathsGuard, ReadPathGuard,
};
use super::wanted::Wanted;
use crate::FileBackend;

/// A lock on this very file, alone, to be read and written through the guard.
///
/// Whoever uses `flock` on the file excludes and is excluded. The file is neither written to nor
/// replaced, emptied or removed by itself: what errors and lists tell of the holder is in the directory of
/// this user's locks. Where another file is put in its place, those who wait go over to that one.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// # let dir = std::env::temp_dir().join(format!("locks-path-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let path = dir.join("counter");
/// # let files = locks_file::FileBackend::new(dir.join("locks"))?;
/// let mut file = locks_file::lock_path(&path)
///     .create(true)
///     .wait(Duration::from_secs(2))
/// #   .within(&files)
///     .acquire()?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// let count = text.trim().parse().unwrap_or(0) + 1;
/// file.replace(format!("{count}\n").as_bytes())?;
/// # drop(file);
/// # assert_eq!(std::fs::read_to_string(&path)?, "1\n");
/// # std::fs::remove_dir_all(dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lock_path(path: impl AsRef<Path>) -> PathLock {
    PathLock(Wanted::new(vec![path.as_ref().to_owned()], false))
}

/// A lock on this very file, shared with others who only read it, and a guard to read it through.
///
/// ```
/// use std::io::Read;
///
/// # let dir = std::env::temp_dir().join(format!("locks-read-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let path = dir.join("data");
/// # std::fs::write(&path, "some")?;
/// # let files = locks_file::FileBackend::new(dir.join("locks"))?;
/// let mut file = locks_file::read_path(&path)
/// #   .within(&files)
///     .acquire()?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// # drop(file);
/// # assert_eq!(text, "some");
/// # std::fs::remove_dir_all(dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_path(path: impl AsRef<Path>) -> ReadPathLock {
    ReadPathLock(Wanted::new(vec![path.as_ref().to_owned()], true))
}

/// A lock on all of these files, alone: all of them or none, and one deadline for all.
///
/// They are locked in the order of their numbers in the file system, so that two who lock the same files
/// do not wait for each other, whatever order they name them in. A file that is named twice, also by
/// another name, is locked once.
///
/// ```
/// use std::io::{Read, Write};
///
/// # let dir = std::env::temp_dir().join(format!("locks-paths-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let (one, other) = (dir.join("one"), dir.join("other"));
/// # std::fs::write(&one, "100")?;
/// # let files = locks_file::FileBackend::new(dir.join("locks"))?;
/// let mut both = locks_file::lock_paths([&one, &other])
///     .create(true)
/// #   .within(&files)
///     .acquire()?;
/// let [from, to] = both.files_mut() else { unreachable!() };
/// std::io::copy(from, to)?;
/// from.rewrite(b"")?;
/// # drop(both);
/// # assert_eq!(std::fs::read_to_string(&other)?, "100");
/// # std::fs::remove_dir_all(dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lock_paths<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> PathsLock {
    let paths = paths.into_iter().map(|path| path.as_ref().to_owned());
    PathsLock(Wanted::new(paths.collect::<Vec<PathBuf>>(), false))
}

macro_rules! builder {
    ($(#[$doc:meta])* $name:ident, $guard:ident, $owned:ident, $files:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "a builder acquires nothing until `acquire` or `acquire_async`"]
        pub struct $name(Wanted);

        impl $name {
            /// Makes a file that is not there, empty. Without this, that is an error.
            pub fn create(mut self, create: bool) -> Self {
                self.0.create = create;
                self
            }

            /// Sets how long to wait: `true` for ever, `false` not at all, or at most a [`Duration`] (C2).
            pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
                self.0.wait = wait.into();
                self
            }

            /// Sets whether others of this program who wait may be overtaken (C3).
            pub fn fair(mut self, fair: bool) -> Self {
                self.0.options.fair = Some(fair);
                self
            }

            /// Nests in a lock on the same file that its own thread, scope or owner holds (C9). The guards
            /// read and write at places of their own.
            pub fn reentrant(mut self) -> Self {
                self.0.options.reentrant = true;
                self
            }

            /// Keeps it locked, for those who use this library, for at least this long, even if the guard
            /// is dropped before (C14). Other users of `flock` do not see that.
            pub fn hold_at_least(mut self, least: Duration) -> Self {
                self.0.options.hold_at_least = Some(least);
                self
            }

            /// Sets who holds it, as for [`LockBuilder::owner`](locks_core::LockBuilder::owner).
            pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
                self.0.options.owner = Some(owner.into());
                self
            }

            /// Is refused: a file that is one's own cannot be put in the place of one that somebody has
            /// (F1).
            pub fn steal_after(mut self, age: Duration) -> Self {
                self.0.options.steal_after = Some(age);
                self
            }

            /// Has errors and lists find the holder in this backend's directory, not in this user's own.
            /// Those who lock the same file exclude each other all the same.
            pub fn within(mut self, backend: &FileBackend) -> Self {
                self.0.within = Some(backend.clone());
                self
            }

            /// Locks, parking this thread until then.
            ///
            /// # Errors
            /// `Contended` and `Timeout` as its [`wait`](Self::wait) says; `Deadlock` if this thread or
            /// scope has it already; `Unsupported`; `Io` if a file cannot be opened or is none;
            /// `NotConfigured` if it lies on a network file system that the backend was not told to allow.
            #[track_caller]
            pub fn acquire(self) -> Result<$guard, LockError> {
                let (files, guard) = self.0.lock(CallSite::caller())?;
                Ok($guard::new($files(files), guard))
            }

            /// Locks without blocking; the deadline counts from the first poll (C2).
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            ///
            /// # Cancel safety
            /// Dropping the future at any point leaves nothing behind (C5).
            pub async fn acquire_async(self) -> Result<$owned, LockError> {
                let (files, guard) = self.0.lock_async().await?;
                Ok($owned::new($files(files), guard))
            }
        }
    };
}

/// The one that was asked for.
fn one<T>(files: Vec<T>) -> T {
    files.into_iter().next().expect("one file was named, and is there")
}

builder! {
    /// A file to be locked, and how; the options are those of [`LockBuilder`](locks_core::LockBuilder).
    PathLock, PathGuard, OwnedPathGuard, one
}

builder! {
    /// A file to be locked for reading, and how; the options are those of
    /// [`LockBuilder`](locks_core::LockBuilder).
    ReadPathLock, ReadPathGuard, OwnedReadPathGuard, one
}

builder! {
    /// Files to be locked together, and how; the options are those of
    /// [`LockBuilder`](locks_core::LockBuilder).
    PathsLock, PathsGuard, OwnedPathsGuard, std::convert::identity
}
