//! Other processes at a server of ours.

use std::time::Duration;

use super::server::{Server, builder};
use super::support::peer::{self, Peer};
use super::support::storm;

/// Starts a process that does what `role` says, in this schema.
pub(crate) fn peer(server: &Server, schema: &str, role: &str) -> Peer {
    Peer::start(&format!("{} {schema}", server.port), role)
}

/// What a peer does; as a test of its own it has nothing to do.
#[test]
fn play() {
    let Some(role) = peer::role() else { return };
    let server = std::env::var(peer::SERVER).expect("its server");
    let (port, schema) = server.split_once(' ').expect("port and schema");
    let builder = builder(port.parse().expect("a port")).schema(schema);
    if let Some(account) = role.strip_prefix("storm ") {
        let client = builder.lease(storm::LEASE).build().expect("a client");
        return storm::take_part(&client.into_backend(), account.as_ref());
    }
    let client = builder.lease(Duration::from_secs(3)).build().expect("a client");
    peer::play(&role, &client.into_backend());
}
