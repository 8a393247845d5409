//! Who wants the server's attention. The server is one task; what wakes it also says what for, so that a
//! round looks at nothing else.

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
pub(super) struct Bell(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: Vec<Arc<Rope>>,
    /// The server is to stop.
    stop: bool,
    /// Who is to be let in from now on, and how.
    admission: Option<Admission>,
    /// The task runs, or has been woken: it will look here.
    awake: bool,
    task: Option<Waker>,
}

/// Rings for one source. It rings once until it is answered.
#[derive(Debug)]
pub(super) struct Rope {
    pub(super) source: Source,
    bell: Arc<Bell>,
    is_rung: AtomicBool,
}

impl Bell {
    /// A waker that rings for `source`, and what it rings.
    pub(super) fn rope(self: &Arc<Self>, source: Source) -> Arc<Rope> {
        Arc::new(Rope { source, bell: Arc::clone(self), is_rung: AtomicBool::new(false) })
    }

    /// The server is to stop.
    pub(super) fn stop(&self) {
        self.ring(|inner| inner.stop = true);
    }

    /// These are to be let in from now on.
    pub(super) fn admit(&self, admission: Admission) {
        self.ring(|inner| inner.admission = Some(admission));
    }

    /// Who is to be let in from now on, if that has changed since this was asked last.
    pub(super) fn take_admission(&self) -> Option<Admission> {
        self.lock().admission.take()
    }

    /// What has rung since this was asked last, put into `rung`. From now on until
    /// [`rest`](Self::rest) nobody wakes the task.
    pub(super) fn answer(&self, rung: &mut Vec<Arc<Rope>>) {
        rung.clear();
        let mut inner = self.lock();
        inner.awake = true;
        std::mem::swap(&mut inner.rung, rung);
        drop(inner);
        for rope in rung {
            // What happens from here on rings again, and is looked at again.
            rope.is_rung.store(false, Ordering::Release);
        }
    }

    /// Whether the server was told to stop since this was asked last.
    pub(super) fn is_to_stop(&self) -> bool {
        std::mem::take(&mut self.lock().stop)
    }

    /// From now on whoever rings wakes the task; if somebody has rung already, that is done at once.
    pub(super) fn rest(&self, task: &Waker) {
        let mut inner = self.lock();
        if inner.rung.is_empty() && !inner.stop && inner.admission.is_none() {
            inner.awake = false;
            if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
                inner.task = Some(task.clone());
            }
        } else {
            drop(inner);
            task.wake_by_ref();
        }
    }

    fn ring(&self, note: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        note(&mut inner);
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

impl Rope {
    /// Has its source looked at in the next round.
    pub(super) fn pull(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.bell.ring(|inner| inner.rung.push(Arc::clone(self)));
        }
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.pull();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pull();
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
    fn a_source_rings_once_until_it_is_answered() {
        let bell = Arc::new(Bell::default());
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        let mut rung = Vec::new();
        let rope = bell.rope(Source::Timer);

        bell.answer(&mut rung);
        bell.rest(&task);
        rope.pull();
        rope.pull();
        assert_eq!(woken(), 1);
        bell.answer(&mut rung);
        assert_eq!(rung.len(), 1);
        // During a round nobody wakes the task, which is told when the round is over.
        rope.pull();
        assert_eq!(woken(), 1);
        bell.rest(&task);
        assert_eq!(woken(), 2);
        bell.answer(&mut rung);
        assert_eq!(rung.len(), 1);
        bell.rest(&task);
        assert_eq!(woken(), 2);
        bell.stop();
        assert_eq!(woken(), 3);
        bell.answer(&mut rung);
        assert!(rung.is_empty());
        assert!(bell.is_to_stop() && !bell.is_to_stop());
    }
}
