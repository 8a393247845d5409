//! A grant of this process's: a locked file, and what its record says.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use locks_core::{Alarm, Clock, HolderInfo, LostCause, SystemClock};

use crate::directory::{ASIDE, Directory, Inode, theft_under_way};
use crate::kernel::{self, Nanos, Opened};
use crate::record::{Entry, HolderText, Record, Text};
use crate::watch::{Signal, Watching, watch};

/// How soon to look again at a theft that was under way.
const UNDECIDED: Duration = Duration::from_millis(1);

/// One grant.
///
/// G1: until it ends, the file's `flock` is ours. G2: its record was in the file before the file
/// was seen to be the one at the path, and is again before every change of it counts. G3: nothing
/// is written of it once it has ended, when the file may be somebody else's.
#[derive(Debug)]
pub(crate) struct FileGrant {
    pub(crate) key: Box<str>,
    /// The file's name, in its directory.
    pub(crate) name: Box<str>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) file: Opened,
    pub(crate) exclusive: bool,
    pub(crate) about: HolderText,
    pub(crate) process: Arc<kernel::Process>,
    /// Since when this process has the file's `flock`, and how many grants that has served.
    pub(crate) locked_since: Nanos,
    pub(crate) passed: u32,
    /// What the file's record says besides: from before.
    pub(crate) over: Option<(u64, LostCause)>,
    pub(crate) names_key: bool,
    /// Whom it was stolen from.
    pub(crate) stolen_from: Vec<HolderInfo>,
    terms: Mutex<Terms>,
    /// Whether it has ended. Locked for as long as the terms change, so that one change comes after
    /// the other (G3).
    ended: Mutex<bool>,
    loss: Mutex<Loss>,
    /// The file as it was when the record was looked at last.
    seen: Mutex<Option<Stamp>>,
}

/// What changes of a file whenever it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    secs: i64,
    nanos: i64,
    size: i64,
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "of another width on other systems")]
    fn of(stat: &rustix::fs::Stat) -> Self {
        let (secs, nanos) = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
        Self { secs, nanos, size: stat.st_size as i64 }
    }
}

/// What changes of a grant while it lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) token: u64,
    /// The greatest that the file has to remember.
    pub(crate) greatest: u64,
    /// Since when it ages; 0: not yet.
    pub(crate) since: Nanos,
    pub(crate) keep_until: Nanos,
    /// Whether the key stays reserved only if it is released as done.
    pub(crate) if_done: bool,
    pub(crate) ends_at: Nanos,
}

/// Whether it is lost, and who wants to know.
#[derive(Debug, Default)]
struct Loss {
    cause: Option<LostCause>,
    watchers: Vec<Waker>,
    told: Option<Notified>,
}

/// Whether a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    FileGrant,
    /// Somebody is about to take it over, or not.
    Undecided,
    Lost(LostCause),
}

impl FileGrant {
    #[expect(clippy::too_many_arguments, reason = "all of what a grant is, once")]
    pub(crate) fn new(
        key: &str,
        name: &str,
        directory: Arc<Directory>,
        file: Opened,
        exclusive: bool,
        about: HolderText,
        process: Arc<kernel::Process>,
        over: Option<(u64, LostCause)>,
        terms: Terms,
    ) -> Self {
        Self {
            key: key.into(),
            name: name.into(),
            directory,
            file,
            exclusive,
            about,
            process,
            locked_since: kernel::now(),
            passed: 0,
            over,
            names_key: crate::name::is_hashed(name),
            stolen_from: Vec::new(),
            terms: Mutex::new(terms),
            ended: Mutex::new(false),
            loss: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        *lock(&self.terms)
    }

    pub(crate) fn set_terms(&self, terms: Terms) {
        *lock(&self.terms) = terms;
    }

    /// The right to change its terms, which one has at a time; `None` once it has ended.
    pub(crate) fn changing(&self) -> Option<impl Drop> {
        Some(lock(&self.ended)).filter(|ended| !**ended)
    }

    /// Has its terms stay as they are.
    pub(crate) fn end(&self) {
        *lock(&self.ended) = true;
    }

    /// How it was found to be lost.
    pub(crate) fn lost(&self) -> Option<LostCause> {
        lock(&self.loss).cause
    }

    /// What the record says of it.
    pub(crate) fn entry(&self, terms: &Terms) -> Entry<'_> {
        Entry {
            token: terms.token,
            exclusive: self.exclusive,
            pid: self.process.pid,
            space: self.process.space,
            started: self.process.started,
            since: terms.since,
            keep_until: terms.keep_until,
            if_done: terms.if_done,
            ends_at: terms.ends_at,
            about: self.about.as_str(),
        }
    }

    /// Writes the record of an exclusive grant.
    pub(crate) fn write_alone(&self, terms: &Terms) -> io::Result<()> {
        self.write_to(&self.file, terms)
    }

    /// Writes it to this file.
    pub(crate) fn write_to(&self, file: &File, terms: &Terms) -> io::Result<()> {
        let record = Record {
            boot: kernel::boot(),
            token: terms.greatest,
            removed: false,
            over: self.over,
            wanted: 0,
            key: self.names_key.then_some(&*self.key),
            entries: vec![self.entry(terms)],
        };
        self.directory.write_record(&self.name, file, &record)
    }

    /// Whether the file is the one at its path.
    pub(crate) fn is_at_path(&self) -> io::Result<bool> {
        Ok(self.directory.root.inode_at(&self.name)? == Some(self.file.inode))
    }

    /// Whether the grant stands (F4).
    pub(crate) fn standing(&self) -> Standing {
        if let Some(cause) = self.lost() {
            return Standing::Lost(cause);
        }
        let standing = match self.is_at_path() {
            // Newcomers look elsewhere.
            _ if self.directory.is_left() => Standing::Lost(LostCause::Replaced),
            // A shared hold can be released by an administrator beside others, who keep the file.
            Ok(true) if !self.exclusive && self.is_evicted() => Standing::Lost(LostCause::Evicted),
            Ok(true) => Standing::FileGrant,
            Ok(false) => self.after_removal(),
            // Nothing can be told without looking; whoever takes it over can look.
            Err(_) => Standing::FileGrant,
        };
        if let Standing::Lost(cause) = standing {
            lock(&self.loss).cause = Some(cause);
        }
        standing
    }

    fn is_evicted(&self) -> bool {
        self.directory.kept.is_evicted(&self.name, self.terms().token)
    }

    /// Whether its record may have been written over by others since this was asked last (F10).
    pub(crate) fn may_be_written_over(&self) -> bool {
        let Ok(Some(stat)) = self.directory.root.stat(&self.name) else { return false };
        let now = Stamp::of(&stat);
        let mut seen = lock(&self.seen);
        Inode::from_stat(&stat) == self.file.inode && seen.replace(now) != Some(now)
    }

    /// It is to be looked at again, as if it had never been.
    pub(crate) fn look_again(&self) {
        *lock(&self.seen) = None;
    }

    /// Another file, or none, is at the path. One without a record is a theft that is not done yet,
    /// or a new file that nobody has been granted.
    fn after_removal(&self) -> Standing {
        let root = &self.directory.root;
        let Ok(file) = root.open_existing(&self.name) else {
            return match self.is_at_path() {
                Ok(true) => Standing::FileGrant,
                _ => Standing::Lost(LostCause::Replaced),
            };
        };
        let Ok(text) = Text::read(&file) else { return Standing::Undecided };
        if file.inode == self.file.inode {
            return Standing::Undecided;
        }
        match text.record() {
            Some(record) => Standing::Lost(match record.over {
                Some((token, cause)) if token == self.terms().token => cause,
                Some(_) => LostCause::Stolen,
                None => LostCause::Replaced,
            }),
            None => self.beside_an_empty_file(&file),
        }
    }

    /// A file without a record is at the path: a theft that is not done yet, or a new file that
    /// nobody has been granted.
    fn beside_an_empty_file(&self, file: &Opened) -> Standing {
        let root = &self.directory.root;
        // A theft is decided about the file that it has put aside, and no other.
        let of_this = theft_under_way(root) == Some(file.inode.ino)
            && root.inode_at(ASIDE).ok().flatten() == Some(self.file.inode);
        // It may have ended since it was looked at, one way or the other.
        let still = root.inode_at(&self.name).ok().flatten() == Some(file.inode)
            && Text::read(file).is_ok_and(|text| text.record().is_none());
        if of_this || !still {
            return Standing::Undecided;
        }
        // Nobody of ours has put it there.
        Standing::Lost(LostCause::Replaced)
    }

    /// Whether it is lost; with a waker, that is woken when there may be more to say.
    pub(crate) fn poll_lost(self: &Arc<Self>, waker: Option<&Waker>) -> Option<LostCause> {
        if let Some(waker) = waker {
            let mut loss = lock(&self.loss);
            loss.watchers.retain(|watcher| !watcher.will_wake(waker));
            loss.watchers.push(waker.clone());
            if loss.told.is_none() {
                loss.told = Some(Notified::new(self));
            }
        }
        // After the watch has begun, so that nothing is missed.
        match self.standing() {
            Standing::Lost(cause) => Some(cause),
            Standing::FileGrant => None,
            Standing::Undecided => {
                if waker.is_some() {
                    let soon = SystemClock.now().after(UNDECIDED);
                    let notifier = Waker::from(Arc::new(LossNotifier(Arc::downgrade(self))));
                    if let Some(told) = &mut lock(&self.loss).told {
                        told.alarm = Some(SystemClock.wake_at(soon, notifier));
                    }
                }
                None
            }
        }
    }

    /// Forgets a waker that [`poll_lost`](Self::poll_lost) has left.
    pub(crate) fn unwatch(&self, waker: &Waker) {
        let mut loss = lock(&self.loss);
        let found = loss.watchers.iter().position(|watcher| watcher.will_wake(waker));
        let forgotten = found.map(|index| loss.watchers.swap_remove(index));
        let told = if loss.watchers.is_empty() { loss.told.take() } else { None };
        drop(loss);
        drop((forgotten, told));
    }

    /// Nobody can be told of it any more.
    pub(crate) fn forget_watchers(&self) {
        let mut loss = lock(&self.loss);
        let forgotten = (loss.told.take(), std::mem::take(&mut loss.watchers));
        drop(loss);
        drop(forgotten);
    }

    /// Gives the file's lock back. Not in a forked child, which only closes: the lock is the
    /// parent's.
    pub(crate) fn unlock(&self) -> io::Result<()> {
        fs4::FileExt::unlock(&*self.file)
    }
}

/// What tells a grant that something has happened to its file.
#[derive(Debug)]
struct Notified {
    _watching: Option<Watching>,
    alarm: Option<Alarm>,
}

impl Notified {
    fn new(held: &Arc<FileGrant>) -> Self {
        let notifier = Waker::from(Arc::new(LossNotifier(Arc::downgrade(held))));
        Self { _watching: watch(&held.file, &Signal::for_good(notifier), true), alarm: None }
    }
}

/// Has those look who wait for a grant to be lost.
struct LossNotifier(Weak<FileGrant>);

impl Wake for LossNotifier {
    fn wake(self: Arc<Self>) {
        let Some(held) = self.0.upgrade() else { return };
        let watchers = std::mem::take(&mut lock(&held.loss).watchers);
        watchers.into_iter().for_each(Waker::wake);
    }
}

impl Terms {
    /// Whether it leaves its key reserved.
    pub(crate) fn reserves(&self, now: Nanos) -> bool {
        self.keep_until > now && !self.if_done
    }

    /// Age and bounds count from `now`.
    pub(crate) fn begin(
        &mut self,
        at_least: Option<Duration>,
        at_most: Option<Duration>,
        now: Nanos,
    ) {
        let after = |by: Option<Duration>| {
            let nanos = by.map(|by| u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
            nanos.map_or(0, |nanos| now.saturating_add(nanos))
        };
        self.since = now;
        self.keep_until = after(at_least);
        self.ends_at = after(at_most);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
