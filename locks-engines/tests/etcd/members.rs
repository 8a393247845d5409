//! Clusters of three members.

use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;
use locks_engines::etcd::Etcd;

use super::server::{Ports, Server};
use super::support::until;

/// Longer than an election takes, on a busy machine too.
const LEASE: Duration = Duration::from_secs(20);

struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Self {
        // A port may be taken between its being found and being used.
        for _ in 0..10 {
            let ports = [Ports::free(), Ports::free(), Ports::free()];
            let names = ["a", "b", "c"];
            let all = names.iter().zip(ports).map(|(name, at)| format!("{name}={}", at.peer_url()));
            let all = all.collect::<Vec<_>>().join(",");
            let arguments = ["--initial-cluster", all.as_str()];
            let start = |(name, at): (&&str, Ports)| Server::launch(at, name, &arguments);
            let mut members: Vec<Server> = names.iter().zip(ports).map(start).collect();
            if members.iter_mut().all(Server::answers) {
                return Self(members);
            }
        }
        panic!("no cluster came up");
    }

    fn client(&self) -> Backend {
        // With time to connect, on a busy machine.
        let members = self.0.iter().map(Server::member);
        Etcd::builder(members).lease(LEASE).connect(LEASE).build().expect("a client").into_backend()
    }

    /// The number of the member that leads.
    fn leader(&self) -> Option<usize> {
        self.0.iter().position(Server::leads)
    }
}

#[test]
fn holders_keep_their_locks_when_the_leader_is_killed() {
    let mut cluster = Cluster::start();
    let (ours, theirs) = (cluster.client(), cluster.client());
    let guards: Vec<_> =
        ["a", "b", "c"].map(|key| ours.named(key).acquire().unwrap()).into_iter().collect();
    let waiter = {
        let theirs = theirs.clone();
        thread::spawn(move || theirs.named("a").wait(LEASE * 3).acquire().unwrap().token())
    };
    let leader = cluster.leader().expect("one of them leads");
    cluster.0[leader].process.kill();
    let killed = Instant::now();
    // Another one leads, and both clients have found it.
    until(|| match theirs.named("new").wait(LEASE).acquire() {
        Ok(new) => guards.iter().all(|guard| guard.token() < new.token()),
        Err(_) => false,
    });
    // Longer than a lease, so that all have been renewed since.
    while killed.elapsed() < LEASE + LEASE / 10 {
        for guard in &guards {
            guard.check().unwrap();
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(theirs.named("b").wait(false).acquire().unwrap_err().is_contended());
    let before = guards[0].token();
    drop(guards);
    assert!(waiter.join().unwrap() > before);
}

#[test]
fn members_that_are_dead_or_still_learn_are_passed_by() {
    let mut cluster = Cluster::start();
    cluster.0[0].process.kill();
    let ours = cluster.client();
    drop(ours.named("k").wait(LEASE).acquire().unwrap());
    // A member that has no vote yet, and answers nothing.
    let server = Server::start();
    let ports = Ports::free();
    let peer = ports.peer_url();
    server.command(&["member", "add", "pupil", "--learner", "--peer-urls", &peer]);
    let all = format!("default={},pupil={peer}", server.peer_url());
    let words = ["--initial-cluster", all.as_str(), "--initial-cluster-state", "existing"];
    let pupil = Server::launch(ports, "pupil", &words);
    until(|| std::net::TcpStream::connect(pupil.member()).is_ok());
    let both = Etcd::builder([pupil.member(), server.member()]).connect(LEASE);
    let ours = both.build().unwrap().into_backend();
    drop(ours.named("k").wait(LEASE).acquire().unwrap());
    let alone = Etcd::builder([pupil.member()]).connect(Duration::from_secs(5)).build().unwrap();
    let error = alone.into_backend().named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), locks_core::ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("learner"), "{error}");
}

#[test]
fn without_a_majority_nothing_is_granted_and_with_it_all_goes_on() {
    let mut cluster = Cluster::start();
    let ours = cluster.client();
    let guard = ours.named("k").acquire().unwrap();
    let leader = cluster.leader().expect("one of them leads");
    let other = (leader + 1) % 3;
    for member in [leader, other] {
        cluster.0[member].process.kill();
    }
    let error = ours.named("free").wait(Duration::from_millis(500)).acquire().unwrap_err();
    assert_eq!(error.kind(), locks_core::ErrorKind::Unavailable, "{error}");
    cluster.0[other].start_again();
    until(|| ours.named("free").wait(Duration::from_secs(5)).acquire().is_ok());
    guard.check().unwrap();
    guard.release().unwrap();
}
