use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::directory::default_directory;
use locks_core::{
    Backend, BackendInfo, Capabilities, Engine, ErrorKind, Exclusion, Granted, Hold, HolderInfo,
    LockBackend, LockError, LockInfo, LostCause, Op, Query, Request, Token, TokenScope,
    WaiterOrder, check_key,
};

use crate::behind::Behind;
use crate::clean::{Cleaned, clean};
use crate::directory::{Directory, Inode, Settings};
use crate::fault;
use crate::files::Files;
use crate::forked::{Opening, Own, Side, bound};
use crate::{name, room};

/// A backend for the processes of one machine: each key is a file in one directory, locked by `flock`.
///
/// The kernel frees the locks of a process that dies. Other programs that use `flock` on a key's
/// [file](Self::path_of) take part in the exclusion: `flock(1)`, Python's `fcntl.flock`. Waiters of one
/// process are served in order; between processes the order is not defined.
///
/// Clones refer to the same backend. Two backends on one directory exclude each other as two processes
/// do, even within one process.
///
/// # Examples
/// ```
/// use locks::Backend;
/// use locks::file::FileBackend;
///
/// # let dir = std::env::temp_dir().join(format!("locks-doc-{}", std::process::id()));
/// let backend = Backend::new(FileBackend::new(&dir)?);
/// let guard = backend.named("invoice:42").acquire()?;
/// // No other process holds it now.
/// drop(guard);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Forks
/// In a child that is forked without `exec`, the guards of the parent are lost
/// ([C4](locks_core::contract#c4-release)). The child can use the same handle, which then opens the
/// directory anew, as another process would.
#[derive(Clone)]
pub struct FileBackend(Arc<Opening>);

/// A builder for a [`FileBackend`]; see [`FileBackend::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder makes no backend until `open`"]
pub struct FileBackendBuilder {
    path: PathBuf,
    settings: Settings,
}

impl FileBackend {
    /// Opens the backend on `directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// `NotConfigured` if the directory is a symbolic link, belongs to another user, can be written to
    /// by others, or is on a network file system; `Unavailable` if it cannot be made, written to or
    /// locked in.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, LockError> {
        Self::builder(directory).open()
    }

    /// Opens the backend on this user's [default directory](Self::default_directory).
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`default_directory`](Self::default_directory).
    pub fn open_default() -> Result<Self, LockError> {
        Self::new(Self::default_directory()?)
    }

    /// Returns the directory of this user's locks: `.local/state/locks` in the home directory of the user
    /// database, or `/var/tmp/locks-<uid>` without a home directory on a local disk.
    ///
    /// It does not depend on the environment, so that a cron job, a service and a shell of one user
    /// share it.
    ///
    /// # Errors
    /// `NotConfigured` if the user database cannot be read.
    pub fn default_directory() -> Result<PathBuf, LockError> {
        default_directory()
    }

    /// Creates a builder for a backend on `directory`.
    pub fn builder(directory: impl AsRef<Path>) -> FileBackendBuilder {
        FileBackendBuilder { path: directory.as_ref().to_owned(), settings: Settings::default() }
    }

    /// Returns the directory, without symbolic links.
    pub fn directory(&self) -> &Path {
        self.0.directory.path()
    }

    /// Returns the path of a key's lock file, for other programs that use `flock` on it. It need not
    /// exist.
    ///
    /// # Errors
    /// `InvalidKey`.
    pub fn path_of(&self, key: &str) -> Result<PathBuf, LockError> {
        check_key(key)?;
        Ok(self.0.directory.file(&name::of_key(key)))
    }

    /// Removes the lock files that are neither held nor reserved and have not been used for `unused_for`.
    ///
    /// Safe while other processes acquire locks.
    ///
    /// # Errors
    /// If the directory cannot be read or a file cannot be removed; `Unavailable` in a forked child.
    pub fn clean(&self, unused_for: Duration) -> Result<Cleaned, LockError> {
        clean(&*self.files()?.arrive()?, unused_for)
    }

    /// Has the lock with this token outlive this program: the one that this process executes next has it, and
    /// whatever that starts, until all of them have ended or closed its file. Nobody of this library is left
    /// then to release it, to end it in time, or to hear of its loss.
    ///
    /// For the command's `run --no-fork`.
    ///
    /// # Errors
    /// Those of the system; `Unavailable` in a forked child.
    #[doc(hidden)]
    pub fn keep_across_exec(&self, token: Token) -> Result<(), LockError> {
        self.files()?.keep_across_exec(token)
    }

    /// Returns the number of keys in use in this process; see [`Engine::live_keys`].
    pub fn live_keys(&self) -> usize {
        match (self.0.own(), self.0.known_forked()) {
            (Some(own), _) => own.engine.live_keys(),
            (None, Some(forked)) => forked.backend.live_keys(),
            (None, None) => 0,
        }
    }

    pub(crate) fn allows_network_fs(&self) -> bool {
        self.0.directory.settings.on_network
    }

    /// A file as the kernel's table names it.
    pub(crate) fn in_table(&self, inode: Inode) -> Option<Inode> {
        self.0.directory.in_table(inode)
    }

    /// Returns a handle to the backend.
    pub fn into_backend(self) -> Backend {
        Backend::new(self)
    }

    /// The backend on an open directory.
    pub(crate) fn on(directory: Directory) -> Self {
        let about = about(&directory);
        let files = Files::new(directory);
        let behind = Arc::new(Behind(files.clone()));
        let engine = Engine::builder().about(about.clone()).upstream(behind).build();
        files.engine.get_or_init(|| engine.downgrade());
        let directory = files.directory();
        Self(Arc::new(Opening::new(about, directory, Own { engine, files })))
    }

    /// # Errors
    /// `Unavailable` in a forked child.
    fn files(&self) -> Result<&Arc<Files>, LockError> {
        let own = self.0.own().map(|own| &own.files);
        own.ok_or_else(|| fault::forked(&self.0.about.name))
    }

    /// The error of a hold of the parent's, in a forked child.
    fn lost(&self, hold: &Hold) -> LockError {
        let kind = ErrorKind::Lost { cause: LostCause::Forgotten };
        let keys = hold.keys().collect::<Vec<_>>().join("`, `");
        LockError::new(kind, keys).with_token(hold.token())
    }
}

impl FileBackendBuilder {
    /// Sets the label of this process in the errors and lists of others
    /// ([C12](locks_core::contract#c12-holder-information)).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.settings.label = label.into();
        self
    }

    /// Allows a directory on a network file system, whose locks depend on its server and its mount
    /// options.
    pub fn allow_network_fs(mut self) -> Self {
        self.settings.on_network = true;
        self
    }

    /// Allows a directory of another user, or one that others can write to, so that several users share
    /// its locks.
    ///
    /// New files get the permissions of the directory; they get its group if it is set-group-ID (`chmod
    /// 2770`). Every user who can write to the directory can take and keep any lock.
    pub fn of_several_users(mut self) -> Self {
        self.settings.of_several_users = true;
        self
    }

    /// Makes waiters poll, every millisecond at first and less often later, instead of using the kernel's
    /// notifications. This also happens when the kernel has none left.
    pub fn without_notifications(mut self) -> Self {
        self.settings.unwatched = true;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// As [`FileBackend::new`].
    pub fn open(self) -> Result<FileBackend, LockError> {
        Ok(FileBackend::on(Directory::open(&self.path, self.settings)?))
    }
}

/// What files can do here.
fn about(directory: &Directory) -> BackendInfo {
    let steals = directory.exchanges && directory.has_table();
    let mut can = Capabilities::plain(Exclusion::Kernel, TokenScope::Directory);
    can.order = WaiterOrder::WithinProcess;
    can.deadlock_detection = true;
    can.shared = true;
    can.steal = steals;
    can.reentrant = true;
    can.bounds = true;
    can.several_keys = true;
    can.listing = true;
    can.listing_waiters = true;
    can.ages = true;
    can.evict = directory.exchanges;
    BackendInfo::new(directory.name.clone(), can)
}

impl LockBackend for FileBackend {
    fn about(&self) -> &BackendInfo {
        &self.0.about
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.0.side() {
            Ok(Side::Own(own)) => match room::check(request.keys, &self.0.about) {
                Ok(()) => bound(own.engine.acquire(request), &self.0.about),
                Err(error) => Op::failed(error),
            },
            Ok(Side::Forked(forked)) => forked.acquire(request),
            Err(error) => Op::failed(error),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        if let Some(own) = self.0.own() {
            return bound(own.engine.release(hold), &self.0.about);
        }
        let lost = self.lost(&hold);
        match self.0.known_forked() {
            Some(forked) => match forked.take(hold) {
                Some(hold) => forked.backend.release(hold),
                None => Op::failed(lost),
            },
            None => {
                // It is the parent's.
                std::mem::forget(hold);
                Op::failed(lost)
            }
        }
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        match self.0.own() {
            Some(own) => own.engine.poll_lost(hold, cx),
            None => self
                .in_child(hold, |backend, hold| backend.poll_lost(hold, cx))
                .unwrap_or(Poll::Ready(LostCause::Forgotten)),
        }
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        match self.0.own() {
            Some(own) => own.engine.unwatch(hold, waker),
            None => drop(self.in_child(hold, |backend, hold| backend.unwatch(hold, waker))),
        }
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        match self.0.own() {
            Some(own) => bound(own.engine.refresh(hold), &self.0.about),
            None => self
                .in_child(hold, |backend, hold| backend.refresh(hold))
                .unwrap_or_else(|| Op::failed(self.lost(hold))),
        }
    }

    fn detach_owner(&self, hold: &Hold) {
        match self.0.own() {
            Some(own) => own.engine.detach_owner(hold),
            None => drop(self.in_child(hold, |backend, hold| backend.detach_owner(hold))),
        }
    }

    fn mark_done(&self, hold: &Hold) {
        match self.0.own() {
            Some(own) => own.engine.mark_done(hold),
            None => drop(self.in_child(hold, |backend, hold| backend.mark_done(hold))),
        }
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        match self.0.own() {
            Some(own) => own.engine.stolen_from(hold),
            None => {
                self.in_child(hold, |backend, hold| backend.stolen_from(hold)).unwrap_or_default()
            }
        }
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        match self.0.own() {
            Some(own) => own.engine.share(hold),
            None => self
                .in_child(hold, |backend, hold| backend.share(hold))
                .unwrap_or_else(|| Op::failed(self.lost(hold))),
        }
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        let known = self.in_child(hold, |backend, hold| backend.keys(hold));
        known.unwrap_or_else(|| hold.keys().map(str::to_owned).collect())
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        match self.0.side() {
            Ok(Side::Own(own)) => bound(own.engine.inspect(query), &self.0.about),
            Ok(Side::Forked(forked)) => forked.backend.inspect(query),
            Err(error) => Op::failed(error),
        }
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        match self.0.side() {
            Ok(Side::Own(own)) => bound(own.engine.evict(key, token), &self.0.about),
            Ok(Side::Forked(forked)) => forked.backend.evict(key, token),
            Err(error) => Op::failed(error),
        }
    }
}

impl FileBackend {
    /// Calls `see` with a hold of this process, where that is a forked child; `None` if it is not one.
    fn in_child<T>(&self, hold: &Hold, see: impl FnOnce(&Self, &Hold) -> T) -> Option<T> {
        let forked = self.0.known_forked()?;
        forked.with(hold, |hold| see(&forked.backend, hold))
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBackend({}, {} keys in use)", self.directory().display(), self.live_keys())
    }
}
