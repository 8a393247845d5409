//! The beginning and the end of connections, as the link reports them.

use locks_core::Moment;

use super::ClientSession;
use super::connection::{LinkStage, SessionConnection};
use crate::secret::{ClientHandshake, Secured};
use crate::wire::{FrameReader, put_frame};

/// The longest frame that is taken from a server that is not known yet.
const GREETING: usize = 4096;

/// What is said first over a connection.
#[derive(Debug)]
pub(crate) struct Hello {
    handshake: Box<ClientHandshake>,
    pub(crate) bytes: Vec<u8>,
}

impl ClientSession {
    /// What is said first over a connection of which that is known.
    pub(crate) fn hello(&mut self, secured: Secured) -> Hello {
        let mut nonce = [0; 32];
        (self.setup.random)(&mut nonce);
        let handshake = Box::new(ClientHandshake::new(secured, nonce).speaking(self.version));
        let mut bytes = Vec::new();
        put_frame(&mut bytes, |body| body.extend(handshake.hello()));
        Hello { handshake, bytes }
    }

    /// There is a new connection, and no other any more, over which is to be said what
    /// [`hello`](Self::hello) gives.
    pub(crate) fn dialed(&mut self, secured: Secured) {
        let Hello { handshake, bytes } = self.hello(secured);
        self.greet(handshake);
        self.out = bytes;
    }

    /// There is a new connection, and no other any more, over which that was said already.
    pub(crate) fn joined(&mut self, hello: Hello) {
        self.greet(hello.handshake);
    }

    fn greet(&mut self, handshake: Box<ClientHandshake>) {
        if let Some(connection) = &self.connection {
            self.overtook_proof = connection.is_proving();
            self.disconnected();
        }
        let now = self.now();
        self.out.clear();
        self.closing = false;
        self.silent_since = Some(now);
        self.connection = Some(SessionConnection {
            reader: Some(FrameReader::new(GREETING)),
            stage: LinkStage::Hello(handshake),
            since: now,
            server: [0; 16],
        });
    }

    /// The connection is over: end of file, an error, or closed here.
    pub(crate) fn disconnected(&mut self) {
        let was_open = self.is_open();
        self.connection = None;
        self.silent_since = None;
        self.out.clear();
        if was_open {
            if self.holds.is_empty() {
                // There is time to find out whether a newer server is there by now.
                self.version = self.versions.newest;
            }
            self.left_alone();
        }
    }

    /// The server is connected; who it is, for those who wait in vain for its answer.
    pub(crate) fn silent(&mut self, server: String) {
        self.server = Some(server);
    }

    /// The server cannot be reached at present, and why.
    pub(crate) fn unreachable(&mut self, why: impl Into<String>) {
        self.trouble = Some(why.into());
        self.reaching = false;
        self.end_overdue();
    }

    /// An attempt to reach the server is made, which may take its time.
    pub(crate) fn reaching(&mut self) {
        self.reaching = true;
    }

    /// At `at`, before now, the connection was seen to be open.
    pub(crate) fn seen_open(&mut self, at: Moment) {
        if self.is_open()
            && let Some(established) = &mut self.established
        {
            established.trust.seen(at);
        }
    }

    /// At `at`, before now, nobody was there who could have begun to count a lease (N1 b).
    pub(crate) fn nobody_listens(&mut self, at: Moment) {
        // Somebody may have counted to the end, granted to others, and gone, all of it since then.
        self.expire_holds(self.now());
        if let Some(established) = &mut self.established {
            established.trust.seen(at);
        }
    }
}
