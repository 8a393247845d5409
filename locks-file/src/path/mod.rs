//! Locking *a* file, rather than a name (F1).

mod guard;
mod place;
mod seize;

use std::path::{Path, PathBuf};
use std::time::Duration;

use locks_core::fork::PerProcess;
use locks_core::{Backend, ErrorKind, HolderInfo, LockBuilder, LockError, OwnerId, Wait};

use self::guard::Locked;
pub use self::guard::{OwnedPathGuard, PathGuard};
use self::place::Place;
use self::seize::{Seized, holders, seize};
use crate::FileBackend;
use crate::kernel::{self, Nanos, Opened};

/// A lock on this very file, alone, to be read and written through the guard.
///
/// Whoever uses `flock` on the file excludes and is excluded. The file is neither written to nor
/// replaced, emptied or removed by itself: what errors and lists tell of the holder is in the directory of
/// this user's locks.
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
/// file.rewrite(format!("{count}\n").as_bytes())?;
/// # drop(file);
/// # assert_eq!(std::fs::read_to_string(&path)?, "1\n");
/// # std::fs::remove_dir_all(dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lock_path(path: impl AsRef<Path>) -> PathLock {
    PathLock::new(path.as_ref(), false)
}

/// A lock on this very file, shared with others who only read it. It is opened for reading: writing
/// through the guard fails.
pub fn read_path(path: impl AsRef<Path>) -> PathLock {
    PathLock::new(path.as_ref(), true)
}

/// A file to be locked, and how; the options are those of [`LockBuilder`].
#[derive(Clone, Debug)]
#[must_use = "a builder acquires nothing until `acquire` or `acquire_async`"]
pub struct PathLock {
    path: PathBuf,
    shared: bool,
    create: bool,
    within: Option<FileBackend>,
    wait: Wait,
    options: Choices,
}

/// What is passed on to the builder.
#[derive(Clone, Copy, Debug, Default)]
struct Choices {
    steal_after: Option<Duration>,
    reentrant: bool,
    fair: Option<bool>,
    hold_at_least: Option<Duration>,
    owner: Option<OwnerId>,
}

impl PathLock {
    fn new(path: &Path, shared: bool) -> Self {
        Self {
            path: path.to_owned(),
            shared,
            create: false,
            within: None,
            wait: Wait::Forever,
            options: Choices::default(),
        }
    }

    /// Makes the file if there is none, empty. Without this, that is an error.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How long to wait: `true` for ever, `false` not at all, or at most a [`Duration`] (C2).
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.wait = wait.into();
        self
    }

    /// Whether others of this program who wait for the file may be overtaken (C3).
    pub fn fair(mut self, fair: bool) -> Self {
        self.options.fair = Some(fair);
        self
    }

    /// Nests in a lock on the same file that its own thread, scope or owner holds (C9). The guards
    /// read and write at places of their own.
    pub fn reentrant(mut self) -> Self {
        self.options.reentrant = true;
        self
    }

    /// Keeps the file locked, for those who use this library, for at least this long, even if the
    /// guard is dropped before (C14). Other users of `flock` do not see that.
    pub fn hold_at_least(mut self, least: Duration) -> Self {
        self.options.hold_at_least = Some(least);
        self
    }

    /// Who holds it, as for [`LockBuilder::owner`].
    pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
        self.options.owner = Some(owner.into());
        self
    }

    /// Refused: a file that is one's own cannot be put in the place of one that somebody has (F1).
    pub fn steal_after(mut self, age: Duration) -> Self {
        self.options.steal_after = Some(age);
        self
    }

    /// Has errors and lists find the holder in this backend's directory, not in this user's own. Those
    /// who lock the file exclude each other all the same.
    pub fn within(mut self, backend: &FileBackend) -> Self {
        self.within = Some(backend.clone());
        self
    }

    /// Locks the file, parking this thread until then.
    ///
    /// # Errors
    /// `Contended` and `Timeout` as its [`wait`](Self::wait) says; `Deadlock` if this thread or scope
    /// has it already; `Unsupported`; `Io` if the file cannot be opened or is none; `NotConfigured` if
    /// it lies on a network file system that the backend was not told to allow.
    #[track_caller]
    pub fn acquire(self) -> Result<PathGuard, LockError> {
        let asked = kernel::now();
        let deadline = deadline(self.wait, asked);
        loop {
            let (place, file, builder) = self.prepare(deadline)?;
            let guard = builder.acquire().map_err(|error| self.told(&place, asked, error))?;
            let seized = seize(&place, &file, self.shared, guard.token(), self.wait, deadline);
            let seized = locks_core::Op::later(seized).block();
            let seized = seized.map_err(|error| self.told(&place, asked, error))?;
            if let Seized::Locked(lock) = seized {
                return Ok(PathGuard::new(Locked::new(place, file, lock), guard));
            }
        }
    }

    /// Locks the file without blocking; the deadline counts from the first poll (C2).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves nothing behind (C5).
    pub async fn acquire_async(self) -> Result<OwnedPathGuard, LockError> {
        let asked = kernel::now();
        let deadline = deadline(self.wait, asked);
        loop {
            let (place, file, builder) = self.prepare(deadline)?;
            let guard = builder.acquire_async().await;
            let guard = guard.map_err(|error| self.told(&place, asked, error))?;
            let seized = seize(&place, &file, self.shared, guard.token(), self.wait, deadline);
            let seized = seized.await.map_err(|error| self.told(&place, asked, error))?;
            if let Seized::Locked(lock) = seized {
                return Ok(OwnedPathGuard::new(Locked::new(place, file, lock), guard));
            }
        }
    }

    /// Finds the file, and makes the builder of the lock by which users of this library meet.
    fn prepare(
        &self,
        deadline: Option<Nanos>,
    ) -> Result<(Place, Opened, LockBuilder<'static>), LockError> {
        let within = match &self.within {
            Some(within) => within.clone(),
            None => default_backend()?,
        };
        let (place, file) = Place::open(&self.path, !self.shared, self.create, &within)?;
        if self.options.steal_after.is_some() {
            let why = "the file is yours, and no other can be put in its place: leave it out";
            return Err(LockError::unsupported(&place.name(), "steal_after", why));
        }
        let mut builder = Backend::new(within).named(place.key());
        builder = match (self.wait, deadline) {
            (Wait::AtMost(_), Some(deadline)) => builder.wait(kernel::duration_until(deadline)),
            (wait, _) => builder.wait(wait),
        };
        let Choices { reentrant, fair, hold_at_least, owner, .. } = self.options;
        builder = if self.shared { builder.shared() } else { builder };
        builder = if reentrant { builder.reentrant() } else { builder };
        builder = match fair {
            Some(fair) => builder.fair(fair),
            None => builder,
        };
        builder = match hold_at_least {
            Some(least) => builder.hold_at_least(least),
            None => builder,
        };
        builder = match owner {
            Some(owner) => builder.owner(owner),
            None => builder,
        };
        Ok((place, file, builder))
    }

    /// The error as one about the file, with the whole wait and with who has the file itself: whoever
    /// is next among users of this library may be waiting for that one.
    fn told(&self, place: &Place, asked: Nanos, error: LockError) -> LockError {
        let mut error = place.named(error);
        if !matches!(error.kind(), ErrorKind::Contended | ErrorKind::Timeout) {
            return error;
        }
        if error.kind() == ErrorKind::Timeout {
            error = error.with_waited(Duration::from_nanos(kernel::now() - asked));
        }
        let others = holders(place, self.shared);
        let is_told = |other: &HolderInfo| {
            error.holders().iter().any(|known| known.party.pid == other.party.pid)
        };
        let told = others.is_empty() || others.iter().any(is_told);
        if told { error } else { error.with_holders(others) }
    }
}

fn deadline(wait: Wait, asked: Nanos) -> Option<Nanos> {
    match wait {
        Wait::AtMost(limit) => {
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            Some(asked.saturating_add(limit))
        }
        Wait::Forever | Wait::No => None,
    }
}

/// This user's own directory, opened once.
fn default_backend() -> Result<FileBackend, LockError> {
    static OPENED: PerProcess<FileBackend> = PerProcess::new();
    OPENED.get_or_try_init(FileBackend::open_default).cloned()
}
