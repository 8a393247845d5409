//! The conformance kit, with a rival and with other processes, and the kit of stores.
//!
//! etcd counts leases in whole seconds, so the cases wait for long; they do so beside each other,
//! in one test that names those which fail. `LOCKS_TEST_CASES` chooses by a part of their names.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use locks_conformance::{Case, Fixture, StoreCase, StoreFixture, serve};
use locks_core::{Backend, LeaseStore, Leased};
use locks_engines::etcd::{Etcd, EtcdBuilder};

use super::server::{Server, namespace};
use super::support::until;

const PLACE: &str = "LOCKS_TEST_ETCD_PLACE";
/// How many cases run beside each other: nearly all of them sleep.
const BESIDE: usize = 24;
/// What takes time is up to half a second late, and on a busy machine some more.
const TICK: Duration = Duration::from_millis(350);
/// After so long a client that has connected knows the time well.
const SETTLED: Duration = Duration::from_millis(1500);
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

struct Clients {
    server: Arc<Server>,
    namespace: String,
    ours: Backend,
    theirs: Backend,
}

struct Stores {
    ours: Arc<dyn LeaseStore>,
    theirs: Arc<dyn LeaseStore>,
    builder: Box<dyn Fn() -> EtcdBuilder + Send + Sync>,
    _server: Arc<Server>,
}

impl Clients {
    fn fresh() -> Self {
        let (server, namespace) = (Server::shared(), namespace());
        let client = || server.client(&namespace);
        let (ours, theirs) = (client(), client());
        for client in [&ours, &theirs] {
            until(|| client.list().is_ok());
        }
        thread::sleep(SETTLED);
        Self { ours, theirs, server, namespace }
    }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn tick(&self) -> Duration {
        TICK
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn passes_over_late_waiters(&self) -> bool {
        true
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }

    fn child(&self) -> Option<Command> {
        let mut child = Command::new(std::env::current_exe().ok()?);
        child.args(["--exact", "conformance::serve_the_kit", "--nocapture"]);
        child.env(PLACE, format!("{} {}", self.server.member(), self.namespace));
        Some(child)
    }

    fn restart(&self) -> Option<Backend> {
        Some(self.server.client(&self.namespace))
    }

    fn crowd(&self) -> usize {
        20
    }
}

impl Stores {
    fn fresh() -> Self {
        let (server, namespace) = (Server::shared(), namespace());
        let member = server.member();
        let builder = move || {
            let builder = Etcd::builder([member.clone()]).namespace(namespace.clone());
            builder.connect(PATIENCE / 2)
        };
        let store = || builder().into_store().expect("a client");
        let (ours, theirs) = (store(), store());
        for store in [&ours, &theirs] {
            let backend = Leased::new(store.clone()).into_backend();
            until(|| backend.list().is_ok());
        }
        thread::sleep(SETTLED);
        Self { ours, theirs, builder: Box::new(builder), _server: server }
    }
}

impl StoreFixture for Stores {
    fn store(&self) -> Arc<dyn LeaseStore> {
        self.ours.clone()
    }

    fn rival(&self) -> Arc<dyn LeaseStore> {
        self.theirs.clone()
    }

    fn tick(&self) -> Duration {
        // Leases end a second later than all else.
        2 * TICK
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn restart(&self) -> Option<Arc<dyn LeaseStore>> {
        Some((self.builder)().into_store().expect("a client"))
    }
}

/// The other end of [`Fixture::child`]; as a test of its own it has nothing to do.
#[test]
fn serve_the_kit() {
    if let Ok(place) = std::env::var(PLACE) {
        let (member, namespace) = place.split_once(' ').expect("a member and a namespace");
        let client = Etcd::builder([member]).namespace(namespace).connect(PATIENCE / 2).build();
        serve(&client.expect("a client").into_backend()).expect("the kit listens");
    }
}

/// Runs all of `cases` that were asked for; panics with the names of those that failed.
fn run_all<C: Sync>(cases: &[C], name: fn(&C) -> &'static str, run: impl Fn(&C) + Sync) {
    let chosen = std::env::var("LOCKS_TEST_CASES").unwrap_or_default();
    let cases: Vec<&C> = cases.iter().filter(|case| name(case).contains(&chosen)).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let _server = Server::shared();
    thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| run(case))).is_err() {
                        failed.lock().unwrap().push(name(case));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}

#[test]
fn the_backend_passes_the_kit() {
    run_all(Case::all(), Case::name, |case| case.run_fresh(|| Arc::new(Clients::fresh())));
}

#[test]
fn the_store_passes_the_kit_of_stores() {
    let run = |case: &StoreCase| case.run(Arc::new(Stores::fresh()));
    run_all(StoreCase::all(), StoreCase::name, run);
}

#[test]
fn c6_a_thief_is_told_whom_it_has_robbed() {
    let clients = Clients::fresh();
    let victim = clients.ours.named("k").label("batch 7").acquire().unwrap();
    let thief =
        clients.theirs.named("k").steal_after(Duration::from_millis(100)).acquire().unwrap();
    let robbed = thief.stolen_from();
    let robbed = robbed.iter().map(|robbed| (robbed.token, robbed.label.as_deref()));
    assert_eq!(robbed.collect::<Vec<_>>(), [(Some(victim.token()), Some("batch 7"))]);
}
