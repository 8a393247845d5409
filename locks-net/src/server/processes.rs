use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::bell::{Bell, Source};
use super::descriptor::Descriptor;
use super::process;

/// The processes that keep sessions (N1 b). The kernel tells of their end, whatever becomes of their
/// sockets.
#[derive(Debug)]
pub(super) struct Processes {
    bell: Arc<Bell>,
    watched: HashMap<u32, Watched>,
}

#[derive(Debug)]
enum Watched {
    /// Readable once the process has ended. The waker is the one to be told.
    By(Descriptor, Waker),
    /// There is no descriptor to be had: they are looked at every now and then, and one is tried for again.
    Unseen { pid: u32, started: u64 },
    /// It is this process, whose end nobody here lives to see.
    Own,
}

impl Processes {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self { bell, watched: HashMap::new() }
    }

    /// Rings for the session when its process has ended. `false` if that is so already.
    pub(super) fn watch(&mut self, realm: u32, pid: u32, started: u64) -> bool {
        match self.look(realm, pid, started) {
            Some(watched) => {
                self.watched.insert(realm, watched);
                true
            }
            None => false,
        }
    }

    pub(super) fn unwatch(&mut self, realm: u32) {
        self.watched.remove(&realm);
    }

    /// Whether the process of this session has ended, after it was rung for.
    pub(super) fn has_ended(&mut self, realm: u32) -> bool {
        let Some(Watched::By(fd, waker)) = self.watched.get(&realm) else { return false };
        let ended = fd.poll_readable(&mut Context::from_waker(waker)).is_ready();
        if ended {
            self.watched.remove(&realm);
        }
        ended
    }

    /// The sessions among the unseen whose processes have ended.
    pub(super) fn look_again(&mut self) -> Vec<u32> {
        let unseen = self.watched.iter().filter_map(|(&realm, watched)| match *watched {
            Watched::Unseen { pid, started } => Some((realm, pid, started)),
            Watched::By(..) | Watched::Own => None,
        });
        let unseen: Vec<_> = unseen.collect();
        let mut ended = Vec::new();
        for (realm, pid, started) in unseen {
            if !self.watch(realm, pid, started) {
                self.watched.remove(&realm);
                ended.push(realm);
            }
        }
        ended
    }

    /// `None` if it has ended.
    fn look(&self, realm: u32, pid: u32, started: u64) -> Option<Watched> {
        if pid == std::process::id() {
            return (process::started(pid) == Some(started)).then_some(Watched::Own);
        }
        let opened = open(pid);
        if matches!(opened, Err(Errno::SRCH)) {
            return None;
        }
        // After it was opened: what has this number now had it when it was.
        let same = match process::started(pid) {
            Some(now) => now == started,
            // That may be for want of a descriptor.
            None => process::is_alive(pid),
        };
        if !same {
            return None;
        }
        let rope = self.bell.rope(Source::Process(realm));
        let registered = opened.map_err(io::Error::from).and_then(Descriptor::new);
        Some(match registered {
            Ok(fd) => {
                // It rings at once, and whoever answers registers the waker.
                rope.pull();
                Watched::By(fd, Waker::from(rope))
            }
            Err(_) => Watched::Unseen { pid, started },
        })
    }
}

#[cfg(target_os = "linux")]
fn open(pid: u32) -> Result<OwnedFd, Errno> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    let pid = Pid::from_raw(pid.cast_signed()).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::NONBLOCK)
}

#[cfg(not(target_os = "linux"))]
fn open(_: u32) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}
