//! What files are locked, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use locks_core::{CallSite, LockError, OwnerId, Wait};

use super::guard::{
    OwnedPathGuard, OwnedPathsGuard, OwnedReadPathGuard, PathGuard, PathsGuard, ReadPathGuard,
};
use super::wanted::Wanted;
use crate::FileBackend;

/// Creates a builder for an exclusive lock on the file `path` itself, which is read and written
/// through the guard.
///
/// Other programs that use `flock` on the file take part in the exclusion. The lock never writes,
/// replaces or removes the file: the information about the holder is kept in the directory of this
/// user's locks. If another file is moved to the path, waiters go over to it.
///
/// A child that this process forks does not keep the lock, and can read and write by the guard's
/// [`file`](PathGuard::file) all the same. Only on a network file system it keeps the lock of a
/// parent that is killed, until it ends.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// # let dir = std::env::temp_dir().join(format!("locks-path-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let path = dir.join("counter");
/// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
/// let mut file = locks::file::lock_path(&path)
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

/// Creates a builder for a shared lock on the file `path` itself, which is read through the guard.
///
/// # Examples
/// ```
/// use std::io::Read;
///
/// # let dir = std::env::temp_dir().join(format!("locks-read-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let path = dir.join("data");
/// # std::fs::write(&path, "some")?;
/// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
/// let mut file = locks::file::read_path(&path)
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

/// Creates a builder for an exclusive lock on several files: all of them or none, with one
/// deadline.
///
/// The files are locked in the order of their inode numbers, so that two requests for the same
/// files do not deadlock, whatever order they name them in. A file that is named twice, even by
/// another name, is locked once.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
///
/// # let dir = std::env::temp_dir().join(format!("locks-paths-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let (one, other) = (dir.join("one"), dir.join("other"));
/// # std::fs::write(&one, "100")?;
/// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
/// let mut both = locks::file::lock_paths([&one, &other])
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
            /// Creates a missing file, empty. Without this, a missing file is an error.
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-create-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// let file = locks::file::lock_path(&path).create(true).within(&files).acquire()?;
            /// assert!(path.exists());
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn create(mut self, create: bool) -> Self {
                self.0.create = create;
                self
            }

            /// Sets how long to wait: `true` for ever, `false` not at all, or at most a
            /// [`Duration`] ([C2](locks_core::contract#c2-waiting)).
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-wait-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// use std::time::Duration;
            ///
            /// # std::fs::write(&path, "")?;
            /// let wait = Duration::from_secs(2);
            /// let file = locks::file::lock_path(&path).wait(wait).within(&files).acquire()?;
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
                self.0.wait = wait.into();
                self
            }

            /// Sets the queueing policy among the waiters of this process; see
            /// [`LockBuilder::fair`](locks_core::LockBuilder::fair).
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-fair-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// # std::fs::write(&path, "")?;
            /// let file = locks::file::lock_path(&path).fair(true).within(&files).acquire()?;
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn fair(mut self, fair: bool) -> Self {
                self.0.options.fair = Some(fair);
                self
            }

            /// Re-enters a lock on the same file that its thread, scope or owner holds
            /// ([C9](locks_core::contract#c9-re-entry)). Each guard has its own position in the
            /// file.
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-reentrant-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// # std::fs::write(&path, "")?;
            /// let file = locks::file::lock_path(&path).within(&files).acquire()?;
            /// let again = locks::file::lock_path(&path).reentrant().within(&files).acquire()?;
            /// # drop(again);
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn reentrant(mut self) -> Self {
                self.0.options.reentrant = true;
                self
            }

            /// Keeps the file reserved until `least` after the grant, even if the guard is dropped
            /// sooner ([C14](locks_core::contract#c14-bounds-of-a-hold)). Other programs that use
            /// `flock` do not see the reservation.
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-hold_at_least-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// use std::time::Duration;
            ///
            /// # std::fs::write(&path, "")?;
            /// let lock = locks::file::lock_path(&path).hold_at_least(Duration::from_secs(60));
            /// let file = lock.within(&files).acquire()?;
            /// drop(file);
            /// let next = locks::file::lock_path(&path).wait(false).within(&files).acquire();
            /// assert!(next.is_err(), "it is reserved for the rest of the minute");
            /// # let file = ();
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn hold_at_least(mut self, least: Duration) -> Self {
                self.0.options.hold_at_least = Some(least);
                self
            }

            /// Sets the identity that holds the lock; see
            /// [`LockBuilder::owner`](locks_core::LockBuilder::owner).
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-owner-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// # std::fs::write(&path, "")?;
            /// let owner = locks::OwnerId::unique();
            /// let file = locks::file::lock_path(&path).owner(owner).within(&files).acquire()?;
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
                self.0.options.owner = Some(owner.into());
                self
            }

            /// Makes the acquisition fail with `Unsupported`: the lock of a file cannot be stolen,
            /// since the file is never replaced
            /// ([F1](locks_core::contract#f1-a-file-for-each-key)).
            pub fn steal_after(mut self, age: Duration) -> Self {
                self.0.options.steal_after = Some(age);
                self
            }

            /// Keeps the information about the holder in the directory of `backend`, not in this
            /// user's own.
            ///
            /// Exclusion does not depend on it.
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-within-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// # std::fs::write(&path, "")?;
            /// let file = locks::file::lock_path(&path).within(&files).acquire()?;
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn within(mut self, backend: &FileBackend) -> Self {
                self.0.within = Some(backend.clone());
                self
            }

            /// Acquires the lock, blocking this thread while it has to wait.
            ///
            /// # Errors
            /// `Contended` and `Timeout` as its [`wait`](Self::wait) says; `Deadlock` if this
            /// thread or scope has it already; `Unsupported`; `Io` if a file cannot be opened or is
            /// none; `NotConfigured` if it lies on a network file system that the backend was not
            /// told to allow.
            ///
            /// # Examples
            /// ```
            /// # let dir = std::env::temp_dir().join(format!("locks-path-acquire-{}", std::process::id()));
            /// # std::fs::create_dir_all(&dir).unwrap();
            /// # let path = dir.join("data");
            /// # let files = locks::file::FileBackend::new(dir.join("locks"))?;
            /// # std::fs::write(&path, "")?;
            /// let file = locks::file::lock_path(&path).within(&files).acquire()?;
            /// # drop(file);
            /// # std::fs::remove_dir_all(dir)?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[track_caller]
            pub fn acquire(self) -> Result<$guard, LockError> {
                let (files, guard) = self.0.lock(CallSite::caller())?;
                Ok($guard::new($files(files), guard))
            }

            /// Acquires the lock without blocking. The deadline counts from the first poll.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            ///
            /// # Cancel safety
            /// Dropping the future at any point withdraws the request
            /// ([C5](locks_core::contract#c5-cancellation)).
            ///
            /// # Examples
            /// ```
            /// # async fn run(path: std::path::PathBuf, files: locks::file::FileBackend)
            /// # -> Result<(), locks::LockError> {
            /// let file = locks::file::lock_path(&path).within(&files).acquire_async().await?;
            /// # Ok(()) }
            /// ```
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
    /// A builder for the exclusive lock of a file; see [`lock_path`].
    PathLock, PathGuard, OwnedPathGuard, one
}

builder! {
    /// A builder for the shared lock of a file; see [`read_path`].
    ReadPathLock, ReadPathGuard, OwnedReadPathGuard, one
}

builder! {
    /// A builder for the exclusive lock of several files; see [`lock_paths`].
    PathsLock, PathsGuard, OwnedPathsGuard, std::convert::identity
}
