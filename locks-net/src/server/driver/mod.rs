//! Between the sockets and the arbiter. One task does it all, in rounds: it reads what has come in,
//! lets the arbiter work, writes the journal once, and then writes to the clients what that made of
//! it. A round trip of one client costs a wait, a read and a write.

mod incoming;
mod journaling;
mod outgoing;
mod security;
mod stopping;
#[cfg(all(test, feature = "tcp"))]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use locks_core::{Clock, LockError, Moment, Token};

use self::stopping::discharged;
use crate::access::Clients;
use crate::adaptive_spin::{AdaptiveSpin, SPELL};
use crate::arbiter::{Arbiter, ConnId, Limits, Notice};
use crate::journal::Store;
use crate::server::accept::Listener;
use crate::server::connection::ConnectionSocket;
use crate::server::handshakes::Handshakes;
use crate::server::log::Log;
use crate::server::observer::{Answers, Inquiries};
use crate::server::processes::Processes;
use crate::server::proof_attempts::ProofAttempts;
use crate::server::ready_queue::{ReadyQueue, ReadySource, Source};
use crate::server::socket_file::SocketFile;
use crate::server::timer::Timer;

/// See the [module](self).
pub(super) struct Driver {
    ready_queue: Arc<ReadyQueue>,
    /// That of leases, as the arbiter and the journal have it.
    clock: Arc<dyn Clock>,
    store: Arc<Mutex<Store>>,
    log: Log,
    /// The journal could not be written last.
    is_stalled: bool,
    limits: Limits,
    listeners: Vec<(Listener, Arc<ReadySource>)>,
    files: Vec<SocketFile>,
    connections: HashMap<ConnId, ConnectionSocket, foldhash::fast::RandomState>,
    /// Connections that are to be looked at as time goes by.
    attended: Vec<ConnId>,
    /// Connections on their way out, in order.
    leaving: VecDeque<ConnId>,
    processes: Processes,
    attempts: ProofAttempts,
    clients: Arc<Clients>,
    handshakes: Handshakes,
    timer: Timer,
    timer_source: Arc<ReadySource>,
    inquiries: Option<Arc<Inquiries>>,
    /// To be given once the journal is written.
    answers: Answers,
    /// There were no descriptors left for another connection.
    exhausted: bool,
    /// What is not sent and closed before the journal can be written again.
    held_back: (Vec<ConnId>, Vec<ConnId>),
    /// What the journal has been told to cover.
    covered: Option<(Token, Duration)>,
    /// This round was not only for the sake of what came in.
    looked_around: bool,
    /// When it is seen to next that clients find the server.
    reachable_until: Moment,
    /// When a compaction that failed is tried again.
    compact_from: Moment,
    /// How many more times to look for input before anybody is ended for time (N7).
    turns_left: Option<usize>,
    /// Its directory is not its own any more.
    is_discharged: bool,
    /// The sessions for which it does not make way until they have ended: it could not tell them
    /// that they hold nothing.
    unheard: Vec<u32>,
    /// It stops, at the latest then.
    stops_by: Option<Moment>,
    buffer: Box<[u8]>,
    /// What a client says, or is told, behind TLS.
    plain: Vec<u8>,
    ready: Vec<Arc<ReadySource>>,
    spin: AdaptiveSpin,
    /// It looks for more, without sleeping, until then.
    looks_until: Option<Instant>,
    /// The last one to be dropped: nobody waits for all that it gives back.
    arbiter: Arbiter,
}

/// How a round ends, unless it is over until something is ready.
pub(super) enum Round {
    /// The next one follows, once the runtime has looked for what has come in.
    LookOn,
    /// It was the last one.
    Over(Result<(), LockError>),
}

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// How many events the runtime takes from the kernel in one turn.
const EVENTS: usize = 1024;

/// How often it is tried whether there is a descriptor for another connection.
const SOON: Duration = Duration::from_millis(10);

/// How often connections with a deadline are looked at.
const ATTENTION: Duration = Duration::from_millis(100);

impl Driver {
    /// To be called in the runtime.
    pub(super) fn new(
        ready_queue: Arc<ReadyQueue>,
        arbiter: Arbiter,
        store: Arc<Mutex<Store>>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        log: Log,
    ) -> Self {
        let timer_source = ready_queue.source(Source::Timer);
        // What came out of the journal waits to be looked after.
        timer_source.mark_ready();
        Self {
            arbiter,
            clock,
            log,
            is_stalled: false,
            store,
            limits,
            listeners: Vec::new(),
            files: Vec::new(),
            connections: HashMap::default(),
            attended: Vec::new(),
            leaving: VecDeque::new(),
            processes: Processes::new(Arc::clone(&ready_queue)),
            attempts: ProofAttempts::default(),
            clients: Arc::default(),
            handshakes: Handshakes::new(ready_queue.source(Source::Handshakes)),
            timer: Timer::new(Arc::clone(&timer_source)),
            timer_source,
            inquiries: None,
            answers: Answers::default(),
            exhausted: false,
            held_back: (Vec::new(), Vec::new()),
            covered: None,
            looked_around: true,
            reachable_until: Moment::from_nanos(0),
            compact_from: Moment::from_nanos(0),
            turns_left: None,
            is_discharged: false,
            unheard: Vec::new(),
            stops_by: None,
            buffer: vec![0; BUFFER].into(),
            plain: Vec::new(),
            ready: Vec::new(),
            spin: AdaptiveSpin::default(),
            looks_until: None,
            ready_queue,
        }
    }

    /// The same, which answers what is asked there.
    pub(super) fn answering(mut self, inquiries: &Arc<Inquiries>) -> Self {
        self.inquiries = Some(Arc::clone(inquiries));
        self
    }

    /// Takes connections from a listener, which `make` makes.
    pub(super) fn listen(
        &mut self,
        file: Option<SocketFile>,
        make: impl FnOnce(Arc<ReadySource>) -> Listener,
    ) {
        let ready_source = self.ready_queue.source(Source::Listener(self.listeners.len()));
        ready_source.mark_ready();
        self.listeners.push((make(Arc::clone(&ready_source)), ready_source));
        self.files.extend(file);
    }

    /// One round. It is over when the server has stopped, or cannot go on.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Round> {
        let mut ready = std::mem::take(&mut self.ready);
        self.ready_queue.take_ready(&mut ready);
        let came = !ready.is_empty();
        if let Some(admission) = self.ready_queue.take_admission() {
            self.admit(admission);
        }
        if self.ready_queue.is_to_stop() && self.stops_by.is_none() {
            self.begin_to_stop();
        }
        let attended =
            ready.drain(..).try_for_each(|ready_source| self.attend(ready_source.source));
        self.ready = ready;
        if let Err(error) = attended {
            return Poll::Ready(Round::Over(Err(error)));
        }
        self.work();
        if self.has_stopped() {
            return Poll::Ready(Round::Over(match self.is_discharged {
                false => Ok(()),
                true => Err(discharged()),
            }));
        }
        if self.looks_on(came) {
            return Poll::Ready(Round::LookOn);
        }
        self.set_timer();
        self.ready_queue.rest(cx.waker());
        Poll::Pending
    }

    /// Whether to look for more at once, instead of being woken for it.
    fn looks_on(&mut self, came: bool) -> bool {
        let now = Instant::now();
        match self.looks_until.take() {
            Some(until) if !came && now < until => self.looks_until = Some(until),
            Some(_) => self.spin.end(came),
            None => {}
        }
        if came && self.spin.begin() {
            self.looks_until = Some(now + SPELL);
        }
        self.looks_until.is_some()
    }

    /// What the time brings.
    fn look_around(&mut self) -> Result<(), LockError> {
        self.looked_around = true;
        let now = self.clock.now();
        for id in std::mem::take(&mut self.attended) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.is_attended = false;
            if connection.is_overdue(now, self.limits.patience) {
                self.disconnect(id);
            } else {
                self.flush(id);
            }
        }
        for realm in self.processes.look_again() {
            self.arbiter.process_ended(realm);
        }
        if std::mem::take(&mut self.exhausted) {
            for (_, ready_source) in &self.listeners {
                ready_source.mark_ready();
            }
        }
        self.ensure_reachable(now)
    }

    /// Lets the arbiter do what there is to be done, writes that down, and tells the clients.
    fn work(&mut self) {
        if self.is_due() {
            self.arbiter.run();
        }
        loop {
            for (level, event, text) in self.arbiter.take_said() {
                self.log.say(level, event, &text);
            }
            let notices = self.arbiter.take_notices();
            let is_quiet = notices.is_empty();
            let (mut outputs, mut closing) = std::mem::take(&mut self.held_back);
            for notice in notices {
                match notice {
                    Notice::Output(id) => outputs.push(id),
                    Notice::Close(id) => closing.push(id),
                    Notice::Unproven(id) => self.withhold(id),
                    Notice::LetIn(from) => self.attempts.let_in(from, self.clock.now()),
                    Notice::Watch { realm, process, by } => {
                        let by = by.and_then(|id| self.connections.get_mut(&id));
                        let known = by.and_then(ConnectionSocket::let_rest);
                        if !self.processes.watch(realm, process, known) {
                            self.arbiter.process_ended(realm);
                        }
                    }
                    Notice::Unwatch { realm } => self.processes.unwatch(realm),
                }
            }
            // What nobody is told of may be written with what comes next: if it is lost with the
            // server, its client repeats it.
            let in_no_hurry = outputs.is_empty()
                && closing.is_empty()
                && self.answers.is_empty()
                && !self.looked_around;
            let writes = !in_no_hurry || self.arbiter.journal().len() > BUFFER;
            if writes && !self.is_written_down() {
                // It is tried again, and nobody hears of anything before (N4, N6).
                self.held_back = (outputs, closing);
                self.looked_around = false;
                return;
            }
            if writes {
                self.answers.give();
            }
            for id in outputs {
                self.output(id);
            }
            for id in closing {
                self.close(id);
            }
            if is_quiet {
                self.looked_around = false;
                self.compact();
                return;
            }
        }
    }

    /// Whether something is due, and all that came in before that moment has been read: nobody is
    /// ended whose word lies here (N7).
    fn is_due(&mut self) -> bool {
        let due = self.arbiter.next_deadline().is_some_and(|at| at <= self.clock.now());
        let left = match self.turns_left {
            _ if !due => None,
            None => Some(self.connections.len() / EVENTS + 1),
            Some(turns) => turns.checked_sub(1),
        };
        self.turns_left = left;
        if left.is_some() {
            // After the runtime has asked the kernel for more.
            self.timer_source.mark_ready();
        }
        due && left.is_none()
    }

    fn set_timer(&mut self) {
        let arbiter = self.arbiter.next_deadline().map(|at| at.since(self.clock.now()));
        let stalled = !self.held_back.0.is_empty() || !self.held_back.1.is_empty();
        let impatient =
            !self.attended.is_empty() || self.exhausted || stalled || self.stops_by.is_some();
        let attention = impatient.then_some(if self.exhausted { SOON } else { ATTENTION });
        // Unseen processes are looked at, and whether clients find the server.
        let wait = [arbiter, attention].into_iter().flatten().fold(Timer::LONGEST, Duration::min);
        self.timer.set(wait);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(inquiries) = &self.inquiries {
            inquiries.close();
        }
    }
}
