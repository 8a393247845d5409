//! The conformance kit, with a rival and with other processes.

use std::process::Command;
use std::time::Duration;

use locks_conformance::{Fixture, conformance, serve};
use locks_core::Backend;
use locks_engines::redis::Redis;

use super::server::Server;

const LONGEST: Duration = Duration::from_secs(3600);
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
