use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::descriptor::Descriptor;
use super::ready_queue::{ReadyQueue, Source};
use crate::pidfd::{Pidfd, Process, ProcessLookup};

/// The processes that keep sessions (N1 b). The kernel tells of their end, whatever becomes of
/// their sockets.
#[derive(Debug)]
pub(super) struct Processes {
    ready_queue: Arc<ReadyQueue>,
    watched: HashMap<u32, Watched>,
}

#[derive(Debug)]
enum Watched {
    /// Readable once the process has ended. The waker is the one to be told.
    By(Descriptor, Waker),
    /// It is not to be seen from here, or there is no descriptor to be had: it is looked for every
    /// now and then.
    Unseen(Process),
}

impl Processes {
    pub(super) fn new(ready_queue: Arc<ReadyQueue>) -> Self {
        Self { ready_queue, watched: HashMap::new() }
    }

    /// Marks the session when its process has ended. `false` if that is so already. `known`: its
    /// descriptor, if there is one.
    pub(super) fn watch(&mut self, realm: u32, process: Process, known: Option<Pidfd>) -> bool {
        let found = known.map_or_else(|| process.find(), ProcessLookup::There);
        let watched = match found {
            ProcessLookup::Ended => return false,
            ProcessLookup::There(fd) => self.await_end(realm, fd),
            ProcessLookup::Unseen => None,
        };
        self.watched.insert(realm, watched.unwrap_or(Watched::Unseen(process)));
        true
    }

    pub(super) fn unwatch(&mut self, realm: u32) {
        self.watched.remove(&realm);
    }

    /// Whether the process of this session has ended, after it was marked ready.
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
            Watched::Unseen(process) => Some((realm, process)),
            Watched::By(..) => None,
        });
        let unseen: Vec<_> = unseen.collect();
        let mut ended = Vec::new();
        for (realm, process) in unseen {
            if !self.watch(realm, process, None) {
                self.watched.remove(&realm);
                ended.push(realm);
            }
        }
        ended
    }

    /// `None`: the system has no room for that now.
    fn await_end(&self, realm: u32, fd: Pidfd) -> Option<Watched> {
        let fd = Descriptor::new(fd.into_fd()).ok()?;
        let ready_source = self.ready_queue.source(Source::Process(realm));
        // It is marked at once, and whoever takes it registers the waker.
        ready_source.mark_ready();
        Some(Watched::By(fd, Waker::from(ready_source)))
    }
}
