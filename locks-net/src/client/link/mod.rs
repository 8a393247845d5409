//! One connection of this process to one server, and who reads and writes it.
//!
//! Whoever has something to say says it himself, on his own thread. Blocked threads read for
//! themselves, and for others, while they wait: the first of them [leads](reading). Otherwise a
//! [thread](thread) `locks-net` does, which also connects, renews, and ends what is due.

mod attempts;
mod reading;
mod sending;
mod socket;
mod thread;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use locks_core::{Clock, Moment, fork, wait_at};

use self::attempts::Attempts;
use self::sending::HeldBack;
use self::socket::{LinkSocket, Notifier, ReadOutcome, ServerProcess};
use super::Dial;
use super::session::{ClientSession, Reach, SessionSetup};
use crate::adaptive_spin::AdaptiveSpin;

/// See the [module](self).
///
/// * L1: bytes of one connection are given to the session in the order in which they came: they are
///   read by the leader, or, while there is none, with `shared` locked.
/// * L2: bytes leave in the order in which the session made them: by one writer at a time.
/// * L3: while there is a session, or something to say, there is a thread. Whoever finds neither
///   starts one: with `thread`, in the same moment, goes the connection.
/// * L4: what is held back leaves when all those have come whom the thread has woken together, and
///   by `until` at the latest: the thread does not sleep for longer. Nothing is held back for
///   longer than that.
pub(super) struct Link {
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    /// The process that made it.
    process: AtomicU64,
    shared: Mutex<LinkShared>,
    /// Calls the thread.
    notifier: Notifier,
    /// Calls the leader.
    leader_notifier: Notifier,
    /// Done once, before something is sent, with nothing locked.
    #[cfg(test)]
    before_sending: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct LinkShared {
    session: ClientSession,
    wire: Option<Arc<LinkSocket>>,
    /// The process at the other end of the last connection.
    server: Option<Arc<ServerProcess>>,
    /// What the session has left to be sent, and the socket has not taken.
    unsent: Vec<u8>,
    /// L2.
    writing: bool,
    /// L4.
    held_back: Option<HeldBack>,
    /// These two are not here while the leader reads.
    buffer: Vec<u8>,
    spin: AdaptiveSpin,
    reader: ReaderRole,
    /// A blocked thread has led since the thread looked last.
    led: bool,
    /// The thread, if there is one.
    thread: Option<Sleep>,
    reach: Reach,
    attempts: Attempts,
    /// When something was asked or answered last.
    used: Moment,
    /// Nobody uses it any more.
    closed: bool,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReaderRole {
    Nobody,
    /// A blocked thread, which for the moment cannot be called.
    Leader,
    /// A blocked thread that can be called.
    PatientLeader,
}

/// How the thread sleeps.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    /// At most until then.
    until: Moment,
    /// Whether what comes in wakes it.
    reads: bool,
}

/// For how long at most nobody reads, while nobody waits for anything: calling the thread for each
/// answer that a blocked thread has read would cost as much as the answer.
const NAP: Duration = Duration::from_millis(50);

/// How often one looks at most whether the leader has taken in what there is: it is on its way.
const GLANCES: usize = 1000;

/// What is read at a time.
const BUFFER: usize = 64 * 1024;

impl Link {
    /// # Errors
    /// Those of the system, which has no descriptors left.
    pub(super) fn new(
        dial: Arc<dyn Dial>,
        setup: SessionSetup,
        numbers_after: u64,
    ) -> io::Result<Arc<Self>> {
        // Without any there are no nonces.
        crate::secret::random::<1>()?;
        let clock = setup.clock.clone();
        let used = clock.now();
        let session =
            ClientSession::new(setup).numbered_after(numbers_after).saying(dial.unreached());
        let shared = LinkShared {
            session,
            wire: None,
            server: None,
            unsent: Vec::new(),
            writing: false,
            held_back: None,
            buffer: vec![0; BUFFER],
            spin: AdaptiveSpin::default(),
            reader: ReaderRole::Nobody,
            led: false,
            thread: None,
            reach: Reach::default(),
            attempts: Attempts::default(),
            used,
            closed: false,
        };
        Ok(Arc::new(Self {
            dial,
            clock,
            process: AtomicU64::new(fork::generation()),
            shared: Mutex::new(shared),
            notifier: Notifier::new()?,
            leader_notifier: Notifier::new()?,
            #[cfg(test)]
            before_sending: Mutex::default(),
        }))
    }

    /// Has the session do something, and sends and wakes what comes of it.
    pub(super) fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut ClientSession) -> R) -> R {
        self.act(self.lock(), act)
    }

    /// As [`with`](Self::with), for what begins something.
    pub(super) fn begin<R>(self: &Arc<Self>, act: impl FnOnce(&mut ClientSession) -> R) -> R {
        let mut shared = self.lock();
        shared.begins();
        self.act(shared, act)
    }

    /// As [`with`](Self::with), for what is awaited: while it is pending somebody reads, and if
    /// that is to be a blocked thread, this one.
    pub(super) fn poll<R>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut ClientSession) -> Poll<R>,
    ) -> Poll<R> {
        self.poll_in(self.lock(), act)
    }

    /// As [`poll`](Self::poll), for what begins something.
    pub(super) fn begin_polling<R>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut ClientSession) -> Poll<R>,
    ) -> Poll<R> {
        let mut shared = self.lock();
        shared.begins();
        self.poll_in(shared, act)
    }

    fn poll_in<R>(
        self: &Arc<Self>,
        mut shared: MutexGuard<'_, LinkShared>,
        act: impl FnOnce(&mut ClientSession) -> Poll<R>,
    ) -> Poll<R> {
        let polled = shared.act(act);
        self.see_to_the_thread(&mut shared);
        self.flush_and_wake(shared);
        if polled.is_pending() {
            self.have_read();
        }
        polled
    }

    /// Looks at the session without changing what it has to say.
    pub(super) fn look<R>(&self, act: impl FnOnce(&mut ClientSession) -> R) -> R {
        let mut shared = self.lock();
        let outcome = act(&mut shared.session);
        sending::wake(shared);
        outcome
    }

    /// As [`with`](Self::with), after taking note of what has come in.
    pub(super) fn with_news<R>(self: &Arc<Self>, act: impl FnOnce(&mut ClientSession) -> R) -> R {
        let mut shared = self.lock();
        for _ in 0..GLANCES {
            // What is there is the leader's to take in.
            let leads = shared.reader != ReaderRole::Nobody;
            if !leads || !shared.wire.as_ref().is_some_and(|wire| wire.has_input()) {
                break;
            }
            drop(shared);
            std::thread::yield_now();
            shared = self.lock();
        }
        self.read(&mut shared);
        let outcome = act(&mut shared.session);
        self.flush_and_wake(shared);
        outcome
    }

    /// As [`with_news`](Self::with_news), for what is awaited.
    pub(super) fn poll_news<R>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut ClientSession) -> Poll<R>,
    ) -> Poll<R> {
        let polled = self.with_news(act);
        if polled.is_pending() {
            self.have_read();
        }
        polled
    }

    /// Says good-bye: nobody uses it any more, once nothing is under way.
    pub(super) fn close(self: &Arc<Self>) {
        let mut shared = self.lock();
        shared.closed = true;
        shared.call_thread(self);
        if shared.is_in_use() {
            // Somebody still waits for the word of what was released last: whoever has it says
            // good-bye.
            return self.flush_and_wake(shared);
        }
        self.part(shared);
    }

    fn act<R>(
        self: &Arc<Self>,
        mut shared: MutexGuard<'_, LinkShared>,
        act: impl FnOnce(&mut ClientSession) -> R,
    ) -> R {
        let outcome = shared.act(act);
        self.see_to_the_thread(&mut shared);
        self.flush_and_wake(shared);
        outcome
    }

    /// Sees to it that somebody reads: this thread, if it is blocked.
    fn have_read(self: &Arc<Self>) {
        if wait_at(self.clone()) {
            return;
        }
        let mut shared = self.lock();
        // Also where the thread is about to look by itself.
        shared.led = false;
        if shared.is_unread(Duration::ZERO) {
            shared.call_thread(self);
        }
    }

    /// Whether it is this process's. A child that was forked finds its parent's, and leaves it
    /// alone: there may be nobody to let go of the mutex (C4).
    pub(super) fn is_own(&self) -> bool {
        self.process.load(Ordering::Relaxed) == fork::generation()
    }

    /// The keys of a hold or of a request that waits; in a child that was forked, as they were
    /// then, and none if a thread of the parent had the mutex.
    pub(super) fn keys(&self, request: u64) -> Vec<String> {
        if self.is_own() {
            return self.lock().session.keys(request);
        }
        self.shared.try_lock().map_or_else(|_| Vec::new(), |shared| shared.session.keys(request))
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, LinkShared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// L1: takes in what is there, to the end: behind the last bytes of a server that is gone there
    /// is the news that it is, and what is held may have been over for long by then (C8).
    fn read(&self, shared: &mut LinkShared) {
        if shared.reader != ReaderRole::Nobody {
            return;
        }
        let Some(wire) = shared.wire.clone() else { return };
        let mut buffer = std::mem::take(&mut shared.buffer);
        loop {
            let at = shared.session.now();
            let received = wire.receive(&mut buffer);
            shared.take_in(&buffer, received, at);
            if !matches!(received, ReadOutcome::Bytes(_)) || shared.wire.is_none() {
                break;
            }
        }
        shared.buffer = buffer;
        if shared.wire.is_none() {
            shared.call_thread(self);
        }
    }
}

impl LinkShared {
    fn act<R>(&mut self, act: impl FnOnce(&mut ClientSession) -> R) -> R {
        let now = self.session.now();
        self.explain_silence(now);
        self.used = now;
        act(&mut self.session)
    }

    /// Somebody new asks.
    fn begins(&mut self) {
        if self.wire.is_none() {
            self.reach.soon();
        }
    }

    /// What was read at `at` is the session's.
    fn take_in(&mut self, buffer: &[u8], received: ReadOutcome, at: Moment) {
        match received {
            ReadOutcome::Bytes(count) => {
                if let Err(broken) = self.session.receive(&buffer[..count]) {
                    self.lose_line(&broken.0);
                } else if self.session.is_closing() {
                    self.lose_line("the server has closed");
                } else if self.session.is_open() {
                    self.reach.opened(at);
                }
            }
            ReadOutcome::Nothing => self.session.seen_open(at),
            ReadOutcome::Over => {
                let wire = self.wire.clone();
                let fault = wire.as_ref().and_then(|wire| wire.fault());
                let opening = !self.session.is_open();
                self.lose_line(fault.map_or("the connection has ended", |fault| &fault.text));
                if let Some(fault) = fault.filter(|_| opening) {
                    self.session.refuse(fault.kind, &fault.text);
                }
            }
        }
    }

    /// Does what is due by now.
    fn tick(&mut self) {
        self.explain_silence(self.session.now());
        if self.session.tick()
            && let Some(wire) = &self.wire
        {
            let why = format!("{} does not answer", wire.describe());
            self.lose_line(&why);
        }
    }

    /// Who is about to be told that there is no answer is told why.
    fn explain_silence(&mut self, now: Moment) {
        if let Some(wire) = &self.wire
            && self.session.is_to_expire(now)
        {
            self.session.silent(wire.describe());
        }
    }

    /// The connection is given up.
    fn lose_line(&mut self, why: &str) {
        if let Some(wire) = self.wire.take() {
            wire.shut_down();
            self.unsent.clear();
            self.reach.lost(self.session.now());
            self.session.unreachable(why);
            self.session.disconnected();
        }
    }

    /// Whether there is something that a good-bye would cut off.
    fn is_in_use(&self) -> bool {
        self.writing || !self.session.is_idle()
    }

    /// Whether nobody is there to be woken by what comes in, and the thread will not look for
    /// longer than this.
    fn is_unread(&self, longer: Duration) -> bool {
        self.reader == ReaderRole::Nobody
            && self.wire.is_some()
            && self
                .thread
                .is_some_and(|sleep| !sleep.reads && sleep.until > self.session.now().after(longer))
    }

    fn is_current(&self, wire: &Arc<LinkSocket>) -> bool {
        self.wire.as_ref().is_some_and(|current| Arc::ptr_eq(current, wire))
    }

    fn call_thread(&self, link: &Link) {
        if self.thread.is_some() {
            link.notifier.notify();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.dial.name()).finish()
    }
}

#[cfg(test)]
#[cfg(feature = "tcp")]
mod tests;
