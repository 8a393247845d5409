//! What is said before a session's frames, as values.

use std::fmt;
use std::time::Duration;

use locks_core::ProcessInfo;

/// Versions of the protocol, from the oldest to the newest, all of which are spoken (N11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
}

/// Those that this build speaks.
pub(crate) const VERSIONS: Versions = Versions { oldest: 1, newest: 1 };

impl Versions {
    pub(crate) fn one(version: u16) -> Self {
        Self { oldest: version, newest: version }
    }

    pub(crate) fn contain(self, version: u16) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest of these that are spoken there too.
    pub(crate) fn newest_of(self, others: Self) -> Option<u16> {
        let newest = self.newest.min(others.newest);
        (self.contain(newest) && others.contain(newest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "version {}", self.newest),
            false => write!(f, "versions {} to {}", self.oldest, self.newest),
        }
    }
}

/// First, from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// The newest that it speaks; after a [`Why::Version`] the newest that both do.
    pub(crate) version: u16,
    pub(crate) nonce: [u8; 32],
}

/// First, from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHello {
    /// The client's, which is spoken over this connection.
    pub(crate) version: u16,
    /// One life of a server: another one after each start.
    pub(crate) server: [u8; 16],
    pub(crate) nonce: [u8; 32],
    /// Whether both sides prove that they know a secret before anything else (N5).
    pub(crate) secret: bool,
}

/// That the client knows the secret of this name, the empty one for the one without; it proves
/// first (N5).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientProof {
    pub(crate) name: String,
    pub(crate) proof: [u8; 32],
}

/// That the server knows it too.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerProof(pub(crate) [u8; 32]);

/// Begins or resumes a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) resume: Option<Resume>,
    /// Who the client is, for people (C12). `site` is not sent.
    pub(crate) party: ProcessInfo,
    /// The lease the client would like for its session.
    pub(crate) lease: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The session's number and secret.
    pub(crate) realm: u32,
    pub(crate) secret: [u8; 16],
    /// The life of the server that the session was last connected to.
    pub(crate) server: [u8; 16],
    /// The server's frames up to this one have been applied.
    pub(crate) received: u64,
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume").field("realm", &self.realm).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientProof").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof")
    }
}

/// The answer to [`Open`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) how: How,
    pub(crate) realm: u32,
    pub(crate) secret: [u8; 16],
    /// The client's frames up to this one have been applied; 0 unless `Resumed`.
    pub(crate) applied: u64,
    /// The longest frame that the server takes.
    pub(crate) max_frame: u32,
    /// How long the server keeps a silent session; for a session on this machine (N1 b), how long
    /// it keeps one whose connection has ended although the process lives.
    pub(crate) lease: Duration,
    /// Whether the session is kept by its lease (N1 c): it has to be renewed.
    pub(crate) renews: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("how", &self.how)
            .field("realm", &self.realm)
            .field("applied", &self.applied)
            .field("lease", &self.lease)
            .field("renews", &self.renews)
            .finish_non_exhaustive()
    }
}

/// What has become of the session that was to be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A new session: none was to be resumed, or it is over, and all it held is lost.
    New,
    /// It goes on where it was.
    Resumed,
    /// The server has been restarted and has the session's holds from its journal. Frames are
    /// numbered anew in both directions, and the client's first one is `Holding`.
    Restored,
}

/// Instead of [`Opened`], or of a [`ServerHello`]; then the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) why: Why,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Not this version, but these.
    Version(Versions),
    /// No or a wrong proof, or a user who is not let in.
    Unauthorized,
    /// Too many connections or sessions.
    LimitExceeded,
    /// The server is going, or not yet there.
    Unavailable,
    /// What was said makes no sense.
    Protocol,
}
