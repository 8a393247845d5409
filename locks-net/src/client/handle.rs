//! What all clones of a backend share: how to reach the server, and the link to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{BackendInfo, BootClock, ErrorKind, Exclusion, LockError, ProcessInfo};

use super::Dial;
use super::generation::Generation;
use super::link::Link;
use super::session::SessionSetup;

/// What all clones of a [`NetBackend`](super::NetBackend) share.
pub(super) struct BackendHandle {
    pub(super) about: BackendInfo,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) lease: Option<Duration>,
    pub(super) connect: Duration,
    pub(super) label: Option<String>,
    pub(super) process: Option<String>,
    pub(super) generation: Generation,
}

impl BackendHandle {
    /// The connection of this process, once the first of its calls has made one.
    pub(super) fn link(&self) -> Result<&Arc<Link>, LockError> {
        self.generation.link(|numbers_after| {
            let setup = SessionSetup {
                name: self.about.name.clone(),
                clock: Arc::new(BootClock),
                party: self.party(),
                lease: self.lease,
                connect: self.connect,
                random: Box::new(fill),
            };
            Link::new(self.dial.clone(), setup, numbers_after).map_err(|error| {
                let why = format!("the system has nothing left for a connection: {error}");
                LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
            })
        })
    }

    /// This process, as others see it.
    fn party(&self) -> ProcessInfo {
        let mut party = ProcessInfo::default();
        party.label.clone_from(&self.label);
        party.pid = Some(std::process::id());
        party.process = self.process.clone().or_else(|| {
            let program = std::env::args_os().next().map(PathBuf::from)?;
            Some(program.file_name()?.to_string_lossy().into_owned())
        });
        if self.about.capabilities.exclusion == Exclusion::Lease {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            party.host = Some(host);
        }
        party
    }
}

/// For nonces: whoever connects has seen before that there is randomness.
fn fill(bytes: &mut [u8]) {
    let random = crate::secret::random::<32>().expect("the system has given random numbers before");
    bytes.iter_mut().zip(random).for_each(|(byte, random)| *byte = random);
}

impl Drop for BackendHandle {
    fn drop(&mut self) {
        if let Some(link) = self.generation.existing() {
            link.close();
        }
    }
}
