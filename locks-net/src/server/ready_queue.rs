//! Who wants the server's attention. The server is one task; what wakes it also says what for, so
//! that a round looks at nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use crate::access::Clients;
use crate::arbiter::ConnId;
use crate::tls::ServerTls;

/// What there is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Connection(ConnId),
    /// One of the listeners, by its place.
    Listener(usize),
    /// TLS handshakes.
    Handshakes,
    /// The process that keeps this session.
    Process(u32),
    /// The time has come.
    Timer,
    /// Somebody of this process wants to know something.
    Operator,
}

/// Who is let in over TCP, and by which certificates.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) clients: Clients,
    pub(super) tls: Arc<ServerTls>,
}

/// Gathers what there is to be looked at, and wakes the server's task.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ready: Vec<Arc<ReadySource>>,
    /// The server is to stop.
    stop: bool,
    /// Who is to be let in from now on, and how.
    admission: Option<Admission>,
    /// The task runs, or has been woken: it will look here.
    awake: bool,
    task: Option<Waker>,
}

/// Marks one source as ready: once until it is taken.
#[derive(Debug)]
pub(super) struct ReadySource {
    pub(super) source: Source,
    ready_queue: Arc<ReadyQueue>,
    is_marked: AtomicBool,
}

impl ReadyQueue {
    /// A waker that marks `source` as ready.
    pub(super) fn source(self: &Arc<Self>, source: Source) -> Arc<ReadySource> {
        Arc::new(ReadySource {
            source,
            ready_queue: Arc::clone(self),
            is_marked: AtomicBool::new(false),
        })
    }

    /// The server is to stop.
    pub(super) fn stop(&self) {
        self.note(|inner| inner.stop = true);
    }

    /// These are to be let in from now on.
    pub(super) fn admit(&self, admission: Admission) {
        self.note(|inner| inner.admission = Some(admission));
    }

    /// Who is to be let in from now on, if that has changed since this was asked last.
    pub(super) fn take_admission(&self) -> Option<Admission> {
        self.lock().admission.take()
    }

    /// Takes what has become ready since the last call, into `ready`. From now on until
    /// [`rest`](Self::rest) nobody wakes the task.
    pub(super) fn take_ready(&self, ready: &mut Vec<Arc<ReadySource>>) {
        ready.clear();
        let mut inner = self.lock();
        inner.awake = true;
        std::mem::swap(&mut inner.ready, ready);
        drop(inner);
        for ready_source in ready {
            // What happens from here on is marked again, and looked at again.
            ready_source.is_marked.store(false, Ordering::Release);
        }
    }

    /// Whether the server was told to stop since this was asked last.
    pub(super) fn is_to_stop(&self) -> bool {
        std::mem::take(&mut self.lock().stop)
    }

    /// From now on marking wakes the task; if something is ready already, that is done at once.
    pub(super) fn rest(&self, task: &Waker) {
        let mut inner = self.lock();
        if inner.ready.is_empty() && !inner.stop && inner.admission.is_none() {
            inner.awake = false;
            if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
                inner.task = Some(task.clone());
            }
        } else {
            drop(inner);
            task.wake_by_ref();
        }
    }

    fn note(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        if !inner.awake {
            inner.awake = true;
            let task = inner.task.clone();
            drop(inner);
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadySource {
    /// Has its source looked at in the next round.
    pub(super) fn mark_ready(self: &Arc<Self>) {
        if !self.is_marked.swap(true, Ordering::AcqRel) {
            self.ready_queue.note(|inner| inner.ready.push(Arc::clone(self)));
        }
    }
}

impl Wake for ReadySource {
    fn wake(self: Arc<Self>) {
        self.mark_ready();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_source_is_ready_once_until_it_is_taken() {
        let ready_queue = Arc::new(ReadyQueue::default());
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        let mut ready = Vec::new();
        let ready_source = ready_queue.source(Source::Timer);

        ready_queue.take_ready(&mut ready);
        ready_queue.rest(&task);
        ready_source.mark_ready();
        ready_source.mark_ready();
        assert_eq!(woken(), 1);
        ready_queue.take_ready(&mut ready);
        assert_eq!(ready.len(), 1);
        // During a round nobody wakes the task, which is told when the round is over.
        ready_source.mark_ready();
        assert_eq!(woken(), 1);
        ready_queue.rest(&task);
        assert_eq!(woken(), 2);
        ready_queue.take_ready(&mut ready);
        assert_eq!(ready.len(), 1);
        ready_queue.rest(&task);
        assert_eq!(woken(), 2);
        ready_queue.stop();
        assert_eq!(woken(), 3);
        ready_queue.take_ready(&mut ready);
        assert!(ready.is_empty());
        assert!(ready_queue.is_to_stop() && !ready_queue.is_to_stop());
    }
}
