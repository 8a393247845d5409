//! Connections that have not opened a session, where there is no room for all of them (N5, N6).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::connection::ConnectionState;
use super::{Arbiter, ConnId, Peer};
use crate::wire::Why;

/// Clients that mean to open a session have done so by then, where there is no room for others.
const GREETING: Duration = Duration::from_secs(1);

impl Arbiter {
    /// There is no room for another connection: one that has had time to say who it is makes some,
    /// if there is one.
    pub(crate) fn make_room(&mut self) {
        let now = self.now();
        let is_slow = |connection: &ConnectionState| {
            connection.busy_since.is_some_and(|since| since.after(GREETING) <= now)
        };
        if let Some(least) = self.least_welcome(is_slow) {
            self.reject_newcomer(least);
        }
    }

    /// There are too many who have not said who they are.
    pub(super) fn reject_newcomer(&mut self, id: ConnId) {
        let why =
            "the lock server has too many connections that have not opened a session (`newcomers`)";
        self.reject(id, Why::LimitExceeded, why.into());
    }

    /// Which of those that may go goes first: the oldest one of the busiest address, and nobody
    /// from where somebody was let in lately while there are others. So one address cannot push out
    /// the clients of another one.
    pub(super) fn least_welcome(
        &self,
        may_go: impl Fn(&ConnectionState) -> bool,
    ) -> Option<ConnId> {
        let newcomers = self.newcomers.iter();
        let newcomers = newcomers.filter_map(|id| Some((*id, self.connections.get(id)?)));
        let newcomers = newcomers.filter(|(_, connection)| may_go(connection));
        let newcomers = newcomers.map(|(id, it)| (id, is_known(&it.peer), place(&it.peer)));
        let mut newcomers = newcomers.collect::<Vec<_>>();
        if newcomers.iter().any(|(_, is_known, _)| !is_known) {
            newcomers.retain(|(_, is_known, _)| !is_known);
        }
        let mut counts = HashMap::new();
        for (.., place) in &newcomers {
            *counts.entry(*place).or_insert(0_usize) += 1;
        }
        let busiest = counts.values().copied().max()?;
        newcomers.iter().find(|(.., place)| counts[place] == busiest).map(|(id, ..)| *id)
    }
}

/// Whether somebody from there was let in lately. From this machine only users come whom the server
/// lets in.
fn is_known(peer: &Peer) -> bool {
    peer.is_familiar || peer.from.is_none()
}

/// What counts as one address: with IPv6 everybody has a network of 64 bits.
fn place(peer: &Peer) -> Option<IpAddr> {
    peer.from.map(|from| match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    })
}
