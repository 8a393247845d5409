//! The conformance kit, with a rival and with other processes.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use locks_conformance::{Fixture, StoreFixture, conformance, lease_store, serve};
use locks_core::{Backend, LeaseStore, Query};
use locks_engines::redis::Redis;

use super::server::Server;

const LONGEST: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);
const PORT: &str = "LOCKS_TEST_REDIS_PORT";

struct Clients {
    server: Server,
    ours: Backend,
    theirs: Backend,
}

/// A client whose requests may ask for any lease that a case of the kit needs.
fn client(server: &Server) -> Redis {
    server.builder().lease(LONGEST).build().expect("a client")
}

fn fresh() -> Clients {
    let server = Server::start();
    let client = || client(&server).into_backend();
    Clients { ours: client(), theirs: client(), server }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(40)
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(2)
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
        child.env(PORT, self.server.port.to_string());
        Some(child)
    }

    fn restart(&self) -> Option<Backend> {
        Some(client(&self.server).into_backend())
    }
}

/// The other end of [`Fixture::child`]; as a test of its own it has nothing to do.
#[test]
fn serve_the_kit() {
    if let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) {
        let client = Redis::builder("127.0.0.1", port).fresh(true).lease(LONGEST).build();
        serve(&client.expect("a client").into_backend()).expect("the kit listens");
    }
}

conformance!(redis, fresh);

struct Stores {
    server: Server,
    ours: Arc<dyn LeaseStore>,
    theirs: Arc<dyn LeaseStore>,
}

fn store_at(server: &Server) -> Arc<dyn LeaseStore> {
    server.builder().lease(LONGEST).into_store().expect("a store")
}

fn fresh_stores() -> Stores {
    let server = Server::start();
    let store = || {
        let store = store_at(&server);
        // It connects now, and not in what a case measures.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let listed = runtime.block_on(store.list(&Query::Prefix(String::new())));
        assert!(listed.expect("it answers").is_empty());
        store
    };
    Stores { ours: store(), theirs: store(), server }
}

impl StoreFixture for Stores {
    fn store(&self) -> Arc<dyn LeaseStore> {
        self.ours.clone()
    }

    fn rival(&self) -> Arc<dyn LeaseStore> {
        self.theirs.clone()
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(40)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn restart(&self) -> Option<Arc<dyn LeaseStore>> {
        Some(store_at(&self.server))
    }
}

lease_store!(store, fresh_stores);
