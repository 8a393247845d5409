//! The thread of a link: connects, renews, ends what is due, and reads while nobody else does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use locks_core::{ErrorKind, LockError, Moment, thread};
use rustix::event::{PollFd, PollFlags};

use super::attempts::{Attempt, chance};
use super::sending::wake;
use super::socket::{LinkSocket, pause};
use super::{Link, LinkShared, NAP, ReaderRole, Sleep};
use crate::client::{Stream, Unreached};
use crate::secret::Secured;

/// For how long a connection that nothing is asked or held over is kept, and the thread with it.
const IDLE: Duration = Duration::from_secs(10);

/// For how long it sleeps at most: its sleep is measured by a clock that stops in suspend.
const LONG: Duration = Duration::from_secs(1);

/// How long an attempt to connect may take, unless something else is due sooner.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long one may take in any case.
const LEAST_ATTEMPT: Duration = Duration::from_millis(10);

impl Link {
    /// L3.
    pub(super) fn see_to_the_thread(self: &Arc<Self>, shared: &mut LinkShared) {
        let until = match &shared.thread {
            Some(sleep) => sleep.until,
            None if shared.session.wants_server() => return self.start_thread(shared),
            None => return,
        };
        let due = shared.session.next_deadline().is_some_and(|due| due < until);
        let dial = shared.wire.is_none() && shared.session.wants_server();
        let over = shared.closed && shared.session.is_idle();
        let dial = dial && shared.reach.next_at().is_none_or(|at| at < until);
        if due || over || dial {
            shared.call_thread(self);
        }
    }

    fn start_thread(self: &Arc<Self>, shared: &mut LinkShared) {
        let link = self.clone();
        let run = move || link.run();
        match thread::start("locks-net", 256 * 1024, run) {
            Ok(()) => shared.thread = Some(Sleep { until: self.clock.now(), reads: false }),
            Err(error) => {
                let why = format!("no thread could be started for the connection: {error}");
                shared.session.refuse_newcomers(ErrorKind::Io, &why);
            }
        }
    }

    fn run(self: &Arc<Self>) {
        loop {
            let mut shared = self.lock();
            let now = self.clock.now();
            shared.tick();
            if shared.is_over(now) {
                shared.thread = None;
                return self.part(shared);
            }
            let dials =
                shared.wire.is_none() && shared.session.wants_server() && shared.reach.is_due(now);
            if dials {
                self.connect(shared, now);
                continue;
            }
            self.reach_beside(&mut shared);
            shared = self.flush(shared);
            let reads = shared.reader == ReaderRole::Nobody && !std::mem::take(&mut shared.led);
            let limit = shared.sleep_for(now, reads);
            shared.thread = Some(Sleep { until: now.after(limit), reads });
            let sleeping = Sleeping {
                wire: shared.wire.clone(),
                reads,
                stuck: !shared.unsent.is_empty()
                    || shared.wire.as_ref().is_some_and(|wire| wire.is_stuck()),
                attempts: shared.attempts.iter().map(Attempt::awaited).collect(),
            };
            wake(shared);
            self.sleep(&sleeping, limit);
        }
    }

    /// Sleeps, and takes in what comes meanwhile.
    fn sleep(&self, sleep: &Sleeping, limit: Duration) {
        let Sleeping { wire, reads, stuck, attempts } = sleep;
        let mut ready = vec![PollFd::new(&self.notifier.heard, PollFlags::IN)];
        ready.extend(
            attempts
                .iter()
                .map(|(_, socket, events)| PollFd::from_borrowed_fd(socket.as_fd(), *events)),
        );
        let beside = ready.len();
        if let Some(wire) = wire {
            let server = wire.server().map(|server| server.ended());
            ready.extend(server.map(|ended| PollFd::from_borrowed_fd(ended, PollFlags::IN)));
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, *reads);
            events.set(PollFlags::OUT, *stuck);
            if !events.is_empty() {
                ready.push(PollFd::from_borrowed_fd(wire.socket(), events));
            }
        }
        pause(&mut ready, Some(limit));
        if ready[0].revents().contains(PollFlags::IN) {
            self.notifier.drain();
        }
        let under_way = ready[1..beside].iter().zip(attempts);
        let moved = under_way.filter(|(fd, _)| !fd.revents().is_empty());
        let moved = moved.map(|(_, (number, ..))| *number).collect::<Vec<_>>();
        if !moved.is_empty() {
            wake(self.go_on(self.lock(), &moved));
        }
        let Some(wire) = wire else { return };
        let server_is_gone =
            wire.server().is_some() && ready[beside].revents().contains(PollFlags::IN);
        let mut shared = self.lock();
        if !shared.is_current(wire) {
            return;
        }
        let absent = shared.session.expects();
        // What it had said before is still there.
        self.read(&mut shared);
        shared.hold_back(absent);
        if server_is_gone && shared.reader == ReaderRole::Nobody {
            shared.lose_line("the serving process has ended");
        } else if server_is_gone {
            // The leader reads to the end, and finds that.
            wire.shut_down();
        }
        self.flush_and_wake(shared);
    }

    fn connect<'a>(&'a self, mut shared: MutexGuard<'a, LinkShared>, now: Moment) {
        let due = shared.session.next_deadline().map_or(ATTEMPT, |due| due.since(now));
        shared.thread = Some(Sleep { until: now, reads: false });
        shared.session.reaching();
        wake(shared);
        let by = Instant::now() + due.clamp(LEAST_ATTEMPT, ATTEMPT);
        let dialed = catch_unwind(AssertUnwindSafe(|| self.dial.dial(by)));
        let mut shared = self.lock();
        match dialed {
            Ok(Ok(_)) if shared.closed && shared.session.is_idle() => {}
            Ok(Ok(Stream::Tcp(socket))) => {
                self.attempt(&mut shared, socket);
                // If nothing is heard of it, the next one is made beside it.
                let beat = shared.session.beat().unwrap_or(ATTEMPT);
                shared.reach.failed(self.clock.now(), Some(beat), 0);
            }
            Ok(Ok(Stream::Unix(stream))) => {
                let wire = LinkSocket::local(stream).map(|wire| (wire, Secured::default()));
                self.dialed(&mut shared, wire);
            }
            Ok(Err(unreached)) => self.unreached(&mut shared, unreached, Some(now)),
            Err(_) => {
                shared.session.unreachable("connecting has failed by a panic");
                shared.pause_reaching(self.clock.now());
            }
        }
        self.flush_and_wake(shared);
    }

    /// `since`: when the attempt was begun, if that is known.
    pub(super) fn unreached(
        &self,
        shared: &mut LinkShared,
        unreached: Unreached,
        since: Option<Moment>,
    ) {
        match unreached {
            Unreached::NobodyListens(error) => {
                shared.session.unreachable(self.dial.nobody(&error));
                // A socket can be removed while its server lives, and counts.
                let ended = || shared.server.as_ref().is_some_and(|server| server.has_ended());
                if error.kind() == io::ErrorKind::ConnectionRefused || ended() {
                    since.into_iter().for_each(|since| shared.session.nobody_listens(since));
                }
            }
            Unreached::Failed(error) => {
                let text = reason(&error);
                shared.session.unreachable(text.clone());
                if error.kind() != ErrorKind::Unavailable {
                    shared.session.refuse_newcomers(error.kind(), &text);
                }
            }
        }
        shared.pause_reaching(self.clock.now());
    }

    pub(super) fn dialed(&self, shared: &mut LinkShared, wire: io::Result<(LinkSocket, Secured)>) {
        match wire {
            Ok((wire, secured)) => {
                shared.unsent.clear();
                shared.attempts.clear();
                shared.reach.end_beside();
                // It answers at once.
                shared.led = false;
                shared.server = wire.server().cloned();
                shared.wire = Some(Arc::new(wire));
                shared.session.dialed(secured);
            }
            Err(error) => shared.session.unreachable(error.to_string()),
        }
        // Until it has come to something, the next attempt has to wait.
        shared.pause_reaching(self.clock.now());
    }
}

/// What the thread sleeps for, besides being called.
struct Sleeping {
    wire: Option<Arc<LinkSocket>>,
    reads: bool,
    /// There is something to be sent that the socket has not taken.
    stuck: bool,
    attempts: Vec<(u64, Arc<OwnedFd>, PollFlags)>,
}

impl LinkShared {
    /// Whether there is no use for a connection or a thread any more.
    fn is_over(&self, now: Moment) -> bool {
        let idle = !self.is_in_use() && (self.closed || now >= self.used.after(IDLE));
        idle && self.reader == ReaderRole::Nobody
    }

    /// The next attempt has to wait.
    fn pause_reaching(&mut self, now: Moment) {
        let beat = self.session.beat();
        self.reach.failed(now, beat, chance());
    }

    fn sleep_for(&self, now: Moment, reads: bool) -> Duration {
        let retry = match self.wire {
            None if self.session.wants_server() => Some(self.reach.next_at().unwrap_or(now)),
            None => None,
            Some(_) => self.reach.next_beside(self.session.silent_since(), self.session.beat()),
        };
        let idle = self.session.is_idle().then(|| self.used.after(IDLE));
        let held_back = self.held_back.map(|held_back| held_back.until);
        let due = [self.session.next_deadline(), retry, idle, held_back];
        let due = due.into_iter().flatten().min();
        let mut limit = due.map_or(LONG, |due| due.since(now)).min(LONG);
        if let Some(often) = self.session.look_every() {
            limit = limit.min(often);
        }
        // Blocked threads lead, and may stop to do so.
        if !reads && self.reader != ReaderRole::PatientLeader {
            limit = limit.min(NAP);
        }
        limit
    }
}

/// Why, without whom it is about, which those who are told know.
fn reason(error: &LockError) -> String {
    match (error.message(), error.inner()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}
