use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::directory::default_directory;
use locks_core::forked::{PerFork, Side};
use locks_core::{
    Backend, BackendInfo, Capabilities, Engine, Exclusion, Granted, Hold, HolderInfo, LockBackend,
    LockError, LockInfo, LostCause, Op, Query, Request, Token, TokenScope, WaiterOrder, check_key,
};

use crate::behind::Behind;
use crate::clean::{Cleaned, clean};
use crate::directory::{Directory, Inode, Settings};
use crate::files::Files;
use crate::{name, room};

/// A backend for the processes of one machine: each key is a file in one directory, locked by
/// `flock`.
///
/// The kernel frees the locks of a process that dies. Other programs that use `flock` on a key's
/// [file](Self::path_of) take part in the exclusion: `flock(1)`, Python's `fcntl.flock`. Waiters of
/// one process are served in order; between processes the order is not defined.
///
/// Clones refer to the same backend. Two backends on one directory exclude each other as two
/// processes do, even within one process.
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

struct Opening {
    /// As it was found at first.
    directory: Arc<Directory>,
    sides: PerFork<Own>,
}

/// What one process has of a backend.
struct Own {
    engine: Engine,
    files: Arc<Files>,
}

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
    /// `NotConfigured` if the directory is a symbolic link, belongs to another user, can be written
    /// to by others, or is on a network file system; `Unavailable` if it cannot be made, written to
    /// or locked in.
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

    /// Returns the directory of this user's locks: `.local/state/locks` in the home directory of
    /// the user database, or `/var/tmp/locks-<uid>` without a home directory on a local disk.
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

    /// Returns the path of a key's lock file, for other programs that use `flock` on it. It need
    /// not exist.
    ///
    /// # Errors
    /// `InvalidKey`.
    pub fn path_of(&self, key: &str) -> Result<PathBuf, LockError> {
        check_key(key)?;
        Ok(self.0.directory.file(&name::of_key(key)))
    }

    /// Removes the lock files that are neither held nor reserved and have not been used for
    /// `unused_for`.
    ///
    /// Safe while other processes acquire locks.
    ///
    /// # Errors
    /// If the directory cannot be read or a file cannot be removed.
    pub fn clean(&self, unused_for: Duration) -> Result<Cleaned, LockError> {
        clean(&*self.files()?.arrive()?, unused_for)
    }

    /// Has the lock with this token outlive this program: the one that this process executes next
    /// has it, and whatever that starts, until all of them have ended or closed its file. Nobody of
    /// this library is left then to release it, to end it in time, or to hear of its loss.
    ///
    /// For the command's `run --no-fork`.
    ///
    /// # Errors
    /// Those of the system.
    #[doc(hidden)]
    pub fn keep_across_exec(&self, token: Token) -> Result<(), LockError> {
        self.files()?.keep_across_exec(token)
    }

    /// Returns the number of keys in use in this process; see [`Engine::live_keys`].
    pub fn live_keys(&self) -> usize {
        self.0.sides.known_side().map_or(0, |own| own.engine.live_keys())
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
        let own = Own::on(directory, about.clone());
        let directory = own.files.directory();
        let (found, known) = (directory.clone(), about.clone());
        let reopen = move || Ok(Own::on(found.reopen()?, known.clone()));
        Self(Arc::new(Opening { directory, sides: PerFork::new(about, own, reopen) }))
    }

    /// # Errors
    /// What keeps a forked child from opening the directory anew.
    fn files(&self) -> Result<&Arc<Files>, LockError> {
        self.0.sides.side().map(|own| &own.files)
    }
}

impl Own {
    fn on(directory: Directory, about: BackendInfo) -> Self {
        let files = Files::new(directory);
        let behind = Arc::new(Behind(files.clone()));
        let engine = Engine::builder().about(about).upstream(behind).build();
        files.engine.get_or_init(|| engine.downgrade());
        Self { engine, files }
    }
}

impl Side for Own {
    fn engine(&self) -> &Engine {
        &self.engine
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

    /// Allows a directory of another user, or one that others can write to, so that several users
    /// share its locks.
    ///
    /// New files get the permissions of the directory; they get its group if it is set-group-ID
    /// (`chmod 2770`). Every user who can write to the directory can take and keep any lock.
    pub fn of_several_users(mut self) -> Self {
        self.settings.of_several_users = true;
        self
    }

    /// Makes waiters poll, every millisecond at first and less often later, instead of using the
    /// kernel's notifications. This also happens when the kernel has none left.
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
        self.0.sides.about()
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match room::check(request.keys, self.about()) {
            Ok(()) => self.0.sides.acquire(request),
            Err(error) => Op::failed(error),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        self.0.sides.release(hold)
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.0.sides.poll_lost(hold, cx)
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        self.0.sides.unwatch(hold, waker);
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        self.0.sides.refresh(hold)
    }

    fn detach_owner(&self, hold: &Hold) {
        self.0.sides.detach_owner(hold);
    }

    fn mark_done(&self, hold: &Hold) {
        self.0.sides.mark_done(hold);
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        self.0.sides.stolen_from(hold)
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        self.0.sides.share(hold)
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        self.0.sides.keys(hold)
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        self.0.sides.inspect(query)
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        self.0.sides.evict(key, token)
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBackend({}, {} keys in use)", self.directory().display(), self.live_keys())
    }
}
