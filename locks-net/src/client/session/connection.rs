use locks_core::Moment;

use crate::secret::ClientHandshake;
use crate::wire::FrameReader;

/// The present connection of a session.
#[derive(Debug)]
pub(super) struct SessionConnection {
    /// Not here while what it has received is being worked on.
    pub(super) reader: Option<FrameReader>,
    pub(super) stage: LinkStage,
    /// Since when it has been saying hello.
    pub(super) since: Moment,
    /// The incarnation of the server at its other end, once that has said so.
    pub(super) server: [u8; 16],
}

impl SessionConnection {
    /// Whether what the client knows was proved, and nothing was said to that.
    pub(super) fn is_proving(&self) -> bool {
        matches!(&self.stage, LinkStage::Hello(handshake) if handshake.is_proving())
    }
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum LinkStage {
    /// It says hello, and proves what it knows.
    Hello(Box<ClientHandshake>),
    /// The server was asked to open or resume a session, then.
    Opening(Moment),
    /// It is that of the session.
    Open,
    /// Something came that makes no sense.
    Over,
}
