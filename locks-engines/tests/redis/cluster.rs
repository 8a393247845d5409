//! Clusters, whose slots move from node to node, and whose nodes are killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use locks_core::{Backend, ErrorKind};
use locks_engines::LinkState;
use locks_engines::redis::{Redis, RedisBuilder};

use super::server::Server;
use super::support::peer::Peer;
use super::support::storm::{self, rage};
use super::support::{free_port, until};

/// Its nodes, and the slot of the namespace.
pub(super) struct Cluster(Vec<Server>, u32);

impl Cluster {
    /// Three primaries, each with so many replicas.
    fn start(replicas: usize) -> Self {
        Self::start_having(replicas, Vec::new)
    }

    /// The same with more settings, as on the command line.
    pub(super) fn start_having(replicas: usize, more: impl Fn() -> Vec<String>) -> Self {
        let node = || {
            Server::start_having(|| {
                let bus = free_port().to_string();
                let settings = [
                    ("--cluster-enabled", "yes"),
                    ("--cluster-port", &bus),
                    ("--cluster-node-timeout", "1500"),
                    ("--cluster-allow-replica-migration", "no"),
                ];
                settings
                    .into_iter()
                    .flat_map(|(name, of)| [name.to_owned(), of.to_owned()])
                    .chain(more())
                    .collect()
            })
        };
        let nodes: Vec<Server> = (0..3 * (replicas + 1)).map(|_| node()).collect();
        let all = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(all)
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| {
                panic!("`redis-cli` cannot be started ({error}): install the package redis-tools")
            });
        let said = String::from_utf8_lossy(&created.stdout);
        assert!(created.status.success(), "{said}");
        let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", "{locks}:m"]);
        let slot = slot.lines().next().and_then(|slot| slot.trim_start_matches(':').parse().ok());
        let cluster = Self(nodes, slot.expect("a number"));
        cluster.wait();
        cluster
    }

    /// Waits until all nodes agree, and replicas have what their primaries have.
    fn wait(&self) {
        for node in &self.0 {
            until(|| {
                let replication = node.command(&["INFO", "replication"]);
                node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && (replication.contains("role:master")
                        || replication.contains("master_link_status:up"))
            });
        }
        until(|| {
            let owners: Vec<_> = self.0.iter().map(|node| self.owner_by(node)).collect();
            owners[0].is_some() && owners.iter().all(|owner| *owner == owners[0])
        });
    }

    pub(super) fn builder(&self, node: usize) -> RedisBuilder {
        Redis::builder("127.0.0.1", self.0[node].at()).fresh(true)
    }

    fn client(&self, node: usize, lease: Duration) -> Backend {
        let builder = self.builder(node).lease(lease).connect(Duration::from_secs(10));
        builder.build().expect("a client").into_backend()
    }

    /// The port of the node that has the slot, as `node` has heard.
    fn owner_by(&self, node: &Server) -> Option<u16> {
        let slot = self.1;
        let nodes = node.command(&["CLUSTER", "NODES"]);
        nodes.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let has = words.iter().skip(8).any(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let (from, to) = (from.parse::<u32>(), to.parse::<u32>());
                from.is_ok_and(|from| from <= slot) && to.is_ok_and(|to| slot <= to)
            });
            let (_, port) = words.get(1)?.split('@').next()?.rsplit_once(':')?;
            (has && !words[2].contains("fail")).then(|| port.parse().ok()).flatten()
        })
    }

    /// The node that has the slot, and another primary.
    pub(super) fn owner_and_other(&self) -> (usize, usize) {
        let port = self.owner_by(&self.0[0]).expect("one has it");
        let is_primary =
            |node: &Server| node.command(&["INFO", "replication"]).contains("role:master");
        let owner = self.0.iter().position(|node| node.port == port).expect("it is ours");
        let other = (0..self.0.len()).find(|at| *at != owner && is_primary(&self.0[*at]));
        (owner, other.expect("there are three"))
    }

    fn id(&self, node: usize) -> String {
        self.0[node].command(&["CLUSTER", "MYID"]).lines().nth(1).expect("an id").to_owned()
    }

    /// Begins to move the slot.
    pub(super) fn begin_to_move(&self, from: usize, to: usize) {
        let slot = self.1.to_string();
        let ok = |answer: String| assert!(answer.starts_with("+OK"), "{answer}");
        ok(self.0[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]));
        ok(self.0[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]));
    }

    pub(super) fn move_keys(&self, from: usize, to: usize, keys: &[&str]) {
        let port = self.0[to].at().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
        let answer = self.0[from].command(&[&words[..], keys].concat());
        assert!(answer.starts_with("+OK") || answer.starts_with("+NOKEY"), "{answer}");
    }

    /// Moves what is left, and the slot with it.
    pub(super) fn end_move(&self, from: usize, to: usize) {
        let slot = self.1.to_string();
        loop {
            let answer = self.0[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            let keys: Vec<&str> = answer.lines().filter(|line| line.starts_with('{')).collect();
            if keys.is_empty() {
                break;
            }
            self.move_keys(from, to, &keys);
        }
        let id = self.id(to);
        for node in [to, from].into_iter().chain(0..self.0.len()) {
            self.0[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
        self.wait();
    }

    fn move_the_slot(&mut self) {
        let (from, to) = self.owner_and_other();
        self.begin_to_move(from, to);
        self.end_move(from, to);
    }

    /// Kills the node that has the slot, and has it come back once another one has taken over.
    fn kill_the_owner(&mut self) {
        let (owner, other) = self.owner_and_other();
        let before = Some(self.0[owner].port);
        self.0[owner].process.kill();
        until(|| {
            let now = self.owner_by(&self.0[other]);
            now.is_some() && now != before
        });
        self.0[owner].restart();
        self.wait();
    }
}

#[test]
fn a_namespace_is_found_by_any_node_and_kept_by_one() {
    let cluster = Cluster::start(0);
    let lease = Duration::from_secs(10);
    let clients: Vec<Backend> = (0..3).map(|node| cluster.client(node, lease)).collect();
    for (at, client) in clients.iter().enumerate() {
        let guard = client.all(["a", "b"]).acquire().unwrap();
        for other in &clients {
            assert_eq!(other.list().unwrap().len(), 2);
        }
        let other = &clients[(at + 1) % 3];
        assert!(other.named("a").wait(false).acquire().unwrap_err().is_contended());
        let waiter = {
            let other = other.clone();
            std::thread::spawn(move || other.named("b").acquire().unwrap().token())
        };
        until(|| client.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
        let token = guard.token();
        guard.release().unwrap();
        assert!(waiter.join().unwrap() > token);
    }
    let client = cluster.builder(0).build().unwrap();
    drop(client.clone().into_backend().named("c").acquire().unwrap());
    let LinkState::Connected { version } = client.state() else { panic!("{:?}", client.state()) };
    assert!(version.contains("of a cluster"), "{version}");
}

#[test]
fn a_slot_that_is_moved_costs_no_holder_its_lock() {
    const LEASE: Duration = Duration::from_secs(3);
    let cluster = Cluster::start(0);
    let (ours, theirs) = (cluster.client(0, LEASE), cluster.client(1, LEASE));
    let (moved, stays) =
        (ours.named("moved").acquire().unwrap(), ours.named("stays").acquire().unwrap());
    // One set whose keys come apart, and one whose keys stay together.
    let (apart, together) =
        (ours.all(["x1", "x2"]).acquire().unwrap(), ours.all(["y1", "y2"]).acquire().unwrap());
    let (from, to) = cluster.owner_and_other();
    cluster.begin_to_move(from, to);
    cluster.move_keys(from, to, &["{locks}:l:moved", "{locks}:l:x2"]);
    // Half of them are there, and half are here, for longer than a lease.
    let began = std::time::Instant::now();
    while began.elapsed() < LEASE * 2 {
        moved.check().unwrap();
        stays.check().unwrap();
        apart.check().unwrap();
        together.check().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    moved.refresh().unwrap();
    stays.refresh().unwrap();
    apart.refresh().unwrap();
    together.refresh().unwrap();
    let keys = || Vec::from_iter(theirs.list().unwrap().into_iter().map(|lock| lock.key));
    assert_eq!(keys(), ["moved", "stays", "x1", "x2", "y1", "y2"]);
    apart.release().unwrap();
    together.release().unwrap();
    moved.release().unwrap();
    assert_eq!(keys(), ["stays"]);
    cluster.end_move(from, to);
    stays.check().unwrap();
    let error = theirs.named("stays").wait(Duration::from_millis(10)).acquire().unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotConfigured, "{error}");
    let before = stays.token();
    stays.release().unwrap();
    // Granted once the node has been shut for a lease, above all that went before.
    let next = theirs.named("stays").wait(Duration::from_secs(60)).acquire().unwrap();
    assert!(next.token() > before);
}

#[test]
fn a_lock_that_is_at_a_node_that_hangs_costs_no_other_its_renewals() {
    const LEASE: Duration = Duration::from_secs(6);
    let cluster = Cluster::start(0);
    for node in &cluster.0 {
        // The slots of a node that is gone are not served, and the others are.
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let ours = cluster.client(0, LEASE);
    let (moved, stays) =
        (ours.named("moved").acquire().unwrap(), ours.named("stays").acquire().unwrap());
    let set = ours.all(["x1", "x2"]).acquire().unwrap();
    let (from, to) = cluster.owner_and_other();
    cluster.begin_to_move(from, to);
    cluster.move_keys(from, to, &["{locks}:l:moved", "{locks}:l:x2"]);
    cluster.0[to].process.signal("-STOP");
    until(|| {
        stays.check().unwrap();
        moved.is_lost() && set.is_lost()
    });
    // They were granted at about the same time, so this one would be lost by now.
    let began = std::time::Instant::now();
    while began.elapsed() < LEASE {
        stays.check().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    stays.release().unwrap();
    cluster.0[to].process.signal("-CONT");
}

#[test]
fn a_storm_of_moves_and_failovers_grants_nothing_twice() {
    let peer = |cluster: &Cluster, role: &str| {
        let ports: Vec<String> = cluster.0.iter().map(|node| node.port.to_string()).collect();
        Peer::start(&ports.join(","), role)
    };
    assert_eq!(storm::LEASE, Duration::from_secs(2));
    rage(&mut Cluster::start(1), peer, [Cluster::kill_the_owner, Cluster::move_the_slot]);
}

#[test]
fn several_servers_that_are_no_cluster_are_refused() {
    let (one, other) = (Server::start(), Server::start());
    let refusal = |builder: RedisBuilder| {
        let backend = builder.build().unwrap().into_backend();
        backend.named("k").wait(Duration::from_secs(2)).acquire().unwrap_err()
    };
    let error = refusal(one.builder().or_node("127.0.0.1", other.port));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("`?sentinel=`"), "{error}");
    let error = refusal(one.builder().database(4711));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("has no database of that number"), "{error}");
    let node = Server::start_having(|| {
        let bus = free_port().to_string();
        ["--cluster-enabled", "yes", "--cluster-port", &bus].map(str::to_owned).into()
    });
    let error = refusal(node.builder().database(1));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("has one database"), "{error}");
    // It belongs to no cluster yet.
    let error = refusal(node.builder());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
