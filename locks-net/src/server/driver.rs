//! Between the sockets and the arbiter. One task does it all, in rounds: it reads what has come in, lets
//! the arbiter work, writes the journal once, and then writes to the clients what that made of it. A round
//! trip of one client costs a wait, a read and a write.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use locks_core::{BootClock, Clock, ErrorKind, LockError, Moment, Token};

use super::accept::{Accepted, Listener};
use super::attempts::Attempts;
use super::bell::{Bell, Rope, Source};
use super::connection::Connection;
use super::processes::Processes;
use super::socket_file::SocketFile;
use super::timer::Timer;
use crate::arbiter::{Arbiter, ConnId, Limits, Notice};
use crate::journal::Store;

/// See the [module](self).
pub(super) struct Driver {
    bell: Arc<Bell>,
    arbiter: Arbiter,
    store: Store,
    limits: Limits,
    listeners: Vec<(Listener, Arc<Rope>)>,
    files: Vec<SocketFile>,
    connections: HashMap<ConnId, Connection>,
    /// Connections that are to be looked at as time goes by.
    attended: Vec<ConnId>,
    /// Connections on their way out, in order.
    leaving: VecDeque<ConnId>,
    processes: Processes,
    attempts: Attempts,
    timer: Timer,
    timer_rope: Arc<Rope>,
    /// There were no descriptors left for another connection.
    exhausted: bool,
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
    /// It stops, at the latest then.
    stops_by: Option<Moment>,
    buffer: Box<[u8]>,
    rung: Vec<Arc<Rope>>,
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

/// So many connections may be on their way out.
const LEAVING: usize = 256;

/// How often connections with a deadline are looked at.
const ATTENTION: Duration = Duration::from_millis(100);

impl Driver {
    /// To be called in the runtime.
    pub(super) fn new(bell: Arc<Bell>, arbiter: Arbiter, store: Store, limits: Limits) -> Self {
        let timer_rope = bell.rope(Source::Timer);
        // What came out of the journal waits to be looked after.
        timer_rope.pull();
        Self {
            arbiter,
            store,
            limits,
            listeners: Vec::new(),
            files: Vec::new(),
            connections: HashMap::new(),
            attended: Vec::new(),
            leaving: VecDeque::new(),
            processes: Processes::new(Arc::clone(&bell)),
            attempts: Attempts::default(),
            timer: Timer::new(Arc::clone(&timer_rope)),
            timer_rope,
            exhausted: false,
            covered: None,
            looked_around: true,
            reachable_until: Moment::from_nanos(0),
            compact_from: Moment::from_nanos(0),
            turns_left: None,
            stops_by: None,
            buffer: vec![0; BUFFER].into(),
            rung: Vec::new(),
            bell,
        }
    }

    /// Takes connections from a listener, which `make` makes.
    pub(super) fn listen(
        &mut self,
        file: Option<SocketFile>,
        make: impl FnOnce(Arc<Rope>) -> Listener,
    ) {
        let rope = self.bell.rope(Source::Listener(self.listeners.len()));
        rope.pull();
        self.listeners.push((make(Arc::clone(&rope)), rope));
        self.files.extend(file);
    }

    /// One round. It is over when the server has stopped, or cannot go on.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), LockError>> {
        let mut rung = std::mem::take(&mut self.rung);
        self.bell.answer(&mut rung);
        if self.bell.is_to_stop() && self.stops_by.is_none() {
            self.begin_to_stop();
        }
        let attended = rung.drain(..).try_for_each(|rope| self.attend(rope.source));
        self.rung = rung;
        if let Err(error) = attended.and_then(|()| self.work()) {
            return Poll::Ready(Err(error));
        }
        if self.has_stopped() {
            return Poll::Ready(Ok(()));
        }
        self.set_timer();
        self.bell.rest(cx.waker());
        Poll::Pending
    }

    fn attend(&mut self, source: Source) -> Result<(), LockError> {
        match source {
            Source::Connection(id) => self.read(id),
            Source::Listener(place) => self.accept(place),
            Source::Process(realm) => {
                if self.processes.has_ended(realm) {
                    self.arbiter.process_ended(realm);
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
            match connection.read(&mut self.buffer) {
                None => return self.flush(id),
                Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Some(Ok(0) | Err(_)) => return self.disconnect(id),
                // It is not listened to any more.
                Some(Ok(_)) if connection.closing_by.is_some() || self.stops_by.is_some() => {}
                Some(Ok(read)) => self.arbiter.receive(id, &self.buffer[..read]),
            }
        }
        if let Some(connection) = self.connections.get(&id) {
            connection.ring();
        }
    }

    fn accept(&mut self, place: usize) {
        for _ in 0..ACCEPTS {
            let Some((listener, _)) = self.listeners.get_mut(place) else { return };
            match listener.accept() {
                Accepted::Peer(stream, peer, from) => {
                    let id = self.arbiter.connect(peer);
                    let rope = self.bell.rope(Source::Connection(id));
                    // Its waker is registered by reading.
                    rope.pull();
                    self.connections.insert(id, Connection::new(stream, from, rope));
                }
                Accepted::TurnedAway => {}
                Accepted::Nobody => return,
                Accepted::Exhausted => {
                    self.exhausted = true;
                    return;
                }
            }
        }
        self.listeners[place].1.pull();
    }

    /// What the time brings.
    fn look_around(&mut self) -> Result<(), LockError> {
        self.looked_around = true;
        let now = BootClock.now();
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
            for (_, rope) in &self.listeners {
                rope.pull();
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
        self.store.ensure_charge().map_err(|error| ended(&error.to_string()).with_source(error))?;
        match self.files.iter().find(|file| !file.is_there()) {
            None => Ok(()),
            Some(file) => {
                let path = file.path().display();
                Err(ended(&format!("its socket `{path}` was removed or replaced")))
            }
        }
    }

    /// Lets the arbiter do what there is to be done, writes that down, and tells the clients.
    fn work(&mut self) -> Result<(), LockError> {
        if self.is_due() {
            self.arbiter.run();
        }
        loop {
            let notices = self.arbiter.take_notices();
            let is_quiet = notices.is_empty();
            let mut outputs = Vec::new();
            let mut closing = Vec::new();
            for notice in notices {
                match notice {
                    Notice::Output(id) => outputs.push(id),
                    Notice::Close(id) => closing.push(id),
                    Notice::Unproven(id) => self.withhold(id),
                    Notice::Watch { realm, pid, started } => {
                        if !self.processes.watch(realm, pid, started) {
                            self.arbiter.process_ended(realm);
                        }
                    }
                    Notice::Unwatch { realm } => self.processes.unwatch(realm),
                }
            }
            // What nobody is told of may be written with what comes next: if it is lost with the server,
            // its client repeats it.
            let in_no_hurry = outputs.is_empty() && closing.is_empty() && !self.looked_around;
            if !in_no_hurry || self.arbiter.journal().len() > BUFFER {
                self.write_down()?;
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
                return Ok(());
            }
        }
    }

    /// Whether something is due, and all that came in before that moment has been read: nobody is ended
    /// whose word lies here (N7).
    fn is_due(&mut self) -> bool {
        let due = self.arbiter.next_deadline().is_some_and(|at| at <= BootClock.now());
        let left = match self.turns_left {
            _ if !due => None,
            None => Some(self.connections.len() / EVENTS + 1),
            Some(turns) => turns.checked_sub(1),
        };
        self.turns_left = left;
        if left.is_some() {
            // After the runtime has asked the kernel for more.
            self.timer_rope.pull();
        }
        due && left.is_none()
    }

    /// Nothing leaves before this is done (N4).
    fn write_down(&mut self) -> Result<(), LockError> {
        let failed = |error: std::io::Error| ended(&error.to_string()).with_source(error);
        let promised = self.arbiter.promised();
        if self.covered != Some(promised) {
            self.store.cover(promised.0, promised.1).map_err(failed)?;
            self.covered = Some(promised);
        }
        let records = self.arbiter.journal();
        if !records.is_empty() {
            self.store.append(records).map_err(failed)?;
            records.clear();
            records.shrink_to(BUFFER);
        }
        Ok(())
    }

    fn compact(&mut self) {
        if self.store.is_due_for_compaction() && self.arbiter.journal().is_empty() {
            let now = BootClock.now();
            if self.compact_from <= now && self.store.compact(&self.arbiter.snapshot()).is_err() {
                // The journal is longer than it need be, and as good as before.
                self.compact_from = now.after(Timer::LONGEST);
            }
        }
    }

    /// Sends what the arbiter has for a connection.
    fn output(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.arbiter.take_output(id, connection.output());
        self.flush(id);
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.waiting() > self.limits.write_buffer {
            self.disconnect(id);
        }
    }

    /// Writes what the socket takes, and sees to what follows.
    fn flush(&mut self, id: ConnId) {
        let now = BootClock.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.has_output() && connection.flush(now).is_err() {
            return self.disconnect(id);
        }
        if connection.has_gone() {
            self.disconnect(id);
        } else if connection.has_deadline() && !connection.is_attended {
            connection.is_attended = true;
            self.attended.push(id);
        }
    }

    /// Closes a connection once its output has been written.
    fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let from = connection.withheld_until.unwrap_or_else(|| BootClock.now());
        connection.closing_by = Some(from.after(FAREWELL));
        self.arbiter.disconnect(id);
        self.leaving.push_back(id);
        if self.leaving.len() > LEAVING {
            let connections = &self.connections;
            self.leaving.retain(|id| connections.contains_key(id));
        }
        if self.leaving.len() > LEAVING
            && let Some(first) = self.leaving.pop_front()
        {
            self.connections.remove(&first);
        }
        self.flush(id);
    }

    /// It was wrong about the secret.
    fn withhold(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(address) = connection.from {
            let now = BootClock.now();
            connection.withheld_until = Some(now.after(self.attempts.failed(address, now)));
        }
    }

    fn disconnect(&mut self, id: ConnId) {
        if self.connections.remove(&id).is_some_and(|connection| connection.closing_by.is_none()) {
            self.arbiter.disconnect(id);
        }
    }

    fn begin_to_stop(&mut self) {
        self.looked_around = true;
        self.stops_by = Some(BootClock.now().after(FAREWELL));
        // While it still listens, so that nobody takes the file for a stale one.
        for file in self.files.drain(..) {
            file.remove();
        }
        self.listeners.clear();
        self.arbiter.close();
    }

    fn has_stopped(&self) -> bool {
        self.stops_by.is_some_and(|by| {
            by <= BootClock.now() || !self.connections.values().any(Connection::has_output)
        })
    }

    fn set_timer(&mut self) {
        let arbiter = self.arbiter.next_deadline().map(|at| at.since(BootClock.now()));
        let impatient = !self.attended.is_empty() || self.exhausted || self.stops_by.is_some();
        let attention = impatient.then_some(ATTENTION);
        // Unseen processes are looked at, and whether clients find the server.
        let wait = [arbiter, attention].into_iter().flatten().fold(Timer::LONGEST, Duration::min);
        self.timer.set(wait);
    }
}

/// Why the server cannot go on.
fn ended(why: &str) -> LockError {
    let why =
        format!("the server has ended: {why}; locks are kept for the next one on its directory");
    LockError::new(ErrorKind::Io, "").with_message(why)
}
