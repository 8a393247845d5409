//! A turn of this process's asks for a file.
//!
//! [`Attempt::look`] does all that can be done at a moment; [`claim`] waits between looks.

mod enter;
mod judge;
mod look;
mod steal;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use locks_core::{Claim, ErrorKind, LockError, Mode, Op, Options, UpstreamGrant, Wait};

use crate::directory::{BooksTicket, Directory, Inode, STALL_TIMEOUT};
use crate::files::Files;
use crate::kernel::{self, Nanos, Opened, Process};
use crate::record::HolderText;
use crate::waiting::PublishedWait;
use crate::watch::{Signal, pause, watch};
use crate::{list, name};

/// For how long a lock that seems to be nobody's is tried before it counts as contended (F4).
const DOUBT: Nanos = 10_000_000;
/// For how long at least a request waits for the directory's books, whatever it waits for the lock
/// (C2).
const REACH: Nanos = 2_000_000_000;
/// How often a waiter looks by itself where the kernel tells it of changes, and where it does not.
const SAFETY_POLL: Nanos = 50_000_000;
const POLL: (Nanos, Nanos) = (1_000_000, 16_000_000);
/// From when on others are told of a wait (C12): short ones are not to pay for that.
const TOLD_AFTER: Nanos = 50_000_000;
/// When to look again after a change: the kernel tells of a close before it gives up the lock.
const AFTERWARDS: [Nanos; 4] = [50_000, 250_000, 1_500_000, 8_000_000];

/// One claim, from its first look to its end.
pub(crate) struct Attempt<'a> {
    files: &'a Arc<Files>,
    key: &'a str,
    /// The name of its file, and where that is.
    name: String,
    directory: Arc<Directory>,
    exclusive: bool,
    options: Options,
    /// One of several keys: it does not age yet (C11).
    part_of_set: bool,
    about: HolderText,
    process: Arc<Process>,
    /// The file, kept open between looks.
    file: Option<Opened>,
    /// When holders of whom no record tells were seen first (F3): the process, or 0 for one that
    /// cannot be seen, and the token of the record meanwhile.
    strangers: Vec<(u32, u64, Nanos)>,
    /// Whether a record tells of one of those who had the file when they were judged last.
    is_known: bool,
    begun: Nanos,
    /// Until when the key was seen to be reserved.
    reserved: Nanos,
    /// Whether the file could be had at the last look, and the books could not.
    lacks_books: bool,
    /// Its place among those who want the books.
    ticket: Option<BooksTicket>,
}

/// What a look came to.
pub(crate) enum Look {
    Granted(UpstreamGrant),
    /// Somebody has it.
    Busy {
        /// When something may be different by itself.
        again: Nanos,
        /// Whether nobody is known to have it, so that it may be free in a moment.
        doubtful: bool,
    },
}

/// Grants a turn what it claims, waiting as its options say.
pub(crate) fn claim<'a>(files: &'a Arc<Files>, claim: Claim<'a>) -> Op<'a, UpstreamGrant> {
    let wait = claim.options.wait.unwrap_or_default();
    let deadline = match wait {
        Wait::Try => Some(kernel::now()),
        Wait::AtMost(limit) => {
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            Some(kernel::now().saturating_add(limit))
        }
        Wait::Forever => None,
    };
    let key = claim.key;
    let mut attempt = match Attempt::new(files, &claim) {
        Ok(attempt) => attempt,
        Err(error) => return Op::failed(named(error, key)),
    };
    match attempt.look() {
        Ok(Look::Granted(turn)) => Op::ready(turn),
        Ok(Look::Busy { doubtful: false, .. }) if wait == Wait::Try => {
            Op::failed(attempt.contended(ErrorKind::Contended))
        }
        Ok(Look::Busy { .. }) => Op::later(queue(attempt, wait, deadline)),
        Err(error) => Op::failed(named(error, key)),
    }
}

/// Looks again and again until it is granted or the time is over.
async fn queue(
    mut attempt: Attempt<'_>,
    wait: Wait,
    deadline: Option<Nanos>,
) -> Result<UpstreamGrant, LockError> {
    let (files, key) = (attempt.files, attempt.key);
    let start = kernel::now();
    let last = match wait {
        Wait::Try => start + DOUBT,
        Wait::AtMost(_) | Wait::Forever => deadline.unwrap_or(u64::MAX),
    };
    await_whoever_waits().await;
    let mut watched = Watched::default();
    let (mut rhythm, mut told) = (Rhythm::new(), None);
    loop {
        let (again, doubtful) = match attempt.look().map_err(|error| named(error, key))? {
            Look::Granted(turn) => return Ok(turn),
            Look::Busy { again, doubtful } => (again, doubtful),
        };
        if wait != Wait::Try && watched.follow(&attempt) {
            // It may have become free before it was watched.
            continue;
        }
        let now = kernel::now();
        if attempt.lacks_books {
            // Nobody is in the way of the lock.
            attempt.check_books(now >= last.max(start + REACH))?;
        } else if wait == Wait::Try && !doubtful || now >= last {
            let kind = if wait == Wait::Try { ErrorKind::Contended } else { ErrorKind::Timeout };
            return Err(attempt
                .contended(kind)
                .with_waited(std::time::Duration::from_nanos(now - start)));
        }
        if let Some(told) = &told {
            PublishedWait::renew(told);
        } else if now - start >= TOLD_AFTER {
            told = files.waits.publish(
                &attempt.directory,
                key,
                attempt.exclusive,
                start,
                &attempt.about,
            );
        }
        let by_itself = rhythm.next(now, watched.is_told(), doubtful);
        let last = if attempt.lacks_books { Nanos::MAX } else { last };
        if pause(&watched.signal, again.min(by_itself).min(last)).await {
            rhythm.changed();
        }
    }
}

/// The engine polls once before anybody waits, with a waker that wakes nobody: whether that will be
/// a blocked thread or a task is known with the next poll.
async fn await_whoever_waits() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn named(error: LockError, key: &str) -> LockError {
    if error.key().is_empty() { error.with_key(key) } else { error }
}

/// The file that is watched for a claim.
#[derive(Default)]
struct Watched {
    signal: Arc<Signal>,
    watching: Option<(crate::watch::Watching, Inode)>,
}

impl Watched {
    /// Watches the file that the attempt has open now. Says whether that is new.
    fn follow(&mut self, attempt: &Attempt<'_>) -> bool {
        let Some(file) = &attempt.file else { return false };
        if attempt.directory.settings.unwatched
            || self.watching.as_ref().is_some_and(|(_, watched)| *watched == file.inode)
        {
            return false;
        }
        // The new one first: whoever reads goes on.
        let watching = watch(file, &self.signal, false);
        self.watching = watching.map(|watching| (watching, file.inode));
        self.watching.is_some()
    }

    fn is_told(&self) -> bool {
        self.watching.is_some()
    }
}

/// When a waiter looks although nothing told it to.
struct Rhythm {
    /// How many looks ago something changed.
    since_change: usize,
    pause: Nanos,
}

impl Rhythm {
    fn new() -> Self {
        Self { since_change: AFTERWARDS.len(), pause: POLL.0 }
    }

    fn changed(&mut self) {
        self.since_change = 0;
    }

    fn next(&mut self, now: Nanos, told: bool, doubtful: bool) -> Nanos {
        let pause = match AFTERWARDS.get(self.since_change) {
            Some(pause) => *pause,
            None if doubtful => AFTERWARDS[1],
            None if told => SAFETY_POLL,
            None => {
                let pause = self.pause;
                self.pause = (pause * 3 / 2).min(POLL.1);
                pause
            }
        };
        self.since_change += 1;
        // Two who wait for one file are not to stay in step.
        now + pause + (now ^ (now >> 7)) % (pause / 4)
    }
}

impl<'a> Attempt<'a> {
    fn new(files: &'a Arc<Files>, claim: &Claim<'a>) -> Result<Self, LockError> {
        let directory = files.arrive()?;
        let exclusive = claim.options.mode != Mode::Shared;
        let process = files.process.clone();
        Ok(Self {
            files,
            key: claim.key,
            name: name::of_key(claim.key),
            exclusive,
            options: claim.options,
            part_of_set: claim.part_of_set,
            about: HolderText::new(claim.caller, &directory.settings.label, &process),
            directory,
            process,
            file: None,
            strangers: Vec::new(),
            is_known: false,
            begun: kernel::now(),
            reserved: 0,
            lacks_books: false,
            ticket: None,
        })
    }

    /// Fails if the books are not to be waited for any longer: those who have them do not get on.
    /// Where the time is over that shows sooner; as long as they do, its turn comes, and then it is
    /// known who has the key (C2).
    fn check_books(&self, is_over: bool) -> Result<(), LockError> {
        let directory = &self.directory;
        let in_table = |inode| directory.in_table(inode);
        let timeout = if is_over { REACH } else { STALL_TIMEOUT };
        let checked = directory.epochs.check_progress(timeout, in_table);
        checked.map_err(|error| named(error, self.key))
    }

    /// The error of somebody who did not get it.
    fn contended(&self, kind: ErrorKind) -> LockError {
        list::contended(&self.directory, &self.process, self.key, kind)
    }

    /// Something with the file went wrong.
    fn failed(&self, verb: &str, error: std::io::Error) -> LockError {
        self.directory.lock_file(&self.name).failed(verb, error)
    }
}
