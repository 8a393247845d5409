use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use super::oneshot::oneshot;
use crate::sync::plain::{Condvar, Mutex};
use crate::{LockError, Op, thread};

/// The thread runs steps of any store.
const STACK: usize = 2 << 20;

/// The thread, `locks-lease`, that carries on what no caller polls: renewals, withdrawals, and
/// releases that are under way.
///
/// It starts when a task is to be polled, and ends once none has been for a while. A store that
/// blocks blocks it; nothing that has to be reported in time depends on it.
pub(super) struct Executor(Arc<Inner>);

struct Inner {
    state: Mutex<TaskQueue>,
    work: Condvar,
    /// How long the thread waits for more work before it ends.
    idle: Duration,
}

#[derive(Default)]
struct TaskQueue {
    ready: VecDeque<Arc<Task>>,
    running: bool,
    /// The thread waits for work and has not been notified of any. A notification is a system call
    /// even where nobody waits.
    sleeping: bool,
    /// How often the thread was started, or notified while it slept.
    #[cfg(test)]
    wakes: usize,
}

/// A task that has not finished. Between two polls it belongs to its wakers.
struct Task {
    executor: Arc<Inner>,
    /// `None` once it has finished.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// Whether it stands in the queue, or is about to.
    ready: AtomicBool,
}

impl Executor {
    pub(super) fn new() -> Self {
        Self::idle_for(Duration::from_secs(1))
    }

    fn idle_for(idle: Duration) -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), work: Condvar::new(), idle }))
    }

    /// Sees `task` through, on the executor's thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.task(task).wake();
    }

    /// Begins `task` on this thread and sees it through, whether or not anybody waits for it. A
    /// failure that is never received goes to `on_unobserved`.
    ///
    /// It is polled with its own waker from the start, so that the executor's thread is woken when
    /// it can go on and not before.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, LockError>> + Send + 'static,
        on_unobserved: fn(&LockError),
    ) -> Op<'static, T> {
        let (sender, receiver) = oneshot(on_unobserved);
        self.task(async move { sender.send(task.await) }).poll();
        receiver.into_op()
    }

    fn task(&self, future: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        Arc::new(Task {
            executor: self.0.clone(),
            future: Mutex::new(Some(future)),
            ready: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(super) fn wakes(&self) -> usize {
        self.0.state.lock().wakes
    }

    #[cfg(test)]
    fn is_running(&self) -> bool {
        self.0.state.lock().running
    }
}

impl Inner {
    fn run(self: Arc<Self>) {
        let mut state = self.state.lock();
        let mut idle_since = None;
        loop {
            if let Some(task) = state.ready.pop_front() {
                drop(state);
                task.poll();
                drop(task);
                idle_since = None;
                state = self.state.lock();
            } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= self.idle {
                state.running = false;
                return;
            } else {
                state.sleeping = true;
                state = self.work.wait(state, Some(self.idle));
                state.sleeping = false;
            }
        }
    }

    fn push(self: &Arc<Self>, task: Arc<Task>) {
        let mut state = self.state.lock();
        state.ready.push_back(task);
        if state.running {
            if std::mem::take(&mut state.sleeping) {
                #[cfg(test)]
                (state.wakes += 1);
                drop(state);
                self.work.notify_one();
            }
        } else {
            #[cfg(test)]
            (state.wakes += 1);
            let inner = self.clone();
            let spawned = thread::start("locks-lease", STACK, move || inner.run());
            // Without a thread the task waits for the next one that becomes ready, which tries
            // again; until then holds are not renewed, which their validity accounts for.
            state.running = spawned.is_ok();
        }
    }
}

impl Task {
    fn poll(self: &Arc<Self>) {
        self.ready.store(false, Ordering::SeqCst);
        let mut slot = self.future.lock();
        let Some(mut future) = slot.take() else { return };
        let waker = Waker::from(self.clone());
        // A store that panics ends the step it was in, not the renewal of all other holds.
        let finished = catch_unwind(AssertUnwindSafe(|| {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let pending = polled.is_pending().then_some(future);
            pending.is_none_or(|future| {
                *slot = Some(future);
                false
            })
        }));
        drop(slot);
        drop((finished, waker));
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.ready.swap(true, Ordering::SeqCst) {
            let executor = self.executor.clone();
            executor.push(self);
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Executor")
            .field("running", &state.running)
            .field("ready", &state.ready.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;

    use super::*;

    #[track_caller]
    fn until(what: &str, mut met: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !met() {
            assert!(Instant::now() < give_up || met(), "it never came about that {what}");
            std::thread::yield_now();
        }
    }

    /// Holds a task up until it is opened.
    #[derive(Default)]
    struct Gate(Mutex<(bool, Option<Waker>)>);

    impl Gate {
        async fn pass(self: Arc<Self>) -> Result<u8, LockError> {
            poll_fn(|cx| {
                let mut gate = self.0.lock();
                gate.1 = Some(cx.waker().clone());
                if gate.0 { Poll::Ready(Ok(7)) } else { Poll::Pending }
            })
            .await
        }

        fn open(&self) {
            let mut gate = self.0.lock();
            gate.0 = true;
            let waiting = gate.1.take();
            drop(gate);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    #[test]
    fn what_is_begun_is_seen_through_though_nobody_waits() {
        let (executor, gate) = (Executor::new(), Arc::new(Gate::default()));
        let done = Arc::new(AtomicUsize::new(0));
        let (passes, counts) = (gate.clone().pass(), done.clone());
        let begun = async move {
            passes.await?;
            counts.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        drop(executor.begin(begun, |_| {}));
        gate.open();
        until("it is done", || done.load(Ordering::SeqCst) == 1);
    }

    #[test]
    fn a_thread_is_woken_when_there_is_something_to_do_and_not_before() {
        let executor = Executor::idle_for(Duration::from_secs(3600));
        assert_eq!(executor.begin(async { Ok(7) }, |_| {}).block().unwrap(), 7);
        assert!(!executor.is_running(), "it was done at once");
        for round in 1..=3 {
            let gate = Arc::new(Gate::default());
            let begun = executor.begin(gate.clone().pass(), |_| {});
            assert_eq!(executor.wakes(), round - 1, "nothing can go on yet");
            gate.open();
            assert_eq!(begun.block().unwrap(), 7);
            assert_eq!(executor.wakes(), round);
        }
    }

    fn panic_as_ordered() -> Result<(), LockError> {
        panic!("as ordered")
    }

    #[test]
    fn f45_a_panic_in_a_task_fails_it_and_hurts_no_other() {
        let executor = Executor::new();
        let at_once = executor.begin(async { panic_as_ordered() }, |_| {});
        assert!(at_once.block().unwrap_err().to_string().contains("panic"));
        let gate = Arc::new(Gate::default());
        let passes = gate.clone().pass();
        let later = async move {
            passes.await?;
            panic_as_ordered()
        };
        let later = executor.begin(later, |_| {});
        gate.open();
        assert!(later.block().unwrap_err().to_string().contains("panic"));
        let gate = Arc::new(Gate::default());
        let other = executor.begin(gate.clone().pass(), |_| {});
        gate.open();
        assert_eq!(other.block().unwrap(), 7);
    }

    #[test]
    fn the_thread_ends_when_idle_and_starts_again() {
        let executor = Executor::idle_for(Duration::from_millis(1));
        for _ in 0..2 {
            let gate = Arc::new(Gate::default());
            let begun = executor.begin(gate.clone().pass(), |_| {});
            gate.open();
            assert_eq!(begun.block().unwrap(), 7);
            until("it has ended", || !executor.is_running());
        }
    }
}
