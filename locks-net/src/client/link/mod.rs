//! One connection of this process to one server, and who reads and writes it.
//!
//! Whoever has something to say says it himself, on his own thread. Blocked threads read for themselves,
//! and for others, while they wait: the first of them [leads](reading). Otherwise a
//! [thread](thread) `locks-net` does, which also connects, renews, and ends what is due.

mod line;
mod reading;
mod thread;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use locks_core::{Clock, Moment, wait_at};

use self::line::{Bell, Received, Wire};
use self::thread::Retry;
use super::Dial;
use super::session::{Session, Setup};
use crate::patience::Patience;

/// See the [module](self).
///
/// * L1: bytes of one connection are given to the session in the order in which they came: they are read
///   by the leader, or, while there is none, with `shared` locked.
/// * L2: bytes leave in the order in which the session made them: by one writer at a time.
/// * L3: while there is a session, or something to say, there is a thread.
pub(super) struct Link {
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    shared: Mutex<Shared>,
    /// Calls the thread.
    bell: Bell,
    /// Calls the leader.
    leader_bell: Bell,
}

struct Shared {
    session: Session,
    wire: Option<Arc<Wire>>,
    /// What the session has left to be sent, and the socket has not taken.
    unsent: Vec<u8>,
    /// L2.
    writing: bool,
    /// These two are not here while the leader reads.
    buffer: Vec<u8>,
    patience: Patience,
    reader: Reader,
    /// A blocked thread has led since the thread looked last.
    led: bool,
    /// The thread, if there is one.
    thread: Option<Sleep>,
    retry: Retry,
    /// When something was asked or answered last.
    used: Moment,
    /// Nobody uses it any more.
    closed: bool,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
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

/// How often one looks at most whether the leader has taken in what there is: it is on its way.
const GLANCES: usize = 1000;

/// What is read at a time.
const BUFFER: usize = 64 * 1024;

impl Link {
    /// # Errors
    /// Those of the system, which has no descriptors left.
    pub(super) fn new(
        dial: Arc<dyn Dial>,
        setup: Setup,
        numbers_after: u64,
    ) -> io::Result<Arc<Self>> {
        // Without any there are no nonces.
        crate::secret::random::<1>()?;
        let clock = setup.clock.clone();
        let used = clock.now();
        let shared = Shared {
            session: Session::new(setup).numbered_after(numbers_after),
            wire: None,
            unsent: Vec::new(),
            writing: false,
            buffer: vec![0; BUFFER],
            patience: Patience::default(),
            reader: Reader::Nobody,
            led: false,
            thread: None,
            retry: Retry::default(),
            used,
            closed: false,
        };
        Ok(Arc::new(Self {
            dial,
            clock,
            shared: Mutex::new(shared),
            bell: Bell::new()?,
            leader_bell: Bell::new()?,
        }))
    }

    /// Has the session do something, and sends and wakes what comes of it.
    pub(super) fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut Session) -> R) -> R {
        let mut shared = self.lock();
        shared.explain_silence();
        let outcome = act(&mut shared.session);
        shared.used = shared.session.now();
        self.see_to_the_thread(&mut shared);
        self.settle(shared);
        outcome
    }

    /// As [`with`](Self::with), for what begins something.
    pub(super) fn begin<R>(self: &Arc<Self>, act: impl FnOnce(&mut Session) -> R) -> R {
        let mut shared = self.lock();
        if shared.wire.is_none() {
            shared.retry.soon();
        }
        drop(shared);
        self.with(act)
    }

    /// Looks at the session without changing what it has to say.
    pub(super) fn look<R>(&self, act: impl FnOnce(&mut Session) -> R) -> R {
        act(&mut self.lock().session)
    }

    /// As [`with`](Self::with), after taking note of what has come in.
    pub(super) fn with_news<R>(self: &Arc<Self>, act: impl FnOnce(&mut Session) -> R) -> R {
        let mut shared = self.lock();
        for _ in 0..GLANCES {
            // What is there is the leader's to take in.
            let leads = shared.reader != Reader::Nobody;
            if !leads || !shared.wire.as_ref().is_some_and(|wire| wire.has_input()) {
                break;
            }
            drop(shared);
            std::thread::yield_now();
            shared = self.lock();
        }
        self.read(&mut shared);
        let outcome = act(&mut shared.session);
        self.settle(shared);
        outcome
    }

    /// Waits, on a blocked thread, for what was just polled and is pending, or sees to it that somebody
    /// reads.
    pub(super) fn wait_here(self: &Arc<Self>) {
        if !wait_at(self.clone()) {
            let mut shared = self.lock();
            if shared.is_unread(Duration::ZERO) {
                shared.led = false;
                shared.call_thread(self);
            }
        }
    }

    /// Says good-bye: nobody uses it any more.
    pub(super) fn close(self: &Arc<Self>) {
        let mut shared = self.lock();
        shared.closed = true;
        shared.session.bye();
        self.settle(shared);
        let mut shared = self.lock();
        if let Some(wire) = shared.wire.take() {
            wire.shut_down();
        }
        shared.call_thread(self);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what there is to be sent and then, with nothing locked, wakes whom it concerns.
    fn settle<'a>(&'a self, shared: MutexGuard<'a, Shared>) {
        let mut shared = self.flush(shared);
        let woken = shared.session.take_woken();
        drop(shared);
        woken.into_iter().for_each(Waker::wake);
    }

    /// L2: whoever comes while somebody writes leaves it to him.
    fn flush<'a>(&'a self, mut shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        if shared.writing {
            return shared;
        }
        loop {
            let Some(wire) = shared.wire.clone() else { return shared };
            let mut bytes = std::mem::take(&mut shared.unsent);
            let had = bytes.len();
            shared.session.take_output(&mut bytes);
            if bytes.is_empty() {
                shared.unsent = bytes;
                return shared;
            }
            shared.writing = true;
            drop(shared);
            let sent = wire.send(&bytes);
            shared = self.lock();
            shared.writing = false;
            if !shared.is_current(&wire) {
                continue;
            }
            match sent {
                Ok(sent) if sent == bytes.len() => {
                    bytes.clear();
                    shared.unsent = bytes;
                }
                Ok(sent) => {
                    bytes.drain(..sent);
                    shared.unsent = bytes;
                    if had == 0 {
                        // It goes on once the socket takes more.
                        shared.call_thread(self);
                    }
                    return shared;
                }
                Err(error) => {
                    // What the server had said before is still there: a loss, it may be, of what is
                    // released just now.
                    self.read(&mut shared);
                    if shared.reader == Reader::Nobody {
                        shared.lose_line(&error.to_string());
                    } else {
                        // The leader reads to the end, and finds that.
                        wire.shut_down();
                    }
                    shared.call_thread(self);
                    return shared;
                }
            }
        }
    }

    /// L1: takes in what is there, to the end: behind the last bytes of a server that is gone there is the
    /// news that it is, and what is held may have been over for long by then (C8).
    fn read(&self, shared: &mut Shared) {
        if shared.reader != Reader::Nobody {
            return;
        }
        let Some(wire) = shared.wire.clone() else { return };
        let mut buffer = std::mem::take(&mut shared.buffer);
        loop {
            let at = shared.session.now();
            let received = wire.receive(&mut buffer);
            shared.take_in(&buffer, received, at);
            if !matches!(received, Received::Bytes(_)) || shared.wire.is_none() {
                break;
            }
        }
        shared.buffer = buffer;
        if shared.wire.is_none() {
            shared.call_thread(self);
        }
    }
}

impl Shared {
    /// What was read at `at` is the session's.
    fn take_in(&mut self, buffer: &[u8], received: Received, at: Moment) {
        match received {
            Received::Bytes(count) => {
                if let Err(broken) = self.session.receive(&buffer[..count]) {
                    self.lose_line(&broken.0);
                } else if self.session.is_closing() {
                    self.lose_line("the server has closed");
                    self.retry.at_once();
                } else if self.session.is_open() {
                    self.retry.at_once();
                }
            }
            Received::Nothing => self.session.seen_open(at),
            Received::Over => self.lose_line("the connection has ended"),
        }
    }

    /// Does what is due by now.
    fn tick(&mut self) {
        self.explain_silence();
        if self.session.tick()
            && let Some(wire) = &self.wire
        {
            let why = format!("{} does not answer", wire.describe());
            self.lose_line(&why);
        }
    }

    /// Who is about to be told that there is no answer is told why.
    fn explain_silence(&mut self) {
        if let Some(wire) = &self.wire
            && let Some(due) = self.session.next_deadline()
            && due <= self.session.now()
        {
            self.session.silent(wire.describe());
        }
    }

    /// The connection is given up.
    fn lose_line(&mut self, why: &str) {
        if let Some(wire) = self.wire.take() {
            wire.shut_down();
            self.unsent.clear();
            self.session.unreachable(why);
            self.session.disconnected();
        }
    }

    /// Whether nobody is there to be woken by what comes in, and the thread will not look for longer
    /// than this.
    fn is_unread(&self, longer: Duration) -> bool {
        self.reader == Reader::Nobody
            && self.wire.is_some()
            && self
                .thread
                .is_some_and(|sleep| !sleep.reads && sleep.until > self.session.now().after(longer))
    }

    fn is_current(&self, wire: &Arc<Wire>) -> bool {
        self.wire.as_ref().is_some_and(|current| Arc::ptr_eq(current, wire))
    }

    fn call_thread(&self, link: &Link) {
        if self.thread.is_some() {
            link.bell.ring();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.dial.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use locks_core::{ManualClock, Party};

    use super::*;
    use crate::client::{Line, Unreached};

    struct Nowhere;

    impl Dial for Nowhere {
        fn nobody(&self, error: &io::Error) -> String {
            error.to_string()
        }

        fn name(&self) -> &'static str {
            "nowhere"
        }

        fn dial(&self, _: Instant) -> Result<Line, Unreached> {
            Err(Unreached::NobodyListens(io::ErrorKind::NotFound.into()))
        }
    }

    #[test]
    fn c8_the_end_behind_the_last_bytes_is_known_before_anybody_is_told_that_he_holds() {
        let setup = Setup {
            name: "nowhere".into(),
            clock: Arc::new(ManualClock::new()),
            party: Party::default(),
            lease: None,
            connect: Duration::from_secs(2),
            random: Box::new(|bytes| bytes.fill(7)),
        };
        let link = Link::new(Arc::new(Nowhere), setup, 0).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        link.lock().wire = Some(Arc::new(Wire::new(Line::Unix(ours)).unwrap()));
        theirs.write_all(b"last words").unwrap();
        drop(theirs);
        link.with_news(|_| {});
        assert!(link.lock().wire.is_none());
    }
}
