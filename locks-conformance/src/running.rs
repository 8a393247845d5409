use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::subject::Subject;

/// A thread whose end is waited for, but not for ever.
#[derive(Debug)]
pub(super) struct Running<T> {
    name: String,
    patience: Duration,
    output: Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Running<T> {
    pub(super) fn start(
        name: &str,
        patience: Duration,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let (sender, output) = channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Nobody may be listening any more: then the case has failed already.
                let _ = sender.send(body());
            })
            .expect("the system has a thread to spare");
        Self { name: name.to_owned(), patience, output, thread }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it returns, while the arbiter's time goes on.
    #[track_caller]
    pub(super) fn finish_in_time(self, subject: &Subject) -> T {
        let start = Instant::now();
        while !self.is_finished() && start.elapsed() < self.patience {
            subject.advance(subject.tick());
            thread::park_timeout(Duration::from_millis(1));
        }
        self.finish()
    }

    /// What it returns.
    ///
    /// # Panics
    /// With its panic, and if it hangs; then the thread is left to itself.
    #[track_caller]
    pub(super) fn finish(self) -> T {
        match self.output.recv_timeout(self.patience) {
            Ok(output) => {
                // Its thread-locals end with it: what follows finds the thread gone.
                let _ = self.thread.join();
                output
            }
            Err(RecvTimeoutError::Timeout) => panic!("`{}` hangs", self.name),
            Err(RecvTimeoutError::Disconnected) => match self.thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => unreachable!("it sends before it ends"),
            },
        }
    }
}
