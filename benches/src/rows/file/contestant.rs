//! Those that hand a lock from process to process, each as a process of its own sees it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use locks::{Backend, Guard};
use rustix::fs::{FlockOperation, flock};

use super::TIMEOUT;

/// A lock that several processes take in turn.
pub(super) trait Contestant {
    fn take(&mut self) -> io::Result<()>;
    fn give(&mut self) -> io::Result<()>;
}

/// One of them, by the name it has on a child's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// `flock`, which waits in the kernel and knows no timeout.
    Kernel,
    Ours,
    /// What one writes by hand for want of a timeout.
    Poller,
}

/// How long the poller sleeps between two looks.
pub(super) const POLL: Duration = Duration::from_millis(10);

impl Who {
    pub(super) const ALL: [(Self, &str); 3] =
        [(Self::Kernel, "kernel"), (Self::Ours, "ours"), (Self::Poller, "poller")];

    /// Its lock, in a file or files in `directory`.
    pub(super) fn open(self, directory: &Path) -> io::Result<Box<dyn Contestant>> {
        let file = |name| {
            let path = directory.join(name);
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        };
        Ok(match self {
            Self::Kernel => Box::new(Kernel(file("kernel")?)),
            Self::Ours => Box::new(Ours { backend: super::backend(directory), held: None }),
            Self::Poller => Box::new(Poller(file("poller")?)),
        })
    }
}

struct Kernel(File);

impl Contestant for Kernel {
    fn take(&mut self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::LockExclusive)?)
    }

    fn give(&mut self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::Unlock)?)
    }
}

struct Ours {
    backend: Backend,
    held: Option<Guard>,
}

impl Contestant for Ours {
    fn take(&mut self) -> io::Result<()> {
        self.held = Some(self.backend.named("ledger").wait(TIMEOUT).acquire()?);
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        self.held = None;
        Ok(())
    }
}

struct Poller(File);

impl Contestant for Poller {
    fn take(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.0.try_lock() {
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
                outcome => return outcome.map_err(io::Error::from),
            }
        }
    }

    fn give(&mut self) -> io::Result<()> {
        self.0.unlock()
    }
}
