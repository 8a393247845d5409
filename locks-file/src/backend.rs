use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::directory::default_directory;
use locks_core::{
    About, Backend, Capabilities, Engine, Exclusion, Granted, Hold, LockBackend, LockError,
    LockInfo, LostCause, Op, Query, Request, Token, TokenScope, WaiterOrder, check_key,
};

use crate::behind::Behind;
use crate::clean::{Cleaned, clean};
use crate::directory::{Directory, Inode, Settings};
use crate::files::Files;
use crate::name;

/// Locks among the processes of one machine: a file for each key in one directory, held by `flock`.
///
/// The kernel frees the locks of a process that dies. Whoever uses `flock` on a key's
/// [file](Self::path_of) excludes and is excluded: `flock(1)`, Python's `fcntl.flock`. Waiters of one
/// process are served first come, first served; between processes it is a matter of chance.
///
/// Clones are the same backend. Two backends on one directory, in one process or in two, exclude each
/// other, and know nothing more of each other than two processes do.
///
/// ```
/// use locks_file::FileBackend;
/// use locks_core::Backend;
///
/// # let dir = std::env::temp_dir().join(format!("locks-doc-{}", std::process::id()));
/// let backend = Backend::new(FileBackend::new(&dir)?);
/// let guard = backend.named("invoice:42").acquire()?;
/// // No other process has it now.
/// drop(guard);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), locks_core::LockError>(())
/// ```
#[derive(Clone)]
pub struct FileBackend {
    engine: Engine,
    files: Arc<Files>,
    path: PathBuf,
}

/// How a [`FileBackend`] is put together.
#[derive(Clone, Debug)]
#[must_use = "a builder makes no backend until `open`"]
pub struct FileBackendBuilder {
    path: PathBuf,
    settings: Settings,
}

impl FileBackend {
    /// The backend on this directory, which is made if there is none.
    ///
    /// # Errors
    /// `NotConfigured` if the directory is a symbolic link, belongs to somebody else, can be written
    /// to by others, or is on a network file system; `Unavailable` if it cannot be made, written to or
    /// locked in.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, LockError> {
        Self::builder(directory).open()
    }

    /// The backend on this user's [default directory](Self::default_directory).
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`default_directory`](Self::default_directory).
    pub fn open_default() -> Result<Self, LockError> {
        Self::new(Self::default_directory()?)
    }

    /// Where this user's locks are unless told otherwise: `.local/state/locks` at home, as the user
    /// database has it, or `/var/tmp/locks-<uid>` where there is no home of its own on a local disk. The
    /// environment has no say, so that a cron job, a service and a shell of one user meet.
    ///
    /// # Errors
    /// `NotConfigured` if the user database cannot be read.
    pub fn default_directory() -> Result<PathBuf, LockError> {
        default_directory()
    }

    /// A backend on this directory, with settings.
    pub fn builder(directory: impl AsRef<Path>) -> FileBackendBuilder {
        FileBackendBuilder { path: directory.as_ref().to_owned(), settings: Settings::default() }
    }

    /// The directory, without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// The lock file of a key, for those who use `flock` on it by other means. It need not exist.
    ///
    /// # Errors
    /// `InvalidKey`.
    pub fn path_of(&self, key: &str) -> Result<PathBuf, LockError> {
        check_key(key)?;
        Ok(self.path.join(name::of_key(key)))
    }

    /// Removes the lock files that nobody holds, that are not reserved, and that have not been used
    /// for this long. Others may go on acquiring meanwhile.
    ///
    /// # Errors
    /// If the directory cannot be read or a file cannot be removed; `Unavailable` in a forked child.
    pub fn clean(&self, unused_for: Duration) -> Result<Cleaned, LockError> {
        clean(&*self.files.arrive()?, unused_for)
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
        self.files.check_process()?;
        self.files.keep_across_exec(token)
    }

    /// How many keys are in use in this process; see [`Engine::live_keys`].
    pub fn live_keys(&self) -> usize {
        self.engine.live_keys()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.files.is_forked()
    }

    pub(crate) fn allows_network_fs(&self) -> bool {
        self.files.directory().settings.on_network
    }

    /// A file as the kernel's table names it.
    pub(crate) fn in_table(&self, inode: Inode) -> Option<Inode> {
        self.files.directory().in_table(inode)
    }

    /// A handle to it. Without a detour by this type, which the engine in front does not need.
    pub fn into_backend(self) -> Backend {
        Backend::new(self.engine)
    }
}

impl FileBackendBuilder {
    /// What this process calls itself in the errors and lists of others (C12).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.settings.label = label.into();
        self
    }

    /// Takes a directory on a network file system as well, whose locks depend on its server and on how
    /// it is mounted.
    pub fn allow_network_fs(mut self) -> Self {
        self.settings.on_network = true;
        self
    }

    /// Takes a directory that belongs to somebody else or can be written to by others: several users
    /// share it. New files are as open as the directory is; for them to be of its group, it has to be
    /// set-group-ID (`chmod 2770`). Whoever can write there can take and keep any lock.
    pub fn of_several_users(mut self) -> Self {
        self.settings.of_several_users = true;
        self
    }

    /// Does without the kernel's notifications: waiters look by themselves, each millisecond at first,
    /// less often later. It is what happens anyway where the kernel has none left.
    pub fn without_notifications(mut self) -> Self {
        self.settings.unwatched = true;
        self
    }

    /// The backend.
    ///
    /// # Errors
    /// As [`FileBackend::new`].
    pub fn open(self) -> Result<FileBackend, LockError> {
        let directory = Directory::open(&self.path, self.settings)?;
        let path = directory.path().to_owned();
        let about = about(&directory);
        let files = Files::new(directory);
        let engine = Engine::builder().about(about).upstream(Arc::new(Behind(files.clone())));
        let engine = engine.build();
        files.engine.get_or_init(|| engine.downgrade());
        Ok(FileBackend { engine, files, path })
    }
}

/// What files can do here.
fn about(directory: &Directory) -> About {
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
    About::new(directory.name.clone(), can)
}

impl LockBackend for FileBackend {
    fn about(&self) -> &About {
        self.engine.about()
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        self.engine.acquire(request)
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        self.engine.release(hold)
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.engine.poll_lost(hold, cx)
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        self.engine.unwatch(hold, waker);
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        self.engine.refresh(hold)
    }

    fn disown(&self, hold: &Hold) {
        self.engine.disown(hold);
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        self.engine.inspect(query)
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        self.engine.evict(key, token)
    }
}

impl From<FileBackend> for Backend {
    fn from(backend: FileBackend) -> Self {
        backend.into_backend()
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBackend({}, {} keys in use)", self.directory().display(), self.live_keys())
    }
}
