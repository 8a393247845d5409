//! The storm: processes that are killed and stopped, at a server that is killed and stopped.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use super::child::peer;
use super::faults::signal;
use super::server::Server;
use super::support::process::Directory;
use super::support::storm::{assert_right, length};

const PROCESSES: usize = 4;

#[test]
fn a_storm_of_processes_and_restarts_grants_nothing_twice() {
    let length = length(8);
    let mut server = Server::start();
    let directory = Directory::new("storm");
    let account = directory.path().join("account");
    File::create(&account).expect("an account");
    // Each line is one `write` to a file that is appended to, so no two mix.
    let role = format!("storm {}", account.display());
    let start = |server: &Server| peer(&server.member(), "storm", &role);
    let mut peers: Vec<_> = (0..PROCESSES).map(|_| start(&server)).collect();
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < length {
        round += 1;
        thread::sleep(Duration::from_millis(900));
        match round % 4 {
            0 => server.restart(),
            1 => {
                peers.remove(0).kill();
                peers.push(start(&server));
            }
            2 => {
                // For longer than its lease.
                signal(peers[1].pid(), "-STOP");
                thread::sleep(Duration::from_millis(2800));
                signal(peers[1].pid(), "-CONT");
            }
            _ => {
                server.process.signal("-STOP");
                thread::sleep(Duration::from_millis(700));
                server.process.signal("-CONT");
            }
        }
    }
    drop(peers);
    assert_right(&account);
}
