//! The conformance kit, with a rival and with other processes.

use std::process::Command;
use std::time::Duration;

use std::sync::Arc;

use locks_conformance::{Fixture, StoreFixture, conformance, lease_store, serve};
use locks_core::{Backend, LeaseStore, Query};

use super::server::{builder, schema, shared};
use super::support::until;

const LONGEST: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);
const SERVER: &str = "LOCKS_TEST_POSTGRES_OF_KIT";

struct Clients {
    schema: String,
    ours: Backend,
    theirs: Backend,
}

/// A client whose requests may ask for any lease that a case of the kit needs.
fn client(port: u16, schema: &str) -> Backend {
    // However busy the machine is: the schemas of others are made at the same time.
    let builder = builder(port).schema(schema).lease(LONGEST).connect(Duration::from_secs(30));
    let backend = builder.build().expect("a client").into_backend();
    // It connects now, and not in what a case measures.
    until(|| backend.list().is_ok());
    backend
}

fn fresh() -> Clients {
    let (schema, port) = (schema(), shared().port);
    Clients { ours: client(port, &schema), theirs: client(port, &schema), schema }
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
        child.env(SERVER, format!("{} {}", shared().port, self.schema));
        Some(child)
    }

    fn restart(&self) -> Option<Backend> {
        Some(client(shared().port, &self.schema))
    }
}

/// The other end of [`Fixture::child`]; as a test of its own it has nothing to do.
#[test]
fn serve_the_kit() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let (port, schema) = server.split_once(' ').expect("port and schema");
    serve(&client(port.parse().expect("a port"), schema)).expect("the kit listens");
}

conformance!(postgres, fresh);

struct Stores {
    ours: Arc<dyn LeaseStore>,
    theirs: Arc<dyn LeaseStore>,
    schema: String,
}

fn fresh_stores() -> Stores {
    let (schema, port) = (schema(), shared().port);
    let store = || {
        let store = builder(port).schema(&schema).lease(LONGEST).into_store().expect("a store");
        // It connects now, and not in what a case measures.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let listed = runtime.block_on(store.list(&Query::Prefix(String::new())));
        assert!(listed.expect("it answers").is_empty());
        store
    };
    Stores { ours: store(), theirs: store(), schema }
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
        let builder = builder(shared().port).schema(&self.schema).lease(LONGEST);
        Some(builder.into_store().expect("a store"))
    }
}

lease_store!(store, fresh_stores);
