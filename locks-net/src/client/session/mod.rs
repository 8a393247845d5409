//! A client's session as a state machine: no threads, no sockets.
//!
//! Whoever drives it gives it connections, bytes and the time, and after each call sends what there
//! is to be [sent](ClientSession::take_output) and wakes, with no mutex held, who is to be
//! [woken](ClientSession::take_wakers).

mod ask;
mod calls;
mod connecting;
mod connection;
mod ending;
mod events;
mod hold;
mod inbox;
mod labels;
mod leases;
mod opening;
mod reach;
mod setup;
mod time;
mod timeouts;
mod trust;
mod wakers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use locks_core::{ErrorKind, LockError, Moment};

use self::ask::Unanswered;
pub(crate) use self::calls::Answer;
pub(crate) use self::connecting::Hello;
use self::connection::{LinkStage, SessionConnection};
use self::ending::Ending;
use self::hold::ClientHold;
use self::inbox::Inbox;
pub use self::inbox::Received;
use self::labels::Labels;
use self::leases::LeaseCounts;
pub(crate) use self::reach::Reach;
pub(crate) use self::setup::SessionSetup;
use self::trust::Trust;
use self::wakers::Wakers;
use crate::channel::Channel;
use crate::wire::{Call, VERSIONS, Versions};

/// See the [module](self).
///
/// * S1: a number is in `unanswered`, in `holds` or in `endings`, and in one of them at most.
/// * S2: while the session is not open nothing gets a number of the channel: it waits in
///   `deferred`, in call order. What is sent over a new connection comes after what is repeated.
/// * S3: of each acquisition that was sent, exactly one `End` is sent, unless the session is over
///   or the server has refused it.
pub(crate) struct ClientSession {
    setup: SessionSetup,
    versions: Versions,
    /// What is said next: the newest, or what both speak once a server has said that it does not
    /// speak that (N11).
    version: u16,
    /// What the server calls it; `None` before there is one.
    established: Option<EstablishedSession>,
    connection: Option<SessionConnection>,
    channel: Channel,
    labels: Labels,
    /// Calls and acquisitions, by number: in the order in which they were made.
    unanswered: BTreeMap<u64, Box<Unanswered>>,
    /// How many of `unanswered` are `called`.
    called: usize,
    deadlines: BTreeSet<(Moment, u64)>,
    deferred: VecDeque<Deferred>,
    holds: HashMap<u64, ClientHold, foldhash::fast::RandomState>,
    /// How many of `holds` have watchers.
    watched: usize,
    /// When holds end by their own bounds at the latest (C14), those that are not lost.
    bounds: BTreeSet<(Moment, u64)>,
    endings: HashMap<u64, Ending, foldhash::fast::RandomState>,
    /// Those of holds that are not lost.
    leases: LeaseCounts,
    /// Those that were asked for with what is not granted or fetched yet.
    wanted: LeaseCounts,
    /// The bounds of those, as long as their holds may last at most.
    wanted_bounds: LeaseCounts,
    last_number: u64,
    /// The newest frame of the channel that the server had applied before it said what comes next,
    /// and when it was sent.
    ordered: (u64, Moment),
    /// The last `Ping`: its number in the channel, and when it was sent.
    last_ping: Option<(u64, Moment)>,
    /// Since when an answer is due, of which nothing has come in.
    silent_since: Option<Moment>,
    /// The last connection was taken for dead when its server owed the answer to a proof. If the
    /// next one comes as far, it is given its time: refusals come late (N5), and nobody would ever
    /// hear one.
    overtook_proof: bool,
    /// There if messages are wanted (N8).
    mail: Option<Inbox>,
    /// Grants that are not handed out before the next acknowledgement (C8).
    unproven: Vec<u64>,
    out: Vec<u8>,
    /// There is something in `out` that outlives this process for as long as it is not sent.
    urgent: bool,
    message: Vec<u8>,
    wakers: Wakers,
    /// What the last attempt to reach the server ended in.
    trouble: Option<String>,
    /// That nothing has come of trying to reach the server, in words.
    unreached: &'static str,
    /// Who serves, in words.
    server: Option<String>,
    /// The server is being reached.
    reaching: bool,
    /// The server has said that it goes.
    closing: bool,
    /// What it does wrong, to see it found.
    #[cfg(test)]
    broken: Option<crate::simulation::Bug>,
}

/// What the session at the server was opened with.
struct EstablishedSession {
    realm: u32,
    secret: [u8; 16],
    /// The incarnation of the server that it was last connected to.
    server: [u8; 16],
    max_frame: usize,
    trust: Trust,
}

/// What is to be sent once there is a connection.
#[derive(Clone, Copy, Debug)]
enum Deferred {
    /// What is unanswered under this number.
    Ask(u64),
    End(u64),
    Disown(u64),
}

/// Why a connection has to be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

/// Frames of the server that may remain unacknowledged.
const UNTOLD: u64 = 32;

/// What may be kept for a server that acknowledges nothing, in bytes.
const KEPT: usize = 4 * 1024 * 1024;

/// Locks and requests that one process can have at a server.
const REQUESTS: usize = 1_000_000;

/// What is said where nothing has come of trying to reach the server.
pub(crate) const UNREACHED: &str = "the server was not reached in time";

impl ClientSession {
    pub(crate) fn new(setup: SessionSetup) -> Self {
        Self {
            setup,
            versions: VERSIONS,
            version: VERSIONS.newest,
            established: None,
            connection: None,
            channel: Channel::default(),
            labels: Labels::default(),
            unanswered: BTreeMap::new(),
            called: 0,
            deadlines: BTreeSet::new(),
            deferred: VecDeque::new(),
            holds: HashMap::default(),
            watched: 0,
            bounds: BTreeSet::new(),
            endings: HashMap::default(),
            leases: LeaseCounts::default(),
            wanted: LeaseCounts::default(),
            wanted_bounds: LeaseCounts::default(),
            mail: None,
            unproven: Vec::new(),
            last_number: 0,
            ordered: (0, Moment::from_nanos(0)),
            last_ping: None,
            silent_since: None,
            overtook_proof: false,
            out: Vec::new(),
            urgent: false,
            message: Vec::new(),
            wakers: Wakers::default(),
            trouble: None,
            unreached: UNREACHED,
            server: None,
            reaching: true,
            closing: false,
            #[cfg(test)]
            broken: None,
        }
    }

    /// What the server calls it; 0 before there is one.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u32 {
        self.realm()
    }

    /// The same session, whose requests have greater numbers than this.
    pub(crate) fn numbered_after(self, number: u64) -> Self {
        Self { last_number: number, ..self }
    }

    /// The same session, which says so where nothing has come of trying to reach the server.
    pub(crate) fn saying(self, unreached: &'static str) -> Self {
        Self { unreached, ..self }
    }

    /// Has it speak these versions.
    #[cfg(test)]
    pub(crate) fn speak(&mut self, versions: Versions) {
        (self.versions, self.version) = (versions, versions.newest);
    }

    /// Has it make a mistake.
    #[cfg(test)]
    pub(crate) fn break_by(&mut self, bug: Option<crate::simulation::Bug>) {
        self.broken = bug;
    }

    /// Bytes have come in.
    ///
    /// # Errors
    /// The connection is to be closed, and the session told so by
    /// [`disconnected`](Self::disconnected).
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let Some(mut reader) = self.connection.as_mut().and_then(|it| it.reader.take()) else {
            return Ok(());
        };
        self.silent_since = None;
        reader.push(bytes);
        let taken = self.take_frames(&mut reader);
        if let Some(connection) = &mut self.connection {
            connection.reader = Some(reader);
            if !matches!(connection.stage, LinkStage::Open) {
                // The next greeting is due.
                self.silent_since = Some(self.setup.clock.now());
            }
        }
        if let Err(broken) = &taken {
            self.trouble = Some(broken.0.clone());
        }
        taken
    }

    /// Appends to `to` what is to be sent.
    pub(crate) fn take_output(&mut self, to: &mut Vec<u8>) {
        self.urgent = false;
        if to.is_empty() {
            std::mem::swap(to, &mut self.out);
        } else {
            to.append(&mut self.out);
        }
    }

    /// What is to be done with wakers.
    pub(crate) fn take_wakers(&mut self) -> Wakers {
        std::mem::take(&mut self.wakers)
    }

    /// Says good-bye, if there is anybody to say it to: the session is over.
    pub(crate) fn bye(&mut self) {
        if self.is_open() {
            self.transmit(&Call::Bye);
        }
        self.version = self.versions.newest;
        self.end_life();
        self.established = None;
        self.connection = None;
    }

    /// Whether calls go to the server at once.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|it| matches!(it.stage, LinkStage::Open))
    }

    /// Whether the server has said that it goes: its connection is to be given up.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether nothing is held, awaited or to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
            && self.holds.is_empty()
            && self.endings.is_empty()
            && self.deferred.is_empty()
            && self.mail.is_none()
    }

    /// How many were woken and have not come yet.
    pub(crate) fn expects(&self) -> usize {
        self.called
    }

    /// Whether what there is to be sent must not wait: it has the end of a hold that outlives this
    /// process, which may exit now (N2).
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// How many bytes there are to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Whether there is somebody who has waited enough by now.
    pub(crate) fn is_to_expire(&self, now: Moment) -> bool {
        self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now)
    }

    /// Returns `true` while a caller waits for an answer, or for a loss.
    pub(crate) fn is_awaited(&self) -> bool {
        self.watched > 0
            || !self.unproven.is_empty()
            || self.mail.as_ref().is_some_and(Inbox::is_awaited)
            || self.unanswered.values().any(|asked| asked.is_open())
            || self.endings.values().any(Ending::is_awaited)
    }

    /// Whether there is something to reach the server for.
    pub(crate) fn wants_server(&self) -> bool {
        !self.is_idle()
    }

    /// Whether the session is kept by its process (N1 b), and holds something: then somebody has to
    /// look at its connection from time to time, so that the moment of its end is known well
    /// enough.
    pub(crate) fn look_every(&self) -> Option<Duration> {
        let established = self.established.as_ref().filter(|it| !it.trust.renews)?;
        (!self.leases.is_empty()).then(|| established.trust.lease / 5)
    }

    pub(crate) fn now(&self) -> Moment {
        self.setup.clock.now()
    }

    /// Sends a call over the open session.
    fn transmit(&mut self, call: &Call) -> u64 {
        self.transmit_at(self.now(), call)
    }

    fn transmit_at(&mut self, now: Moment, call: &Call) -> u64 {
        debug_assert!(self.is_open(), "S2: only what is open transmits");
        self.message.clear();
        call.encode(&mut self.message);
        let to = Some(&mut self.out);
        self.channel.send(&self.message, now, to)
    }

    fn realm(&self) -> u32 {
        self.established.as_ref().map_or(0, |it| it.realm)
    }

    /// The server was not reached, or has gone silent.
    #[cold]
    fn unavailable(&self, why: &str) -> LockError {
        let why = match &self.trouble {
            Some(trouble) => format!("{why}: {trouble}"),
            None => why.to_owned(),
        };
        LockError::unavailable(&self.setup.name, why)
    }

    /// There was no answer, because of the trouble, if it is known, which says it all.
    fn without_answer(&self, or_else: &str) -> LockError {
        let why = self.trouble.as_deref().unwrap_or(or_else);
        LockError::unavailable(&self.setup.name, why.to_owned())
    }

    #[cold]
    fn limit_exceeded(&self, why: String) -> LockError {
        LockError::new(ErrorKind::LimitExceeded, "")
            .with_backend(&*self.setup.name)
            .with_message(why)
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.setup.name)
            .field("open", &self.is_open())
            .field("unanswered", &self.unanswered.len())
            .field("holds", &self.holds.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
