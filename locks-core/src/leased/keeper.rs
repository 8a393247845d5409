use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::slip::slip;
use crate::sync::plain::{Condvar, Mutex};
use crate::{LockError, Op};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread, `locks-lease`, that carries on what no caller waits for: renewals, withdrawals,
/// releases that are under way.
///
/// It starts with the first task and ends a second after the last one. A store that blocks
/// blocks it; nothing that has to be told in time depends on it.
pub(super) struct Keeper(Arc<Desk>);

struct Desk {
    state: Mutex<State>,
    work: Condvar,
    /// How long it waits for more work before it ends.
    idle: Duration,
}

#[derive(Default)]
struct State {
    /// I1: a task that is being polled is not in here; it comes back unless it has finished.
    tasks: HashMap<u64, Task>,
    ready: VecDeque<u64>,
    companions: HashSet<u64>,
    next: u64,
    /// Tasks that have not finished, wherever they are, companions apart.
    unfinished: usize,
    running: bool,
    closing: bool,
}

struct Ring {
    desk: Arc<Desk>,
    task: u64,
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self::idle_for(Duration::from_secs(1))
    }

    fn idle_for(idle: Duration) -> Self {
        Self(Arc::new(Desk { state: Mutex::default(), work: Condvar::new(), idle }))
    }

    /// Sees `task` through.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.0.state.lock();
        state.unfinished += 1;
        self.add(&mut state, Box::pin(task));
    }

    /// Carries `task` on as long as there is another one, and drops it then.
    pub(super) fn accompany(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.0.state.lock();
        let id = state.next;
        state.companions.insert(id);
        self.add(&mut state, Box::pin(task));
    }

    fn add(&self, state: &mut State, task: Task) {
        let id = state.next;
        state.next += 1;
        state.tasks.insert(id, task);
        state.ready.push_back(id);
        if state.running {
            self.0.work.notify_one();
        } else {
            let desk = self.0.clone();
            let spawned =
                thread::Builder::new().name("locks-lease".into()).spawn(move || desk.run());
            // Without a thread the task waits for the next one that starts; until then holds are
            // not renewed, which their validity accounts for.
            state.running = spawned.is_ok();
        }
    }

    /// Begins `future` at once and sees it through, whether or not anybody waits for it. A failure
    /// that nobody waits for any more is `untold`'s.
    pub(super) fn begin<T: Send + Unpin + 'static>(
        &self,
        future: impl Future<Output = Result<T, LockError>> + Send + 'static,
        untold: fn(&LockError),
    ) -> Op<'static, T> {
        let mut future = Box::pin(future);
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            return Op::Now(outcome);
        }
        let (report, read) = slip(Self(self.0.clone()), untold);
        self.spawn(async move { report.file(future.await) });
        Op::later(read)
    }

    /// The thread ends with the last task, without waiting for more.
    pub(super) fn close(&self) {
        self.0.state.lock().closing = true;
        self.0.work.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.0.state.lock().running
    }
}

impl Desk {
    fn run(self: Arc<Self>) {
        let mut state = self.state.lock();
        let mut idle_since = None;
        loop {
            if state.unfinished > 0 {
                idle_since = None;
            } else {
                let idle = idle_since.get_or_insert_with(Instant::now).elapsed();
                if state.closing || idle >= self.idle {
                    break;
                }
            }
            let Some(id) = state.ready.pop_front() else {
                state = self.work.wait(state, idle_since.map(|_| self.idle));
                continue;
            };
            let Some(task) = state.tasks.remove(&id) else { continue };
            drop(state);
            let pending = self.poll(id, task);
            state = self.state.lock();
            match pending {
                Some(task) => drop(state.tasks.insert(id, task)),
                None if state.companions.remove(&id) => {}
                None => state.unfinished -= 1,
            }
        }
        state.running = false;
        // What is left accompanied the others. Dropped without the mutex: it may be anything.
        let left = std::mem::take(&mut state.tasks);
        state.companions.clear();
        drop(state);
        drop(left);
    }

    /// The task, unless it has finished.
    fn poll(self: &Arc<Self>, id: u64, mut task: Task) -> Option<Task> {
        let waker = Waker::from(Arc::new(Ring { desk: self.clone(), task: id }));
        // A store that panics ends the step it was in, not the renewal of all other holds.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            polled.is_pending().then_some(task)
        }));
        polled.unwrap_or(None)
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        let mut state = self.desk.state.lock();
        if !state.ready.contains(&self.task) {
            state.ready.push_back(self.task);
            self.desk.work.notify_one();
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Keeper")
            .field("running", &state.running)
            .field("tasks", &state.unfinished)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct CountsDrops(Arc<AtomicUsize>);

    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[track_caller]
    fn until(what: &str, mut met: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !met() {
            assert!(Instant::now() < give_up || met(), "it never came about that {what}");
            thread::yield_now();
        }
    }

    /// Pending when polled first, ready when polled again; wakes itself.
    async fn twice() {
        let mut polled = false;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn seven() -> Result<u8, LockError> {
        twice().await;
        Ok(7)
    }

    #[test]
    fn what_is_begun_is_seen_through_though_nobody_waits() {
        let (keeper, done) = (Keeper::new(), Arc::new(AtomicUsize::new(0)));
        let count = CountsDrops(done.clone());
        let begun = async move {
            twice().await;
            drop(count);
            Ok(())
        };
        drop(keeper.begin(begun, |_| {}));
        until("it is done", || done.load(Ordering::SeqCst) == 1);
        assert_eq!(keeper.begin(seven(), |_| {}).block().unwrap(), 7);
    }

    fn panic_as_ordered() -> Result<(), LockError> {
        panic!("as ordered")
    }

    #[test]
    fn a_panic_in_a_step_is_told_and_hurts_no_other() {
        let keeper = Keeper::new();
        let broken = async {
            twice().await;
            panic_as_ordered()
        };
        let broken = keeper.begin(broken, |_| {}).block().unwrap_err();
        assert!(broken.to_string().contains("panic"));
        assert_eq!(keeper.begin(seven(), |_| {}).block().unwrap(), 7);
    }

    /// Holds a task up until it is opened.
    #[derive(Default)]
    struct Gate(Mutex<Passage>);

    #[derive(Default)]
    struct Passage {
        open: bool,
        waiting: Option<Waker>,
        passed: bool,
    }

    impl Gate {
        async fn pass(self: Arc<Self>) {
            std::future::poll_fn(|cx| {
                let mut passage = self.0.lock();
                passage.waiting = Some(cx.waker().clone());
                passage.passed = passage.open;
                if passage.open { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }

        fn is_waited_for(&self) -> bool {
            self.0.lock().waiting.is_some()
        }

        fn is_passed(&self) -> bool {
            self.0.lock().passed
        }

        fn open(&self) {
            let mut passage = self.0.lock();
            passage.open = true;
            let waiting = passage.waiting.take();
            drop(passage);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    #[test]
    fn the_thread_ends_when_idle_and_starts_again() {
        let keeper = Keeper::idle_for(Duration::from_millis(1));
        let dropped = Arc::new(AtomicUsize::new(0));
        for round in 1..=2 {
            let gate = Arc::new(Gate::default());
            keeper.spawn(gate.clone().pass());
            let companion = CountsDrops(dropped.clone());
            keeper.accompany(async move {
                std::future::pending::<()>().await;
                drop(companion);
            });
            until("it waits", || gate.is_waited_for());
            assert!(keeper.is_running());
            assert_eq!(dropped.load(Ordering::SeqCst), round - 1, "there is another task");
            gate.open();
            until("it has ended", || !keeper.is_running());
            assert!(gate.is_passed(), "it ended before its work was done");
            until("its companion went too", || dropped.load(Ordering::SeqCst) == round);
        }
    }

    #[test]
    fn closing_ends_it_when_the_work_is_done_and_not_before() {
        // Far longer than anybody here waits for it to end.
        let keeper = Keeper::idle_for(Duration::from_secs(3600));
        let gate = Arc::new(Gate::default());
        keeper.spawn(gate.clone().pass());
        until("it waits", || gate.is_waited_for());
        keeper.close();
        assert!(keeper.is_running());
        gate.open();
        until("it has ended", || !keeper.is_running());
        assert!(gate.is_passed(), "it ended before its work was done");
    }
}
