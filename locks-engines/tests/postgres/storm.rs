//! The storm: processes that are killed and stopped, at a server that is killed and started again,
//! and that ends their connections.

use super::child::peer;
use super::server::Server;
use super::support::storm::rage;

#[test]
fn a_storm_of_processes_and_restarts_grants_nothing_twice() {
    let mut server = Server::start();
    let restart = |server: &mut Server| {
        server.kill();
        server.start_again();
    };
    let cut = |server: &mut Server| {
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'locks'");
    };
    rage(&mut server, |server, role| peer(server, "locks", role), [restart, cut]);
}
