//! The client at the other end of a connection, as far as the connection tells.

use std::net::IpAddr;

use crate::access::Access;
use crate::journal::SessionKind;
use crate::secret::Proving;

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
