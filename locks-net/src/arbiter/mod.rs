//! The server as a state machine: sessions, their requests and what they are told. No I/O.
//!
//! Whoever drives it gives it connections, frames and the time, and after each round, in this
//! order: writes [`journal`](Arbiter::journal) to the disk, and then what there is for the
//! [connections](Arbiter::take_output). Nothing of a round leaves before its records are written.
//!
//! Everything happens on the driver's thread, the engine's alarms too: what the engine does is
//! known to the journal before anything else can happen.

mod access;
mod clock;
mod connection;
mod deadlines;
mod describe;
mod endings;
mod events;
mod figures;
mod greeting;
mod leases;
mod limits;
mod listing;
mod lists;
mod messages;
mod newcomers;
mod observe;
mod paper;
mod requests;
mod restore;
mod room;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, Engine, LostCause, Moment, Token};

pub use self::figures::{Figures, Histogram, Losses, Refusals};
pub use self::limits::Limits;
pub use self::observe::{ClientInfo, Observation};

use self::clock::OwnTime;
use self::connection::{After, CloseReason, ConnectionStage, ConnectionState};
use self::deadlines::Due;
use self::events::Happened;
use self::lists::Lists;
use self::paper::Paper;
use self::room::Room;
use self::session::{MessageTotals, Requested, ServerSession};
use crate::access::Access;
use crate::channel::Arrived;
use crate::journal::{Ledger, Record, SessionKind};
use crate::pidfd::Process;
use crate::secret::{Proving, RandomSource, ServerHandshake};
use crate::server::LogLevel;
use crate::wire::{Call, Event, Malformed, split_frame};

/// Calls one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(crate) u64);

/// See the [module](self).
///
/// * A1: a guard is in `requests` of its session from before its grant leaves until its client has
///   given it up, and in the journal from the same round on until it ends.
/// * A2: a session has at most one connection, and a connection at most one session; they name each
///   other.
/// * A3: between rounds nothing is woken or lost that has not been dealt with.
/// * A4: every guard of a hold of the engine has an owner, in the realm of its session; one hold
///   has guards of several sessions where the owner is shared. One who asks without a name, or has
///   left its thread, is known by the number of the request.
/// * A5: a guard is in the journal behind the one that it is nested in, whichever session that is
///   of.
pub(crate) struct Arbiter {
    setup: Fixed,
    engine: Engine,
    time: Arc<OwnTime>,
    happened: Arc<Happened>,
    /// Those who were woken, and have not been looked after yet.
    woken: VecDeque<(u32, u64)>,
    sessions: HashMap<u32, ServerSession, foldhash::fast::RandomState>,
    connections: HashMap<ConnId, ConnectionState, foldhash::fast::RandomState>,
    /// Connections that have not opened a session, the oldest first.
    newcomers: VecDeque<ConnId>,
    deadlines: BTreeSet<(Moment, Due)>,
    journal: Vec<u8>,
    notices: Vec<Notice>,
    /// For the operator (N12).
    said: Vec<(LogLevel, &'static str, String)>,
    next_connection: u64,
    next_realm: u32,
    next_order: u64,
    waiting: usize,
    figures: Figures,
    /// What was sent to all clients of messages, and is not taken yet.
    mail: MessageTotals,
    room: Room,
    lists: Lists,
    paper: Paper,
    promised: (Token, Duration),
    silent_until: Option<Moment>,
    /// For messages on their way into a channel.
    scratch: Vec<u8>,
    /// What it does wrong, to see it found.
    #[cfg(test)]
    broken: Option<crate::simulation::Bug>,
}

/// What does not change.
struct Fixed {
    limits: Limits,
    server: [u8; 16],
    process: String,
    boot_clock: Arc<dyn Clock>,
    random: RandomSource,
    started: Moment,
}

/// Sees to it that a token may be granted with a lease, and that so many more bytes can be written
/// down, whatever becomes of the disk. Otherwise says why not, for people.
pub(crate) type Promise = Box<dyn FnMut(Token, Duration, usize) -> Result<(), String> + Send>;

/// What an arbiter is made of.
pub(crate) struct ArbiterSetup {
    pub(crate) limits: Limits,
    /// This life of the server.
    pub(crate) server: [u8; 16],
    /// What the serving process is called.
    pub(crate) process: String,
    /// The time awake: ages, waits, bounds.
    pub(crate) clock: Arc<dyn Clock>,
    /// The time that goes on in suspend: leases.
    pub(crate) boot_clock: Arc<dyn Clock>,
    /// For sessions' secrets.
    pub(crate) random: RandomSource,
    /// What the journal had.
    pub(crate) ledger: Ledger,
    /// All tokens are greater.
    pub(crate) floor: Token,
    /// Sees to it that a grant can be written down.
    pub(crate) promise: Promise,
    /// Nothing is granted for so long: somebody may still hold what was granted in a life of which
    /// there is no record (N4).
    pub(crate) silent_for: Option<Duration>,
}

/// How a connection came, and what it has to prove.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) kept: SessionKind,
    /// Over TCP; nobody is let in before [`Arbiter::secure`].
    pub(crate) proving: Option<Proving>,
    /// Who it has proved to be, over TCP.
    pub(crate) access: Option<Access>,
    /// Where it comes from, over TCP.
    pub(crate) from: Option<IpAddr>,
    /// Somebody from there was let in lately.
    pub(crate) is_familiar: bool,
    /// So many descriptors are left to the server.
    pub(crate) descriptors_left: usize,
    /// Whether it may release what others hold (N9).
    pub(crate) administers: bool,
}

impl Peer {
    /// A peer that is kept so and has to prove this, and for which nothing is short or forbidden.
    pub(crate) fn new(kept: SessionKind, proving: Option<Proving>) -> Self {
        Self {
            kept,
            proving,
            access: None,
            from: None,
            is_familiar: false,
            descriptors_left: usize::MAX,
            administers: true,
        }
    }

    /// One that comes over TCP, to whom nobody can prove anything yet.
    pub(crate) fn remote(from: IpAddr) -> Self {
        let nobody = Proving::default();
        Self { from: Some(from), ..Self::new(SessionKind::ByLease, Some(nobody)) }
    }
}

/// What has changed for whoever drives the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There is output for it.
    Output(ConnId),
    /// It is to be closed, once its output has been written; the arbiter knows it no more.
    Close(ConnId),
    /// It did not prove that it knows the secret.
    Unproven(ConnId),
    /// Somebody from there has opened a session, or gone on with it.
    LetIn(IpAddr),
    /// This process keeps a session: the arbiter wants to hear of its end by
    /// [`Arbiter::process_ended`]. By that connection it has come just now, if it has.
    Watch { realm: u32, process: Process, by: Option<ConnId> },
    /// Not any more.
    Unwatch { realm: u32 },
}

/// After so many frames a client hears how far it was understood, if nothing else is told to it.
const ACK_AFTER: u64 = 32;

impl Arbiter {
    /// A connection was accepted. Too many newcomers make it close [one](newcomers) of them.
    pub(crate) fn connect(&mut self, peer: Peer) -> ConnId {
        self.next_connection += 1;
        let id = ConnId(self.next_connection);
        let now = self.now();
        let mut nonce = [0; 32];
        (self.setup.random)(&mut nonce);
        let handshake = ServerHandshake::new(peer.proving.clone(), self.setup.server, nonce);
        let connection = ConnectionState::new(peer, handshake, now);
        self.connections.insert(id, connection);
        self.set_deadline(now.after(self.setup.limits.patience), Due::Connection(id));
        self.newcomers.push_back(id);
        while self.newcomers.len() > self.setup.limits.newcomers.max(1) {
            let Some(least) = self.least_welcome(|_| true) else { break };
            self.reject_newcomer(least);
        }
        id
    }

    /// A connection's TLS is there, and with it what its client has to prove.
    pub(crate) fn secure(&mut self, id: ConnId, proving: Proving) {
        let connection = self.connections.get_mut(&id);
        if let Some(ConnectionStage::Greeting(handshake)) = connection.map(|it| &mut it.stage) {
            handshake.prove(proving);
        }
    }

    /// Bytes have come in.
    pub(crate) fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(mut reader) =
            self.connections.get_mut(&id).and_then(|connection| connection.take_reader())
        else {
            return;
        };
        reader.push(bytes);
        let mut progress = false;
        let fault = loop {
            let step = match reader.next() {
                Ok(None) => break None,
                Ok(Some(body)) => self.frame(id, body),
                Err(malformed) => Err(malformed.into()),
            };
            progress = true;
            match step {
                Ok(After::Frame) => {}
                Ok(After::Greetings) => reader.set_max(self.setup.limits.frame),
                Err(fault) => break Some(fault),
            }
        };
        let now = self.now();
        match (fault, self.connections.get_mut(&id)) {
            (Some(CloseReason::Malformed(malformed)), Some(_)) => {
                self.refuse_nonsense(id, malformed)
            }
            (Some(CloseReason::Over), _) | (_, None) => {}
            (None, Some(connection)) => {
                connection.put_reader(reader, progress, now);
                if connection.is_open() && connection.busy_since == Some(now) {
                    self.set_deadline(now.after(self.setup.limits.patience), Due::Connection(id));
                }
                self.acknowledge(id, ACK_AFTER);
            }
        }
        self.drain_events();
    }

    /// The connection has ended: end of file, an error, or closed there.
    pub(crate) fn disconnect(&mut self, id: ConnId) {
        self.forget(id);
        self.drain_events();
    }

    /// A process that kept a session is gone.
    pub(crate) fn process_ended(&mut self, realm: u32) {
        if self.sessions.get(&realm).is_some_and(|session| !session.is_leased()) {
            self.end_session(realm, Some(LostCause::SessionEnded));
        }
        self.drain_events();
    }

    /// Does what is due by now. Before it ends anybody whose time is up, whoever drives it has to
    /// have read what had come in.
    pub(crate) fn run(&mut self) {
        self.time.fire();
        self.drain_events();
        self.meet_deadlines();
        self.drain_events();
        self.tell_untold();
        self.go_on_with_lists();
    }

    /// Until when nothing happens by itself, on the boot clock.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let own = self.deadlines.first().map(|(at, _)| *at);
        let engine = self.time.next().map(|left| self.now().after(left));
        [own, engine, self.paper.try_again_at(), self.next_list_at()].into_iter().flatten().min()
    }

    /// What happened since this was asked last.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What there is to be told to the operator: how much it matters, of what kind it is, and in
    /// words.
    pub(crate) fn take_said(&mut self) -> Vec<(LogLevel, &'static str, String)> {
        std::mem::take(&mut self.said)
    }

    fn say(&mut self, event: &'static str, text: String) {
        // Nobody reads more than that in a round.
        if self.said.len() < 64 {
            self.said.push((LogLevel::Warn, event, text));
        }
    }

    /// Appends to `to` what is to be sent over the connection.
    pub(crate) fn take_output(&mut self, id: ConnId, to: &mut Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            to.append(&mut connection.output);
            connection.output.shrink_to(16 * 1024);
            connection.told = false;
            if matches!(connection.stage, ConnectionStage::Over) {
                self.connections.remove(&id);
            }
        }
    }

    /// Records that have to be in the journal before any output leaves; to be taken out.
    pub(crate) fn journal(&mut self) -> &mut Vec<u8> {
        &mut self.journal
    }

    /// The greatest token granted and the greatest lease promised to a session that is kept by it:
    /// both have to be covered durably before any output leaves.
    pub(crate) fn promised(&self) -> (Token, Duration) {
        self.promised
    }

    /// Tells everybody that the server goes. Their sessions stay, for a successor.
    pub(crate) fn close(&mut self) {
        let realms = self.sessions.keys().copied().collect::<Vec<_>>();
        for realm in realms {
            self.tell(realm, &Event::Closing);
        }
        let connections = self.connections.keys().copied().collect::<Vec<_>>();
        for id in connections {
            self.close_connection(id);
        }
    }

    /// Takes everything back: somebody else may be about to grant the same. Nobody is granted
    /// anything by that.
    ///
    /// The sessions that it does not reach, and that may go by what they had until they end.
    pub(crate) fn forsake(&mut self) -> Vec<u32> {
        let holds = |session: &ServerSession| {
            session.requests.values().any(|requested| matches!(requested, Requested::Held(_)))
        };
        let unheard = self.sessions.iter();
        let unheard = unheard.filter(|(_, it)| it.connection.is_none() && holds(it));
        let unheard = unheard.map(|(realm, _)| *realm).collect();
        let sessions = self.sessions.iter_mut();
        let all = sessions.flat_map(|(realm, session)| {
            let requests = session.requests.iter();
            requests.map(|(request, requested)| {
                (matches!(requested, Requested::Held(_)), *realm, *request)
            })
        });
        let mut all = all.collect::<Vec<_>>();
        // Those who wait first: none of them is to be granted what the others give back.
        all.sort_unstable();
        for (is_held, realm, request) in all {
            self.end(realm, request);
            if is_held {
                self.tell(realm, &Event::Lost { request, cause: LostCause::Forgotten });
            }
        }
        self.drain_events();
        self.journal.clear();
        unheard
    }

    /// When the last of these sessions ends, those that have not yet.
    pub(crate) fn end_of(&self, realms: &[u32]) -> Option<Moment> {
        realms.iter().filter_map(|realm| self.sessions.get(realm)?.end()).max()
    }

    /// Has it make a mistake.
    #[cfg(test)]
    pub(crate) fn break_by(&mut self, bug: Option<crate::simulation::Bug>) {
        self.broken = bug;
    }

    /// Whether nothing has to be known of it after a restart. What was written down of a session
    /// has to be as long as its client may not know what has become of its releases: it would be
    /// told by the next server that it has lost what it had released (C4).
    pub(crate) fn is_idle(&self) -> bool {
        self.holds_nothing()
            && self.sessions.values().all(|session| !self.may_be_asked_for(session))
    }

    /// Has clients say that they have heard what has become of their releases, if nothing else is
    /// left to be known.
    pub(crate) fn ask_for_word(&mut self) {
        if !self.holds_nothing() {
            return;
        }
        let silent = self.sessions.values().filter(|session| {
            // What is under way to it will be acknowledged, and tells enough or is followed by
            // this.
            session.is_recorded && session.may_lack_word() && session.channel.kept().1 == 0
        });
        let silent = silent.filter(|session| session.connection.is_some());
        for realm in silent.map(|session| session.realm).collect::<Vec<_>>() {
            // It answers nobody, and is acknowledged with the next that the client says.
            self.tell(realm, &Event::Done { call: 0 });
        }
    }

    fn holds_nothing(&self) -> bool {
        self.paper.guards == 0
            && self
                .sessions
                .values()
                .all(|session| session.requests.is_empty() && session.lost_before.is_empty())
            && self.engine.reservations().is_empty()
    }

    /// Whether its client may have to find a session that is written down.
    fn may_be_asked_for(&self, session: &ServerSession) -> bool {
        let connection = session.connection.and_then(|id| self.connections.get(&id));
        let is_told = connection.is_some_and(|connection| connection.output.is_empty());
        session.is_recorded && (!is_told || session.may_lack_word())
    }

    /// Nothing of it is in the journal any more.
    pub(crate) fn forget_records(&mut self) {
        self.paper.sessions = 0;
        self.sessions.values_mut().for_each(|session| session.is_recorded = false);
    }

    /// How many sessions there are.
    pub(crate) fn live_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// For how many keys the engine keeps anything (C13).
    pub(crate) fn live_keys(&self) -> usize {
        self.engine.live_keys()
    }

    fn now(&self) -> Moment {
        self.setup.boot_clock.now()
    }

    fn frame(&mut self, id: ConnId, body: &[u8]) -> Result<After, CloseReason> {
        let connection = self.connections.get(&id).ok_or(CloseReason::Over)?;
        let ConnectionStage::Session(realm) = connection.stage else { return self.greet(id, body) };
        let (number, ack, message) = split_frame(body)?;
        let now = self.now();
        let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
        session.heard = now;
        session.channel.acknowledged(ack)?;
        let is_over = number == 0 || session.channel.arrived(number)? == Arrived::Repeated;
        if session.long_list.is_some() {
            self.go_on_listing(realm);
            self.go_on_with_lists();
        }
        if is_over {
            return Ok(After::Frame);
        }
        let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
        let call = Call::decode(message)?;
        if session.is_restored != matches!(call, Call::Holding { .. }) {
            return Err(Malformed(
                "what still matters is told first after a restart, and only then",
            )
            .into());
        }
        self.apply(id, realm, call)?;
        // What it has brought about is in the journal before what the next frame does.
        self.drain_events();
        Ok(After::Frame)
    }

    /// Deals with what was woken and lost, until there is nothing more (A3).
    fn drain_events(&mut self) {
        loop {
            let lost = self.happened.take_lost();
            self.woken.extend(self.happened.take_woken());
            if lost.is_empty() && self.woken.is_empty() {
                return;
            }
            // Ends come before the grants that they make possible, in the journal too.
            self.tell_of_losses(lost);
            while let Some((realm, request)) = self.woken.pop_front() {
                self.poll_request(realm, request);
            }
        }
    }

    /// Those who have been woken, and have not been looked after.
    fn take_woken(&mut self) -> impl Iterator<Item = (u32, u64)> + use<> {
        std::mem::take(&mut self.woken).into_iter().chain(self.happened.take_woken())
    }

    /// Says `event` to a session, now or when it is connected again.
    fn tell(&mut self, realm: u32, event: &Event) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        event.encode(&mut message);
        let now = self.setup.boot_clock.now();
        let connection =
            session.connection.and_then(|id| Some((id, self.connections.get_mut(&id)?)));
        let Some((id, connection)) = connection else {
            session.channel.send(&message, now, None);
            self.scratch = message;
            return;
        };
        session.channel.send(&message, now, Some(&mut connection.output));
        self.scratch = message;
        if !connection.told {
            connection.told = true;
            self.notices.push(Notice::Output(id));
        }
        let unread = connection.output.len().max(session.channel.kept().0);
        if unread > self.setup.limits.write_buffer {
            connection.output.clear();
            self.close_connection(id);
        }
    }

    /// Has a connection's client know how far it was understood, if that is so many frames on.
    fn acknowledge(&mut self, id: ConnId, frames: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let ConnectionStage::Session(realm) = connection.stage else { return };
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if session.channel.owes() >= frames {
            session.channel.acknowledge(&mut connection.output);
            if !connection.told {
                connection.told = true;
                self.notices.push(Notice::Output(id));
            }
        }
    }

    fn refuse_nonsense(&mut self, id: ConnId, malformed: Malformed) {
        let opened = self.connections.get(&id).is_some_and(ConnectionState::is_open);
        if !opened {
            self.reject(id, crate::wire::Why::Protocol, malformed.to_string());
        } else {
            self.close_connection(id);
        }
    }

    /// Closes a connection from here, once its output has been written.
    fn close_connection(&mut self, id: ConnId) {
        self.detach(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = ConnectionStage::Over;
        connection.busy_since = None;
        self.notices.push(Notice::Close(id));
    }

    /// A connection is no more.
    fn forget(&mut self, id: ConnId) {
        self.detach(id);
        self.connections.remove(&id);
    }

    /// Parts a connection from its session, and counts for that from now on (N1).
    fn detach(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let ConnectionStage::Session(realm) = connection.stage else {
            self.newcomers.retain(|newcomer| *newcomer != id);
            return;
        };
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if session.connection != Some(id) {
            return;
        }
        session.connection = None;
        if !session.is_leased() {
            session.ends_at = Some(now.after(session.lease));
        }
        self.set_session_deadline(realm);
    }

    fn record(&mut self, record: &Record) {
        #[cfg(test)]
        if self.broken == Some(crate::simulation::Bug::EndNotWritten)
            && matches!(record, Record::Ended { .. })
        {
            return;
        }
        record.encode(&mut self.journal);
    }
}
