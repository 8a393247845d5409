//! The server as a state machine: sessions, their requests and what they are told. No I/O.
//!
//! Whoever drives it gives it connections, frames and the time, and after each round, in this
//! order: writes [`journal`](Arbiter::journal) to the disk, and then what there is for the
//! [connections](Arbiter::take_output). Nothing of a round leaves before its records are written.
//!
//! Everything happens on the driver's thread, the engine's alarms too: what the engine does is
//! known to the journal before anything else can happen.

mod access;
mod acquisitions;
mod clock;
mod connection;
mod connections;
mod deadlines;
mod describe;
mod endings;
mod events;
mod figures;
mod grants;
mod greeting;
mod idle;
mod leases;
mod limits;
mod listing;
mod lists;
mod messages;
mod newcomers;
mod observe;
mod paper;
mod peer;
mod requests;
mod restore;
mod room;
mod session;
mod setup;
mod shutdown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{Engine, LostCause, Moment, Token};

pub use self::figures::{Figures, Histogram, Losses, Refusals};
pub use self::limits::Limits;
pub use self::observe::{ClientInfo, Observation};

pub(crate) use self::peer::Peer;
pub(crate) use self::setup::{ArbiterSetup, Promise};

use self::clock::OwnTime;
use self::connection::{ConnectionStage, ConnectionState};
use self::deadlines::Due;
use self::events::Happened;
use self::lists::Lists;
use self::paper::Paper;
use self::room::Room;
use self::session::{MessageTotals, ServerSession};
use self::setup::Fixed;
use crate::journal::Record;
use crate::pidfd::Process;
use crate::server::LogLevel;
use crate::wire::Event;

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

impl Arbiter {
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

    /// Has it make a mistake.
    #[cfg(test)]
    pub(crate) fn break_by(&mut self, bug: Option<crate::simulation::Bug>) {
        self.broken = bug;
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
