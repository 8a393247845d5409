//! The server as a state machine: sessions, their requests and what they are told. No I/O.
//!
//! Whoever drives it gives it connections, frames and the time, and after each round, in this order:
//! writes [`journal`](Arbiter::journal) to the disk, and then what there is for the
//! [connections](Arbiter::take_output). Nothing of a round leaves before its records are written.

mod limits;

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, Moment, Token};

pub use self::limits::Limits;
use crate::journal::{Kept, Ledger};
use crate::secret::Secret;

/// Calls one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(crate) u64);

/// See the [module](self).
pub(crate) struct Arbiter {}

/// What an arbiter is made of.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    /// This life of the server.
    pub(crate) server: [u8; 16],
    /// The time awake: ages, waits, bounds.
    pub(crate) clock: Arc<dyn Clock>,
    /// The time that goes on in suspend: leases.
    pub(crate) boot_clock: Arc<dyn Clock>,
    /// For sessions' secrets.
    pub(crate) random: Box<dyn FnMut(&mut [u8]) + Send>,
    /// What the journal had.
    pub(crate) ledger: Ledger,
    /// All tokens are greater.
    pub(crate) floor: Token,
    /// Nothing is granted until then: somebody may still hold what was granted in a life of which there
    /// is no record (N4). On `boot_clock`.
    pub(crate) silent_until: Option<Moment>,
    /// Called from any thread when there is something for [`Arbiter::run`] to do.
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
}

/// How a connection came, and what it has to prove.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) kept: Kept,
    pub(crate) secret: Option<Arc<Secret>>,
}

/// What has changed for whoever drives the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There is output for it.
    Output(ConnId),
    /// It is to be closed, for its proof was wrong; `Close` comes as well.
    Unproven(ConnId),
    /// It is to be closed, once its output has been written.
    Close(ConnId),
    /// This process keeps a session: the arbiter wants to hear of its end by [`Arbiter::process_ended`].
    Watch { realm: u32, pid: u32, started: u64 },
    /// Not any more.
    Unwatch { realm: u32 },
}

impl Arbiter {
    pub(crate) fn new(_setup: Setup) -> Self {
        todo!()
    }

    /// A connection was accepted. Too many newcomers make it close the oldest of them.
    pub(crate) fn connect(&mut self, _peer: Peer) -> ConnId {
        todo!()
    }

    /// Bytes have come in. After an error in them the connection is to be closed, which a notice says too.
    pub(crate) fn receive(&mut self, _connection: ConnId, _bytes: &[u8]) {
        todo!()
    }

    /// The connection has ended: end of file, an error, or closed here.
    pub(crate) fn disconnect(&mut self, _connection: ConnId) {
        todo!()
    }

    /// A process that kept a session is gone.
    pub(crate) fn process_ended(&mut self, _realm: u32) {
        todo!()
    }

    /// Goes on with requests that were woken, and with what is due by now. Before it ends anybody whose
    /// time is up, whoever drives it has to have read what had come in.
    pub(crate) fn run(&mut self) {
        todo!()
    }

    /// Until when nothing happens by itself, on `boot_clock`.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        todo!()
    }

    /// What happened since this was asked last.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        todo!()
    }

    /// Appends to `to` what is to be sent over the connection.
    pub(crate) fn take_output(&mut self, _connection: ConnId, _to: &mut Vec<u8>) {
        todo!()
    }

    /// Records that have to be in the journal before any output leaves; to be taken out.
    pub(crate) fn journal(&mut self) -> &mut Vec<u8> {
        todo!()
    }

    /// All of the state, as records: in place of the journal so far.
    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        todo!()
    }

    /// The greatest token granted and the greatest lease promised to a session that is kept by it: both
    /// have to be covered durably before any output leaves.
    pub(crate) fn promised(&self) -> (Token, Duration) {
        todo!()
    }

    /// Tells everybody that the server goes.
    pub(crate) fn close(&mut self) {
        todo!()
    }
}
