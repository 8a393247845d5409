//! From the paths of files to their locks.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use locks_core::fork::PerProcess;
use locks_core::{
    Backend, CallSite, Clock, ErrorKind, Guard, HolderInfo, LockBuilder, LockError, Op, OwnedGuard,
    OwnerId, SystemClock, Wait,
};

use super::guard::LockedFile;
use super::place::ResolvedFile;
use super::seize::{FileLock, Seized, holders, seize};
use crate::FileBackend;
use crate::kernel::{self, Nanos, Opened};

/// How often to look whether it is still the files that are at the paths.
const SAFETY_POLL: Duration = Duration::from_millis(50);

/// Files that are to be locked, and how.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    paths: Vec<PathBuf>,
    shared: bool,
    pub(super) create: bool,
    pub(super) within: Option<FileBackend>,
    pub(super) wait: Wait,
    pub(super) options: Choices,
}

/// What is passed on to the builder.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choices {
    pub(super) steal_after: Option<Duration>,
    pub(super) reentrant: bool,
    pub(super) fair: Option<bool>,
    pub(super) hold_at_least: Option<Duration>,
    pub(super) owner: Option<OwnerId>,
}

/// The files as they were found.
struct ResolvedFiles {
    /// In the order in which they were named.
    files: Vec<(ResolvedFile, Opened)>,
    /// Which of them are to be locked, each file once, in the order of their numbers.
    once: Vec<usize>,
}

impl Wanted {
    pub(super) fn new(paths: Vec<PathBuf>, shared: bool) -> Self {
        let (wait, options) = (Wait::Forever, Choices::default());
        Self { paths, shared, create: false, within: None, wait, options }
    }

    /// Locks them, parking this thread until then.
    pub(super) fn lock(self, site: CallSite) -> Result<(Vec<LockedFile>, Guard), LockError> {
        let locking = self.lock_by(|builder| builder.begin_on_thread(site));
        // What is polled here is of this thread, and so is its guard.
        let (files, guard) = Op::later(locking).block()?;
        Ok((files, Guard::of_thread(guard)))
    }

    /// Locks them without blocking.
    pub(super) async fn lock_async(self) -> Result<(Vec<LockedFile>, OwnedGuard), LockError> {
        self.lock_by(LockBuilder::acquire_async).await
    }

    async fn lock_by<F>(
        self,
        begin: impl Fn(LockBuilder<'static>) -> F,
    ) -> Result<(Vec<LockedFile>, OwnedGuard), LockError>
    where
        F: Future<Output = Result<OwnedGuard, LockError>>,
    {
        let asked = kernel::now();
        let deadline = self.deadline(asked);
        loop {
            let found = self.find()?;
            let acquiring = begin(self.builder(&found, deadline)?);
            let Some(guard) = unless_replaced(&found, acquiring).await else { continue };
            let guard = guard.map_err(|error| self.told(&found, asked, error))?;
            match self.seize(found, &guard, asked, deadline).await? {
                Some(files) => return Ok((files, guard)),
                // Others are there by now.
                None => drop(guard),
            }
        }
    }

    fn deadline(&self, asked: Nanos) -> Option<Nanos> {
        match self.wait {
            Wait::AtMost(limit) => {
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                Some(asked.saturating_add(limit))
            }
            Wait::Forever | Wait::Try => None,
        }
    }

    /// Opens the files.
    fn find(&self) -> Result<ResolvedFiles, LockError> {
        let within = match &self.within {
            Some(within) => within.clone(),
            None => default_backend()?,
        };
        let open = |path: &PathBuf| ResolvedFile::open(path, !self.shared, self.create, &within);
        let files = self.paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut once = (0..files.len()).collect::<Vec<_>>();
        once.sort_by_key(|index| files[*index].0.inode);
        once.dedup_by_key(|index| files[*index].0.inode);
        Ok(ResolvedFiles { files, once })
    }

    /// The builder of the lock by which users of this library meet.
    fn builder(
        &self,
        found: &ResolvedFiles,
        deadline: Option<Nanos>,
    ) -> Result<LockBuilder<'static>, LockError> {
        let Some((first, _)) = found.files.first() else {
            let why = "no file was named: name one at least";
            return Err(LockError::new(ErrorKind::InvalidKey, "").with_message(why));
        };
        if self.options.steal_after.is_some() {
            let why = "the file is yours, and no other can be put in its place: leave it out";
            return Err(LockError::unsupported(&first.name(), "steal_after", why));
        }
        let backend = Backend::new(first.files.clone());
        let mut builder = match *found.once {
            [index] => backend.named(found.files[index].0.key()),
            _ => backend.all(found.once.iter().map(|index| found.files[*index].0.key())),
        };
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
        Ok(match owner {
            Some(owner) => builder.owner(owner),
            None => builder,
        })
    }

    /// Locks the files themselves; `None`: others are at the paths by now.
    async fn seize(
        &self,
        found: ResolvedFiles,
        guard: &OwnedGuard,
        asked: Nanos,
        deadline: Option<Nanos>,
    ) -> Result<Option<Vec<LockedFile>>, LockError> {
        let mut locks = Vec::with_capacity(found.once.len());
        for index in &found.once {
            let (place, file) = &found.files[*index];
            let seized = seize(place, file, self.shared, guard.token(), self.wait, deadline).await;
            match seized.map_err(|error| self.told(&found, asked, error))? {
                Seized::Locked(lock) => locks.push(lock),
                Seized::Replaced => return Ok(None),
            }
        }
        // While the others were waited for.
        if found.is_replaced() {
            return Ok(None);
        }
        let files = found.files.into_iter().map(|(place, file)| {
            let of_it = locks.iter().find(|lock: &&FileLock| lock.is_of(place.inode));
            let lock = of_it.expect("each file was locked").clone();
            LockedFile::new(place, file, lock, guard.token())
        });
        Ok(Some(files.collect()))
    }

    /// The error as one about the files, with the whole wait and with who has them themselves:
    /// whoever is next among users of this library may be waiting for that one.
    fn told(&self, found: &ResolvedFiles, asked: Nanos, error: LockError) -> LockError {
        let places = || found.files.iter().map(|(place, _)| place);
        let mut error = places().fold(error, |error, place| place.named(error));
        if !matches!(error.kind(), ErrorKind::Contended | ErrorKind::Timeout) {
            return error;
        }
        if error.kind() == ErrorKind::Timeout {
            error = error.with_waited(Duration::from_nanos(kernel::now() - asked));
        }
        let others = places().find(|place| place.name() == error.key());
        let others = others.map(|place| holders(place, self.shared)).unwrap_or_default();
        let is_told = |other: &HolderInfo| {
            error.holders().iter().any(|known| known.party.pid == other.party.pid)
        };
        let told = others.is_empty() || others.iter().any(is_told);
        if told { error } else { error.with_holders(others) }
    }
}

impl ResolvedFiles {
    fn is_replaced(&self) -> bool {
        self.files.iter().any(|(place, _)| place.check().is_err())
    }
}

/// Waits for `acquiring`, as long as the files are at their paths: whoever waits goes over to
/// others within the safety poll (F12). `None`: there are others.
async fn unless_replaced<T>(
    found: &ResolvedFiles,
    acquiring: impl Future<Output = T>,
) -> Option<T> {
    let mut acquiring = pin!(acquiring);
    let mut alarm = None;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        if found.is_replaced() {
            return Poll::Ready(None);
        }
        let soon = SystemClock.now().after(SAFETY_POLL);
        alarm = Some(SystemClock.wake_at(soon, cx.waker().clone()));
        Poll::Pending
    })
    .await
}

/// This user's own directory, opened once.
fn default_backend() -> Result<FileBackend, LockError> {
    static OPENED: PerProcess<FileBackend> = PerProcess::new();
    OPENED.get_or_try_init(FileBackend::open_default).cloned()
}
