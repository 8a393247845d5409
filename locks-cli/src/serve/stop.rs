//! Signals: the first asks the server to stop, a second ends it at once. HUP does neither: it has
//! the log opened anew, and who may come in over TCP read anew.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use locks::net::Server;
use rustix::process::Signal;
use signal_hook::iterator::Signals;

use super::clients::OnTcp;
use super::log::Log;
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
    pub(super) fn listen(inherited: &Inherited, log: Arc<Log>, on_tcp: OnTcp) -> io::Result<Self> {
        // One that is started by `nohup` is not ended by HUP either way.
        let hears = |signal| signal == Signal::HUP || !inherited.ignores(signal);
        let heard = HEARD.into_iter().filter(|signal| hears(*signal));
        let mut signals = Signals::new(heard.map(Signal::as_raw))?;
        let server = Arc::new(OnceLock::<Arc<Server>>::new());
        let told = Arc::clone(&server);
        let stopped = Arc::clone(&server);
        thread::Builder::new().name("signals".into()).spawn(move || {
            // A terminal that goes away, or somebody who has rotated the log: it goes on.
            let mut signals = signals.forever().filter(|signal| {
                let hangs_up = *signal == Signal::HUP.as_raw();
                if hangs_up {
                    log.reopen();
                    if let Some(server) = told.get() {
                        on_tcp.read_anew(server);
                    }
                }
                !hangs_up
            });
            let first = signals.next();
            let stopping = stopped.get().map(|server| {
                let server = Arc::clone(server);
                ready::tell_stopping();
                thread::spawn(move || server.stop())
            });
            // Without a server there is nothing to put in order.
            let last = if stopping.is_some() { signals.next() } else { first };
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
