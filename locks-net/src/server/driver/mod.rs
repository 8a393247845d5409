//! Between the sockets and the arbiter. One task does it all, in rounds: it reads what has come in,
//! lets the arbiter work, writes the journal once, and then writes to the clients what that made of
//! it. A round trip of one client costs a wait, a read and a write.

mod outgoing;
mod security;
#[cfg(all(test, feature = "tcp"))]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use locks_core::{Clock, ErrorKind, LockError, Moment, Token};

use crate::access::Clients;
use crate::adaptive_spin::{AdaptiveSpin, SPELL};
use crate::arbiter::{Arbiter, ConnId, Limits, Notice};
use crate::journal::Store;
use crate::server::accept::{Accepted, Listener};
use crate::server::connection::ConnectionSocket;
use crate::server::handshakes::Handshakes;
use crate::server::log::{Log, LogLevel};
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

/// How often a connection is read from in one round, before others have their turn.
const READS: usize = 4;

/// How many connections are accepted in one round.
const ACCEPTS: usize = 32;

/// How many events the runtime takes from the kernel in one turn.
const EVENTS: usize = 1024;

/// How long clients have to take what was written last.
const FAREWELL: Duration = Duration::from_secs(1);

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
                true => Err(ended(ErrorKind::Unavailable, "the lock of its directory was removed")),
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

    fn attend(&mut self, source: Source) -> Result<(), LockError> {
        match source {
            Source::Connection(id) => self.read(id),
            Source::Listener(place) => self.accept(place),
            Source::Handshakes => self.go_on_with_handshakes(),
            Source::Process(realm) => {
                if self.processes.has_ended(realm) {
                    self.arbiter.process_ended(realm);
                }
            }
            Source::Operator => {
                if let Some(inquiries) = &self.inquiries {
                    inquiries.answer(&mut self.arbiter, self.is_stalled, &mut self.answers);
                }
            }
            Source::Timer => {
                self.timer.answer();
                return self.look_around();
            }
        }
        Ok(())
    }

    fn read(&mut self, id: ConnId) {
        for _ in 0..READS {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if connection.is_away() {
                return;
            }
            match connection.read(&mut self.buffer) {
                None => return self.flush(id),
                Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Some(Ok(0) | Err(_)) => return self.disconnect(id),
                // Nobody is listened to any more.
                Some(Ok(_)) if self.stops_by.is_some() => {}
                Some(Ok(read)) => self.take_in(id, read),
            }
        }
        if let Some(connection) = self.connections.get(&id) {
            connection.mark_ready();
        }
    }

    fn accept(&mut self, place: usize) {
        for _ in 0..ACCEPTS {
            let Some((listener, _)) = self.listeners.get_mut(place) else { return };
            match listener.accept(self.arbiter.awaited_clients()) {
                Accepted::Peer(mut newcomer) => {
                    self.recognize(&mut newcomer.peer);
                    let id = self.arbiter.connect(newcomer.peer.clone());
                    let ready_source = self.ready_queue.source(Source::Connection(id));
                    // Its waker is registered by reading.
                    ready_source.mark_ready();
                    self.connections.insert(id, ConnectionSocket::new(*newcomer, ready_source));
                }
                Accepted::TurnedAway(None) => {}
                Accepted::TurnedAway(Some(why)) => self.log.say(LogLevel::Warn, "refused", &why),
                Accepted::Nobody => return,
                Accepted::Exhausted => {
                    self.log.say(
                        LogLevel::Warn,
                        "refused",
                        "no descriptors are left for more clients",
                    );
                    self.arbiter.make_room();
                    self.exhausted = true;
                    return;
                }
            }
        }
        self.listeners[place].1.mark_ready();
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

    /// Ends the server that nobody can find, or that another one may take the place of (N3).
    fn ensure_reachable(&mut self, now: Moment) -> Result<(), LockError> {
        if now < self.reachable_until {
            return Ok(());
        }
        self.reachable_until = now.after(Timer::LONGEST);
        let lost = |why: &str| ended(ErrorKind::Unavailable, why);
        if self.is_discharged() {
            self.discharge();
            return Ok(());
        }
        self.rest_journal();
        match self.files.iter().find(|file| !file.is_there()) {
            None => Ok(()),
            Some(file) => {
                let path = file.path().display();
                Err(lost(&format!("its socket `{path}` was removed or replaced")))
            }
        }
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

    fn is_written_down(&mut self) -> bool {
        let written = self.write_down();
        match &written {
            Ok(()) if self.is_stalled => {
                self.log.say(LogLevel::Info, "disk", "the journal is written again");
            }
            Err(error) if !self.is_stalled => {
                self.log.say(LogLevel::Error, "disk", &error.to_string());
            }
            _ => {}
        }
        self.is_stalled = written.is_err();
        written.is_ok()
    }

    /// Nothing leaves before this is done (N4).
    fn write_down(&mut self) -> std::io::Result<()> {
        if self.is_discharged {
            // Whatever there is to be said, nobody goes by what is written there.
            self.arbiter.journal().clear();
            return Ok(());
        }
        let promised = self.arbiter.promised();
        if self.covered != Some(promised) {
            self.store().cover(promised.0, promised.1)?;
            self.covered = Some(promised);
        }
        let store = Arc::clone(&self.store);
        let records = self.arbiter.journal();
        if !records.is_empty() {
            lock(&store).append(records)?;
            records.clear();
            records.shrink_to(BUFFER);
        }
        Ok(())
    }

    fn compact(&mut self) {
        if self.store().is_due_for_compaction() && self.arbiter.journal().is_empty() {
            let now = self.clock.now();
            if self.compact_from <= now && self.store().compact(&self.arbiter.snapshot()).is_err() {
                // The journal is longer than it need be, and as good as before.
                self.compact_from = now.after(Timer::LONGEST);
            }
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Whether somebody has removed the lock that it goes by. What cannot be found out now is
    /// looked at again.
    fn is_discharged(&self) -> bool {
        self.store().is_in_charge().is_ok_and(|is| !is)
    }

    /// Another server may be about to begin, and begins once this one has told its clients that
    /// they hold nothing of it any more.
    fn discharge(&mut self) {
        self.unheard = self.arbiter.forsake();
        self.is_discharged = true;
        self.begin_to_stop();
    }

    /// Leaves nothing in the journal of an idle server but what every build reads (N11).
    fn rest_journal(&mut self) {
        if self.is_discharged || !self.store().has_records() {
            return;
        }
        // What their sockets have not taken dies with the server.
        if !self.arbiter.is_idle() || self.connections.values().any(ConnectionSocket::has_output) {
            return self.arbiter.ask_for_word();
        }
        if self.write_down().is_ok() && self.store().compact(&[]).is_ok() {
            self.arbiter.forget_records();
        }
    }

    fn begin_to_stop(&mut self) {
        if !self.is_discharged && self.is_discharged() {
            return self.discharge();
        }
        self.looked_around = true;
        self.stops_by = Some(self.clock.now().after(FAREWELL));
        // While it still listens, so that nobody takes the file for a stale one.
        for file in self.files.drain(..) {
            file.remove();
        }
        self.listeners.clear();
        self.rest_journal();
        self.arbiter.close();
    }

    fn has_stopped(&self) -> bool {
        let Some(by) = self.stops_by else { return false };
        match self.arbiter.end_of(&self.unheard) {
            Some(end) => by.max(end) <= self.clock.now(),
            None => {
                by <= self.clock.now()
                    || !self.connections.values().any(ConnectionSocket::has_output)
            }
        }
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

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the server cannot go on.
fn ended(kind: ErrorKind, why: &str) -> LockError {
    let why =
        format!("the server has ended: {why}; locks are kept for the next one on its directory");
    LockError::new(kind, "").with_message(why)
}
