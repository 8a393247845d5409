//! Other processes at a server of ours.

use std::time::Duration;

use locks_core::Backend;
use locks_engines::etcd::Etcd;

use super::support::peer::{self, Peer};
use super::support::storm;

/// Starts a process that does what `role` says, at these members and in this namespace.
pub(crate) fn peer(members: &str, namespace: &str, role: &str) -> Peer {
    Peer::start(&format!("{members} {namespace}"), role)
}

/// A client of the members and in the namespace that are named.
pub(crate) fn client(place: &str) -> Backend {
    with_lease(place, LEASE)
}

fn with_lease(place: &str, lease: Duration) -> Backend {
    let (members, namespace) = place.split_once(' ').expect("members and a namespace");
    let builder = Etcd::builder(members.split(',')).namespace(namespace).lease(lease);
    builder.build().expect("a client").into_backend()
}

pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// What a peer does; as a test of its own it has nothing to do.
#[test]
fn play() {
    let Some(role) = peer::role() else { return };
    let place = std::env::var(peer::SERVER).expect("its server");
    match role.strip_prefix("storm ") {
        Some(account) => {
            storm::take_part(&with_lease(&place, storm::LEASE), account.as_ref());
        }
        None => peer::play(&role, &client(&place)),
    }
}
