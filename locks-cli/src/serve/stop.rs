//! Signals: the first asks the server to stop, a second ends it at once. HUP does neither.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use locks::net::Server;
use rustix::process::Signal;
use signal_hook::iterator::Signals;

use super::ready;
use crate::inherited::Inherited;

const HEARD: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// What listens to signals.
pub(super) struct Stop {
    /// Empty until the server listens.
    server: Arc<OnceLock<Arc<Server>>>,
}

impl Stop {
    /// From now on signals come here.
    pub(super) fn listen(inherited: &Inherited) -> io::Result<Self> {
        let heard = HEARD.into_iter().filter(|signal| !inherited.ignores(*signal));
        let mut signals = Signals::new(heard.map(Signal::as_raw))?;
        let server = Arc::new(OnceLock::<Arc<Server>>::new());
        let told = Arc::clone(&server);
        thread::Builder::new().name("signals".into()).spawn(move || {
            let mut signals = signals.forever();
            // A terminal that goes away, or somebody who would have it read its settings again: it goes on.
            let first = signals.find(|signal| *signal != Signal::HUP.as_raw());
            let stopping = told.get().map(|server| {
                let server = Arc::clone(server);
                ready::tell_stopping();
                thread::spawn(move || server.stop())
            });
            // Without a server there is nothing to put in order.
            let mut second = || signals.find(|signal| *signal != Signal::HUP.as_raw());
            let last = if stopping.is_some() { second() } else { first };
            std::process::exit(128 | last.unwrap_or_default());
        })?;
        Ok(Self { server })
    }

    /// The server that is to be stopped.
    pub(super) fn tell(&self, server: Arc<Server>) {
        // It is told once.
        let _ = self.server.set(server);
    }
}
