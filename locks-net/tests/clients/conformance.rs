//! The conformance kit: two clients of a server in this process, and others in processes of their own.

use std::process::Command;
use std::sync::Mutex;

use locks_core::conformance::{Fixture, serve};
use locks_core::{Backend, conformance};
use locks_net::{NetBackend, Server};

use crate::place::{Place, secret};
use crate::program::program;

/// Where a child finds the server.
const SERVER: &str = "LOCKS_NET_SERVER";

struct Clients {
    ours: Backend,
    theirs: Backend,
    address: String,
    server: Mutex<Server>,
    place: Place,
}

impl Clients {
    fn unix() -> Self {
        let place = Place::new();
        let server = place.serve();
        let address = place.socket().into_os_string().into_string().unwrap();
        Self::of(address, server, place)
    }

    fn tcp() -> Self {
        let place = Place::new();
        let (server, address) = place.serve_tcp();
        Self::of(address, server, place)
    }

    fn of(address: String, server: Server, place: Place) -> Self {
        let (ours, theirs) = (client(&address), client(&address));
        Self { ours, theirs, address, server: Mutex::new(server), place }
    }
}

fn client(address: &str) -> Backend {
    let builder = match address.starts_with('/') {
        true => NetBackend::unix(address),
        false => NetBackend::tcp(address, secret()),
    };
    builder.build().unwrap().into_backend()
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }

    fn child(&self) -> Option<Command> {
        let mut command = program("kit");
        command.env(SERVER, &self.address);
        Some(command)
    }

    fn restart(&self) -> Option<Backend> {
        let mut server = self.server.lock().unwrap();
        server.stop();
        let address;
        (*server, address) = match self.address.starts_with('/') {
            true => (self.place.serve(), self.address.clone()),
            false => self.place.serve_tcp(),
        };
        Some(client(&address))
    }
}

pub(crate) fn serve_the_kit() {
    serve(&client(&std::env::var(SERVER).unwrap())).unwrap();
}

conformance!(unix, Clients::unix);
conformance!(tcp, Clients::tcp);
