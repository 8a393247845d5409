use std::sync::Arc;

use locks_core::Moment;

use crate::secret::{Opener, Secret};
use crate::wire::{ClientHello, FrameReader, FrameWriter};

/// The present connection of a session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) writer: FrameWriter,
    /// Not here while what it has received is being worked on.
    pub(super) reader: Option<FrameReader>,
    pub(super) stage: Stage,
    /// Since when it has been saying hello.
    pub(super) since: Moment,
    /// What both sides have to prove that they know, if anything.
    pub(super) secret: Option<Arc<Secret>>,
    /// What the frames that come next are to be checked by, until it is in use.
    pub(super) opener: Option<Opener>,
    /// The life of the server at its other end, once that has said so.
    pub(super) server: [u8; 16],
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// This was said, and nothing heard yet.
    Hello(ClientHello),
    /// The server was asked to open or resume a session, then.
    Opening(Moment),
    /// It is that of the session.
    Open,
    /// Something came that makes no sense.
    Over,
}
