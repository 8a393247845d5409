//! What this process has in a directory: its grants, and what it keeps for the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use locks_core::{
    Alarm, Clock, ErrorKind, LockError, LostCause, Op, SystemClock, Token, UpstreamGrant,
    WeakEngine,
};

use crate::directory::Directory;
use crate::fault;
use crate::held::{FileGrant, Standing};
use crate::kernel::{self, Nanos, Process};
use crate::restore;
use crate::shared::{self, Left};
use crate::terms;
use crate::waiting::Waits;

/// For how many grants, and for how long, a file's lock may stay in this process (F6).
const PASSES: u32 = 1000;
const TENURE: Nanos = 10_000_000;
/// For how long it stays there for a turn that does not come.
const LINGER: Nanos = 1_000_000;
/// For how long this process then keeps off the file.
const RECESS: Nanos = 1_000_000;
/// How often to look whether grants still stand, for those behind them in this process.
const PATROL: Nanos = 50_000_000;

pub(crate) struct Files {
    /// The directory as it was opened last: another one may have taken its place since.
    place: Mutex<Arc<Directory>>,
    held: Mutex<HashMap<u64, Arc<FileGrant>>>,
    passed_on: Mutex<PassedOn>,
    next: AtomicU64,
    rounds: Mutex<Option<Alarm>>,
    pub(crate) waits: Arc<Waits>,
    /// The engine in front, which is told of losses.
    pub(crate) engine: OnceLock<WeakEngine>,
    /// The process that it was opened in: a forked child has its memory, but not its locks.
    pub(crate) process: Arc<Process>,
    generation: u64,
}

/// Files whose locks are kept for the next turn, those that others are to have first, and what is
/// to be taken off the records of others.
#[derive(Default)]
struct PassedOn {
    kept: HashMap<Box<str>, (Arc<FileGrant>, Nanos)>,
    off: HashMap<Box<str>, Nanos>,
    left: Vec<Left>,
}

impl Files {
    pub(crate) fn new(directory: Directory) -> Arc<Self> {
        let process = Process::this();
        Arc::new(Self {
            place: Mutex::new(Arc::new(directory)),
            held: Mutex::default(),
            passed_on: Mutex::default(),
            next: AtomicU64::new(1),
            rounds: Mutex::new(None),
            waits: Waits::new(process.clone()),
            engine: OnceLock::new(),
            process,
            generation: kernel::generation(),
        })
    }

    /// The directory in which it looks.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        lock(&self.place).clone()
    }

    /// The directory for somebody who is new there: the one that newcomers from elsewhere find, if
    /// that can be told (F12). What is held in one that it has taken the place of is lost.
    ///
    /// # Errors
    /// `Unavailable` in a forked child; what is wrong with the one that is there now.
    pub(crate) fn arrive(&self) -> Result<Arc<Directory>, LockError> {
        self.check_process()?;
        let known = self.directory();
        if !known.is_replaced() {
            return Ok(known);
        }
        let there = Directory::open(known.path(), known.settings.clone())?;
        let mut place = lock(&self.place);
        // Another thread may have been quicker.
        if Arc::ptr_eq(&known, &place) {
            known.leave();
            *place = Arc::new(there);
        }
        Ok(place.clone())
    }

    /// # Errors
    /// `Unavailable` in a forked child.
    pub(crate) fn check_process(&self) -> Result<(), LockError> {
        if self.is_forked() { Err(fault::forked(&self.directory().name)) } else { Ok(()) }
    }

    pub(crate) fn is_forked(&self) -> bool {
        kernel::generation() != self.generation
    }

    /// Takes a grant into the books of this process, and says what it is called from now on.
    pub(crate) fn take_in(self: &Arc<Self>, held: FileGrant) -> UpstreamGrant {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let token = Token::new(held.terms().token);
        lock(&self.held).insert(id, Arc::new(held));
        self.go_round(PATROL);
        UpstreamGrant::new(id, token)
    }

    pub(crate) fn held(&self, id: u64) -> Option<Arc<FileGrant>> {
        lock(&self.held).get(&id).cloned()
    }

    /// Has the files of the grants with this token stay open when this process executes another
    /// program.
    pub(crate) fn keep_across_exec(&self, token: Token) -> Result<(), LockError> {
        let held = lock(&self.held);
        for held in held.values().filter(|held| held.terms().token == token.get()) {
            let kept = rustix::io::fcntl_setfd(&*held.file, rustix::io::FdFlags::empty());
            kept.map_err(|error| {
                held.directory
                    .lock_file(&held.name)
                    .failed("handed on", error.into())
                    .with_key(&*held.key)
            })?;
        }
        Ok(())
    }

    /// The file that was kept for this turn.
    pub(crate) fn take_kept(&self, key: &str) -> Option<Arc<FileGrant>> {
        let mut passed_on = lock(&self.passed_on);
        if passed_on.kept.is_empty() {
            return None;
        }
        passed_on.kept.remove(key).map(|(held, _)| held)
    }

    /// Until when others are to have the key first.
    pub(crate) fn off_until(&self, key: &str) -> Option<Nanos> {
        let passed_on = lock(&self.passed_on);
        if passed_on.off.is_empty() {
            return None;
        }
        passed_on.off.get(key).copied()
    }

    /// Ends a grant. Its file's lock is kept for a turn that is `wanted`, for a while (F6). Where
    /// the key is reserved only for what was done, the record says that it was if it `reserves`
    /// (C14).
    pub(crate) fn end(
        self: &Arc<Self>,
        id: u64,
        wanted: bool,
        reserves: bool,
    ) -> Result<(), LockError> {
        let Some(held) = lock(&self.held).remove(&id) else { return Ok(()) };
        held.forget_watchers();
        if self.is_forked() {
            return Ok(());
        }
        let reserved = if reserves { self.reserve(&held) } else { Ok(()) };
        held.end();
        let outcome = match held.standing() {
            Standing::Lost(cause) => Err(lost(&held, cause)),
            Standing::FileGrant | Standing::Undecided => reserved,
        };
        let now = kernel::now();
        let reserved = held.terms().reserves(now);
        if wanted && outcome.is_ok() && held.exclusive && !reserved {
            if held.passed < PASSES && now.saturating_sub(held.locked_since) < TENURE {
                lock(&self.passed_on).kept.insert(held.key.clone(), (held, now + LINGER));
                self.go_round(LINGER);
                return outcome;
            }
            lock(&self.passed_on).off.insert(held.key.clone(), now + RECESS);
            self.go_round(RECESS);
        }
        if let Some(left) = shared::leave(&held) {
            lock(&self.passed_on).left.push(left);
            self.go_round(PATROL);
        }
        let unlocked = held.unlock();
        outcome.and(unlocked.map_err(|error| {
            held.directory.lock_file(&held.name).failed("unlocked", error).with_key(&*held.key)
        }))
    }

    /// What was done under a grant has succeeded: the key stays reserved, if it is for that. Such
    /// grants are exclusive.
    fn reserve(self: &Arc<Self>, held: &Arc<FileGrant>) -> Result<(), LockError> {
        let terms = held.terms();
        if !terms.if_done || terms.keep_until <= kernel::now() {
            return Ok(());
        }
        match terms::change(self, held.clone(), |terms| terms.if_done = false) {
            Op::Now(outcome) => outcome,
            // A theft is under way that nobody goes on with: it is written, and undone by whoever
            // looks.
            Op::Later(_) => Ok(()),
        }
    }

    /// Sees to it that [`round`](Self::round) is made soon.
    fn go_round(self: &Arc<Self>, within: Nanos) {
        let mut rounds = lock(&self.rounds);
        let at = SystemClock.now().after(Duration::from_nanos(within));
        if rounds.as_ref().is_none_or(|alarm| alarm.at() > at) {
            let waker = Waker::from(Arc::new(Rounds(Arc::downgrade(self))));
            *rounds = Some(SystemClock.wake_at(at, waker));
        }
    }

    /// Gives back what was kept for nobody, and tells the engine of grants that are lost.
    fn round(self: &Arc<Self>) {
        *lock(&self.rounds) = None;
        if self.is_forked() {
            return;
        }
        let now = kernel::now();
        let (mut due, mut next) = (Vec::new(), None::<Nanos>);
        {
            let mut passed_on = lock(&self.passed_on);
            passed_on.kept.retain(|_, (held, until)| {
                let stays = *until > now;
                if !stays {
                    due.push(held.clone());
                }
                stays
            });
            passed_on.off.retain(|_, until| *until > now);
            if !passed_on.kept.is_empty() || !passed_on.off.is_empty() {
                next = Some(LINGER);
            }
        }
        let mut left = std::mem::take(&mut lock(&self.passed_on).left);
        left.retain(|left| !shared::take_off(left));
        if !left.is_empty() {
            next = next.or(Some(PATROL));
            lock(&self.passed_on).left.append(&mut left);
        }
        for held in due {
            // Should it fail, the file is closed, which unlocks as well.
            let _ = held.unlock();
        }
        let held = lock(&self.held).values().cloned().collect::<Vec<_>>();
        if !held.is_empty() {
            next = next.or(Some(PATROL));
            // What stands in the way of going over is told to those who ask for a key.
            let _ = self.arrive();
        }
        let mut recorded = HashMap::new();
        for held in held {
            // A token that is just being changed is not to be looked for.
            let Some(changing) = held.changing() else { continue };
            let standing = self.standing(&held);
            if standing == Standing::FileGrant && held.may_be_written_over() {
                restore::restore(&held, &mut recorded);
            }
            drop(changing);
            // Also of what somebody has heard of before: it stays here until the engine has ended
            // it.
            if let Standing::Lost(cause) = standing {
                self.tell(&held, cause);
            }
        }
        if let Some(next) = next {
            self.go_round(next);
        }
    }

    /// Whether a grant stands. Where a theft is under way that nobody goes on with it is undone
    /// first, or nobody could tell for as long as nobody asks for the key (E2).
    pub(crate) fn standing(&self, held: &FileGrant) -> Standing {
        match held.standing() {
            Standing::Undecided => {
                let entered = held.directory.epochs.try_enter();
                drop(entered);
                held.standing()
            }
            standing => standing,
        }
    }

    /// Tells the engine that a grant is lost, so that those behind it here get their turn.
    pub(crate) fn tell(&self, held: &FileGrant, cause: LostCause) {
        let token = Token::new(held.terms().token);
        if let Some(engine) = self.engine.get().and_then(WeakEngine::upgrade) {
            engine.lose(&held.key, token, cause);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.is_forked() {
            return;
        }
        self.waits.close();
        for left in std::mem::take(&mut lock(&self.passed_on).left) {
            // Should it fail, it stays as what a killed process leaves.
            shared::take_off(&left);
        }
        let kept = std::mem::take(&mut lock(&self.passed_on).kept);
        for (held, _) in kept.into_values() {
            let _ = held.unlock();
        }
    }
}

struct Rounds(Weak<Files>);

impl Wake for Rounds {
    fn wake(self: Arc<Self>) {
        if let Some(files) = self.0.upgrade() {
            files.round();
        }
    }
}

/// The error of a grant that is lost.
pub(crate) fn lost(held: &FileGrant, cause: LostCause) -> LockError {
    let token = Token::new(held.terms().token);
    LockError::new(ErrorKind::Lost { cause }, &*held.key).with_token(token)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("directory", &self.directory().path())
            .field("held", &lock(&self.held).len())
            .finish_non_exhaustive()
    }
}
