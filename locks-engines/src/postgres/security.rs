//! What a client asks of its server beside locks: to lose nothing, and to be who it says.

use locks_core::{Capabilities, Exclusion, TokenScope, WaiterOrder};

/// The fate of holds when the server crashes, or a standby takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// They are lost, and nothing is granted for one lease. The fastest.
    #[default]
    Unlogged,
    /// They stand after a crash, and are lost when a standby takes over.
    Logged,
    /// They stand in either case: the server needs a synchronous standby.
    Replicated,
}

impl Durability {
    /// What the backend can do with it.
    pub(super) fn capabilities(self) -> Capabilities {
        let exclusion = match self {
            Self::Replicated => Exclusion::Lease,
            Self::Unlogged | Self::Logged => Exclusion::LeaseUnlessDataIsLost,
        };
        let mut can = Capabilities::plain(exclusion, TokenScope::Durable);
        can.order = WaiterOrder::All;
        (can.shared, can.permits, can.steal, can.bounds) = (true, true, true, true);
        (can.several_keys, can.listing, can.evict, can.ages) = (true, true, true, true);
        can
    }
}

/// The encryption of the connection, and the check of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Not encrypted.
    Off,
    /// Encrypted, with any certificate: protects against eavesdroppers, not against a server that
    /// pretends to be another. Where an [authority](super::PostgresBuilder::authority) is set, with
    /// one that it has signed, for any name.
    Unverified,
    /// Encrypted, with a certificate for the server's name by an authority that is trusted.
    Verified,
}
