use locks_core::Moment;

use super::Peer;
use crate::journal::SessionKind;
use crate::secret::ServerHandshake;
use crate::wire::{FrameReader, MAX_CLIENT_GREETING, Malformed};

/// One connection.
pub(super) struct ConnectionState {
    pub(super) peer: Peer,
    pub(super) stage: ConnectionStage,
    /// Not here while what it has received is being worked on.
    reader: Option<FrameReader>,
    pub(super) output: Vec<u8>,
    /// Whether whoever drives knows that there is output.
    pub(super) told: bool,
    /// Since when it has been saying hello, or sending the frame that has begun; on the boot clock.
    pub(super) busy_since: Option<Moment>,
}

/// How far a connection is.
pub(super) enum ConnectionStage {
    /// It says hello, and proves who it is, over TCP.
    Greeting(Box<ServerHandshake>),
    /// It is to open its session.
    Open,
    /// It is that of a session.
    Session(u32),
    /// It is to be closed.
    Over,
}

impl ConnectionState {
    pub(super) fn new(peer: Peer, handshake: ServerHandshake, now: Moment) -> Self {
        Self {
            peer,
            stage: ConnectionStage::Greeting(Box::new(handshake)),
            reader: Some(FrameReader::new(MAX_CLIENT_GREETING)),
            output: Vec::new(),
            told: false,
            busy_since: Some(now),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, ConnectionStage::Session(_))
    }

    pub(super) fn take_reader(&mut self) -> Option<FrameReader> {
        self.reader.take()
    }

    /// Gives the reader back, once all complete frames have been taken out.
    pub(super) fn put_reader(&mut self, reader: FrameReader, progress: bool, now: Moment) {
        let open = self.is_open();
        // Whose process keeps its session may be stopped in the middle of a frame (N1).
        let may_rest = matches!(self.peer.kept, SessionKind::ByProcess(_));
        match (open, reader.is_partial() && !may_rest) {
            (true, false) => self.busy_since = None,
            (true, true) if progress => self.busy_since = Some(now),
            (true, true) => self.busy_since = self.busy_since.or(Some(now)),
            (false, _) => {}
        }
        self.reader = Some(reader);
    }
}

/// What changes for the frames behind one.
pub(super) enum After {
    /// Nothing.
    Frame,
    /// They are those of a session.
    Greetings,
}

/// Why a connection is closed by the server.
pub(super) enum CloseReason {
    /// It said what makes no sense.
    Malformed(Malformed),
    /// The reader is gone: it was closed meanwhile.
    Over,
}

impl From<Malformed> for CloseReason {
    fn from(malformed: Malformed) -> Self {
        CloseReason::Malformed(malformed)
    }
}
