//! TLS handshakes, by threads of their own: what one of them computes would delay everybody's
//! renewals.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::ready_queue::ReadySource;
use crate::arbiter::ConnId;
use crate::tls::Tls;

/// See the [module](self). At most one job of each connection is under way, none of one that is
/// [gone](Self::forget), and connections that have not said who they are are bounded (N6).
pub(super) struct Handshakes {
    shared: Arc<HandshakePool>,
    threads: usize,
}

/// One connection's next step.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: ConnId,
    pub(super) tls: Box<Tls>,
    pub(super) received: Vec<u8>,
    /// It comes before those of addresses from which nobody was let in lately.
    pub(super) is_familiar: bool,
}

/// What the step came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: ConnId,
    /// `None`: it was lost on the way.
    pub(super) tls: Option<Box<Tls>>,
    /// What the client has said already.
    pub(super) plain: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// Why it failed.
    pub(super) outcome: Result<(), String>,
}

struct HandshakePool {
    jobs: Mutex<Jobs>,
    wanted: Condvar,
    ready_source: Arc<ReadySource>,
}

/// The oldest connections come first.
#[derive(Default)]
struct Jobs {
    familiar: BTreeMap<ConnId, Job>,
    others: BTreeMap<ConnId, Job>,
    done: Vec<Done>,
    is_over: bool,
}

/// So many threads compute at a time, where there are as many processors.
const THREADS: usize = 2;

/// Those who are let in already come first where processors are short.
const NICENESS: i32 = 5;

impl Handshakes {
    /// The source is marked ready whenever something was [done](Self::take_done).
    pub(super) fn new(ready_source: Arc<ReadySource>) -> Self {
        let (jobs, wanted) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(HandshakePool { jobs, wanted, ready_source }), threads: 0 }
    }

    pub(super) fn begin(&mut self, job: Job) {
        self.start_threads();
        if self.threads == 0 {
            // Without a thread it takes its time here.
            let done = job.run();
            self.shared.lock().done.push(done);
            return self.shared.ready_source.mark_ready();
        }
        let mut jobs = self.shared.lock();
        match job.is_familiar {
            true => jobs.familiar.insert(job.id, job),
            false => jobs.others.insert(job.id, job),
        };
        drop(jobs);
        self.shared.wanted.notify_one();
    }

    /// A connection is gone: what was not begun for it is not done any more.
    pub(super) fn forget(&self, id: ConnId) {
        let mut jobs = self.shared.lock();
        let forgotten = jobs.familiar.remove(&id).or_else(|| jobs.others.remove(&id));
        drop(jobs);
        drop(forgotten);
    }

    pub(super) fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut self.shared.lock().done)
    }

    /// Has nobody work on what is begun.
    #[cfg(test)]
    pub(super) fn put_off(&mut self) {
        self.threads = usize::MAX;
    }

    /// Whose steps nobody works on yet.
    #[cfg(test)]
    pub(super) fn queued(&self) -> Vec<ConnId> {
        let jobs = self.shared.lock();
        jobs.familiar.keys().chain(jobs.others.keys()).copied().collect()
    }

    fn start_threads(&mut self) {
        let most = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
        while self.threads < most {
            let shared = Arc::clone(&self.shared);
            if locks_core::thread::start("locks-tls", 2 << 20, move || shared.work()).is_err() {
                break;
            }
            self.threads += 1;
        }
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.wanted.notify_all();
    }
}

impl HandshakePool {
    fn work(&self) {
        // Of this thread alone, on Linux. Where it is not allowed it is as it was.
        let _ = rustix::process::nice(NICENESS);
        while let Some(job) = self.next() {
            let done = job.run();
            self.lock().done.push(done);
            self.ready_source.mark_ready();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if jobs.is_over {
                return None;
            }
            let next = jobs.familiar.pop_first();
            if let Some((_, job)) = next.or_else(|| jobs.others.pop_first()) {
                return Some(job);
            }
            jobs = self.wanted.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn run(self) -> Done {
        let Job { id, mut tls, received, .. } = self;
        let work = move || {
            let (mut plain, mut out) = (Vec::new(), Vec::new());
            let outcome = tls.receive(&received, &mut plain, &mut out);
            let outcome = outcome.map_err(|error| error.to_string());
            Done { id, tls: Some(tls), plain, out, outcome }
        };
        // Others wait for this thread, whatever somebody has found to say.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let (plain, out, outcome) = (Vec::new(), Vec::new(), Err("a panic".to_owned()));
            Done { id, tls: None, plain, out, outcome }
        })
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("threads", &self.threads).finish_non_exhaustive()
    }
}
