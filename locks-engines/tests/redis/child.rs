//! Other processes at a server of ours.

use std::time::Duration;

use locks_engines::redis::Redis;

use super::server::Server;
use super::support::peer::{self, Peer};
use super::support::storm;

/// Starts a process that does what `role` says, at this server.
pub(crate) fn peer(server: &Server, role: &str) -> Peer {
    Peer::start(&server.port.to_string(), role)
}

/// What a peer does; as a test of its own it has nothing to do.
#[test]
fn play() {
    let Some(role) = peer::role() else { return };
    let server = std::env::var(peer::SERVER).expect("its server");
    // Ports; of Sentinels, if those words say so.
    let (ports, sentinels) = match server.strip_prefix("sentinels ") {
        Some(ports) => (ports, true),
        None => (server.as_str(), false),
    };
    let mut ports = ports.split(',').map(|port| port.parse::<u16>().expect("a port"));
    let mut builder = Redis::builder("127.0.0.1", ports.next().expect("a first one"));
    for port in ports {
        builder = builder.or_node("127.0.0.1", port);
    }
    if sentinels {
        builder = builder.sentinel(super::sentinel::NAME);
    }
    if let Some(account) = role.strip_prefix("storm ") {
        // A server that comes back has lost what it granted, and is not to take that for new.
        let client = builder.lease(storm::LEASE).build().expect("a client");
        return storm::take_part(&client.into_backend(), account.as_ref());
    }
    let builder = builder.fresh(true).lease(Duration::from_secs(3));
    peer::play(&role, &builder.build().expect("a client").into_backend());
}
