//! One line that says how far the run is, on stderr.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::report::Thousands;

/// Shows how far a run is until it is finished.
pub(crate) struct Progress {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// `applied` counts how many of `all` transfers have been applied.
    pub(crate) fn show(all: usize, applied: impl Fn() -> usize + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let terminal = std::io::stderr().is_terminal();
        // A terminal's line is written over; a log gets a new one, and so fewer of them.
        let (every, before, after) = match terminal {
            true => (Duration::from_millis(50), "\r", ""),
            false => (Duration::from_secs(1), "", "\n"),
        };
        let thread = thread::spawn(move || {
            let say = || {
                let (applied, all) = (Thousands(applied()), Thousands(all));
                let mut stderr = std::io::stderr().lock();
                // Nobody can be told that telling failed.
                let _ = write!(stderr, "{before}{applied} of {all} transfers applied{after}");
                let _ = stderr.flush();
            };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                say();
            }
            say();
            if terminal {
                eprintln!();
            }
        });
        Self { stop, thread }
    }

    pub(crate) fn finish(self) {
        drop(self.stop);
        // It only prints; should it have panicked, the run is none the worse.
        let _ = self.thread.join();
    }
}
