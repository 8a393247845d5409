//! The conformance kit: two clients in this process and others in processes of their own, at a
//! server over a Unix socket, over TCP with a secret and with certificates, and at one that is a
//! process like the others.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use locks_conformance::{Fixture, conformance, serve};
use locks_core::Backend;
use locks_net::NetBackend;

use crate::directory::PATIENCE;
use crate::place::{Place, Serving, Told, Way, status};
use crate::program::program;

struct Clients {
    own: NetBackend,
    ours: Backend,
    theirs: Backend,
    server: Mutex<Option<Serving>>,
    place: Place,
}

impl Clients {
    fn new(way: Way) -> Self {
        // So that what was killed does not stay for longer than a case has patience.
        let place = Place::with_limits(way, "lease=1000");
        let server = Mutex::new(Some(place.start()));
        let own = place.client();
        Self { ours: Backend::new(own.clone()), theirs: place.backend(), own, server, place }
    }
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
        self.place.told().tell(&mut command);
        Some(command)
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn live_keys(&self) -> Option<usize> {
        Some(usize::try_from(status(&self.own).unwrap().keys).unwrap())
    }

    fn hang(&self, hangs: bool) -> bool {
        let server = self.server.lock().unwrap();
        let server = server.as_ref().expect("it serves");
        if hangs {
            server.stop()
        } else {
            server.go_on()
        }
        true
    }

    fn restart(&self) -> Option<Backend> {
        let mut server = self.server.lock().unwrap();
        server.take().expect("it serves").kill();
        // Of a machine's processes any can take over, this one too.
        if self.place.told().way != Way::Machine {
            *server = Some(self.place.start());
        }
        Some(self.place.backend())
    }
}

pub(crate) fn serve_the_kit() {
    serve(&Backend::new(Told::heard().client())).unwrap();
}

conformance!(unix, || Clients::new(Way::Unix));
conformance!(tcp, || Clients::new(Way::Tcp));
conformance!(certified, || Clients::new(Way::Certified));
conformance!(machine, || Clients::new(Way::Machine));
