//! The storm: processes that are killed and stopped, at a server that is killed and stopped.

use std::thread;
use std::time::Duration;

use super::child::peer;
use super::server::Server;
use super::support::storm::rage;

#[test]
fn a_storm_of_processes_and_restarts_grants_nothing_twice() {
    let mut server = Server::start();
    let pause = |server: &mut Server| {
        server.process.signal("-STOP");
        thread::sleep(Duration::from_millis(700));
        server.process.signal("-CONT");
    };
    let start = |server: &Server, role: &str| peer(&server.member(), "storm", role);
    rage(&mut server, start, [Server::restart, pause]);
}
