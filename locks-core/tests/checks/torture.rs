//! Threads and tasks on mixed keys, with everything that can go wrong, for `LOCKS_TORTURE_SECONDS`
//! (3 unless it says otherwise).

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, Engine, ErrorKind, LockBuilder, LockError, LostCause, Mode, OwnerId};

use crate::witness::{Inside, Stealable, Strict};

const THREADS: u64 = 16;
const TASKS: u64 = 1000;
const STRICT: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
const STEALABLE: [&str; 4] = ["t0", "t1", "t2", "t3"];
const PERMITS: u32 = 3;

/// How long after the end somebody who still waits is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

struct Field {
    engine: Engine,
    backend: Backend,
    strict: [Strict; STRICT.len()],
    stealable: [Stealable; STEALABLE.len()],
    permits: Strict,
    over: AtomicBool,
    grants: AtomicU64,
    losses: AtomicU64,
    refusals: AtomicU64,
    cancelled: AtomicU64,
}

/// What a body panics with.
struct OnPurpose;

/// A small generator of numbers (xorshift), so that threads do not share one.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn micros(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.below(end))
    }

    /// Any way to wait and to be fair.
    fn manners<'k>(&mut self, lock: LockBuilder<'k>) -> LockBuilder<'k> {
        let lock = match self.below(6) {
            0 => lock.wait(false),
            1 => lock.wait(self.micros(2000)),
            _ => lock,
        };
        match self.below(8) {
            0 => lock.fair(true),
            1 => lock.fair(false),
            _ => lock,
        }
    }

    /// Steals soon, is bounded, reserves, or none of that; shared or not.
    fn greed<'k>(&mut self, lock: LockBuilder<'k>) -> (LockBuilder<'k>, Mode) {
        let lock = match self.below(6) {
            0..3 => lock.steal_after(self.micros(2000)),
            3 => lock.hold_at_most(Duration::from_micros(1) + self.micros(1000)),
            4 => lock.hold_at_least(self.micros(500)),
            _ => lock,
        };
        match self.below(3) {
            0 => (lock.shared(), Mode::Shared),
            _ => (lock, Mode::Exclusive),
        }
    }

    /// The body: nothing, some work, or a panic that no hook tells of.
    fn body(&mut self) {
        match self.below(64) {
            0 => resume_unwind(Box::new(OnPurpose)),
            1..16 => thread::yield_now(),
            16..24 => {
                let start = Instant::now();
                let limit = self.micros(300);
                while start.elapsed() < limit {
                    std::hint::spin_loop();
                }
            }
            _ => {}
        }
    }
}

impl Field {
    fn new() -> Arc<Self> {
        let engine = Engine::new();
        Arc::new(Self {
            backend: Backend::new(engine.clone()),
            engine,
            strict: Default::default(),
            stealable: Default::default(),
            permits: Strict::default(),
            over: AtomicBool::new(false),
            grants: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        })
    }

    /// Counts the outcome; who was refused has to be refused for a good reason.
    fn count<T>(&self, outcome: Result<T, LockError>) -> Option<T> {
        match outcome {
            Ok(guard) => {
                self.grants.fetch_add(1, Ordering::Relaxed);
                Some(guard)
            }
            Err(error) => {
                assert!(error.is_contended(), "{error}");
                self.refusals.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn count_release(&self, released: Result<(), LockError>) {
        if let Err(error) = released {
            let ErrorKind::Lost { cause } = error.kind() else { panic!("{error}") };
            assert_ne!(cause, LostCause::Forgotten, "{error}");
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One thing that a thread does.
    fn turn(&self, dice: &mut Dice) {
        match dice.below(12) {
            0..4 => self.exclusive(dice),
            4 | 5 => self.shared(dice),
            6 => self.several(dice),
            7 => self.nested(dice),
            8 => self.permit(dice),
            9 => self.evict(dice),
            _ => self.stealing(dice),
        }
    }

    fn exclusive(&self, dice: &mut Dice) {
        let key = dice.below(STRICT.len() as u64) as usize;
        let lock = dice.manners(self.backend.named(STRICT[key]));
        let Some(guard) = self.count(lock.acquire()) else { return };
        let inside = Inside::alone(&self.strict[key], guard.token());
        dice.body();
        drop(inside);
        guard.release().unwrap();
    }

    fn shared(&self, dice: &mut Dice) {
        let key = dice.below(STRICT.len() as u64) as usize;
        let lock = dice.manners(self.backend.named(STRICT[key]).shared());
        let Some(guard) = self.count(lock.acquire()) else { return };
        let inside = Inside::beside(&self.strict[key], u32::MAX);
        dice.body();
        drop(inside);
        guard.release().unwrap();
    }

    fn several(&self, dice: &mut Dice) {
        let first = dice.below(STRICT.len() as u64 - 2) as usize;
        let keys = [first, first + 1, first + 2];
        let lock = dice.manners(self.backend.all(keys.map(|key| STRICT[key])));
        let Some(guard) = self.count(lock.acquire()) else { return };
        let inside = keys.map(|key| Inside::alone(&self.strict[key], guard.token()));
        dice.body();
        drop(inside);
        guard.release().unwrap();
    }

    fn nested(&self, dice: &mut Dice) {
        let key = dice.below(STRICT.len() as u64) as usize;
        let lock = || self.backend.named(STRICT[key]).reentrant();
        let Some(outer) = self.count(dice.manners(lock()).acquire()) else { return };
        let inner = lock().wait(false).acquire().expect("C9: one's own hold lets one in");
        assert_eq!(inner.token(), outer.token(), "C7");
        let inside = Inside::alone(&self.strict[key], outer.token());
        dice.body();
        if dice.below(2) == 0 {
            drop(outer);
            dice.body();
            drop(inside);
            drop(inner);
        } else {
            drop(inner);
            dice.body();
            drop(inside);
            drop(outer);
        }
    }

    fn permit(&self, dice: &mut Dice) {
        let lock = dice.manners(self.backend.named("permits").permits(PERMITS));
        let Some(guard) = self.count(lock.acquire()) else { return };
        let inside = Inside::beside(&self.permits, PERMITS);
        dice.body();
        drop(inside);
        guard.release().unwrap();
    }

    fn stealing(&self, dice: &mut Dice) {
        let key = dice.below(STEALABLE.len() as u64) as usize;
        let lock = dice.manners(self.backend.named(STEALABLE[key]));
        let (lock, mode) = dice.greed(lock);
        let Some(guard) = self.count(lock.acquire()) else { return };
        let entered = self.stealable[key].enter(mode, guard.into_owned());
        dice.body();
        if mode == Mode::Exclusive {
            entered.write();
        }
        self.count_release(entered.leave().release());
    }

    fn evict(&self, dice: &mut Dice) {
        if dice.below(50) != 0 {
            return;
        }
        for info in self.backend.list().unwrap() {
            if info.key.starts_with('t') {
                for token in info.holders.iter().filter_map(|holder| holder.token) {
                    self.backend.evict(&info.key, token).block().unwrap();
                }
            }
        }
    }

    /// One thing that a task does, and is cancelled at any time while it waits.
    async fn task_turn(&self, dice: &mut Dice) {
        let (strict, key) = (dice.below(2) == 0, dice.below(4) as usize);
        let name = if strict { STRICT[key] } else { STEALABLE[key] };
        let mut lock = dice.manners(self.backend.named(name));
        let mut mode = Mode::Exclusive;
        if strict && dice.below(8) == 0 {
            lock = lock.owner(OwnerId::unique()).reentrant();
        } else if !strict {
            (lock, mode) = dice.greed(lock);
        }
        let patience = if dice.below(3) == 0 { dice.micros(1000) } else { PATIENCE };
        let Ok(outcome) = tokio::time::timeout(patience, lock.acquire_async()).await else {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(guard) = self.count(outcome) else { return };
        if strict {
            let inside = Inside::alone(&self.strict[key], guard.token());
            pause(dice).await;
            drop(inside);
            guard.release_async().await.unwrap();
        } else {
            let entered = self.stealable[key].enter(mode, guard);
            pause(dice).await;
            if mode == Mode::Exclusive {
                entered.write();
            }
            self.count_release(entered.leave().release_async().await);
        }
    }
}

/// What a task does while it holds a lock.
async fn pause(dice: &mut Dice) {
    match dice.below(64) {
        0 => resume_unwind(Box::new(OnPurpose)),
        1..24 => tokio::task::yield_now().await,
        24..28 => tokio::time::sleep(dice.micros(1500)).await,
        _ => {}
    }
}

/// Runs `turn` again and again until it is over, whatever panics on purpose.
fn run_thread(field: &Field, number: u64) {
    let mut dice = Dice(number + 1);
    while !field.over.load(Ordering::Relaxed) {
        let turn = catch_unwind(AssertUnwindSafe(|| field.turn(&mut dice)));
        if let Err(panic) = turn.map_err(|panic| panic.downcast::<OnPurpose>())
            && let Err(panic) = panic
        {
            resume_unwind(panic);
        }
    }
}

async fn run_tasks(field: &Arc<Field>) {
    let run = |number| {
        let field = field.clone();
        async move {
            let mut seed = THREADS + number + 1;
            while !field.over.load(Ordering::Relaxed) {
                let (field, mut dice) = (field.clone(), Dice(seed));
                seed += TASKS;
                let task = tokio::spawn(async move {
                    while !field.over.load(Ordering::Relaxed) {
                        field.task_turn(&mut dice).await;
                        tokio::task::yield_now().await;
                    }
                });
                if let Err(error) = task.await
                    && let Err(panic) = error.into_panic().downcast::<OnPurpose>()
                {
                    resume_unwind(panic);
                }
            }
        }
    };
    let tasks = (0..TASKS).map(|number| tokio::spawn(run(number))).collect::<Vec<_>>();
    for task in tasks {
        if let Err(error) = task.await {
            field.over.store(true, Ordering::Relaxed);
            resume_unwind(error.into_panic());
        }
    }
}

type Actor = Box<dyn FnOnce(&Arc<Field>) + Send>;

#[test]
fn c1_to_c16_nothing_gives_way_under_torture() {
    let seconds = std::env::var("LOCKS_TORTURE_SECONDS").ok();
    let seconds = seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds"));
    let field = Field::new();
    let (done, ended) = mpsc::channel();
    let mut actors = Vec::<Actor>::new();
    for number in 0..THREADS {
        actors.push(Box::new(move |field| run_thread(field, number)));
    }
    actors.push(Box::new(|field| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(4).enable_time().build().unwrap().block_on(run_tasks(field));
    }));
    let count = actors.len();
    for actor in actors {
        let (field, done) = (field.clone(), done.clone());
        thread::spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| actor(&field)));
            done.send(outcome).expect("the test waits for everybody");
        });
    }
    let start = Instant::now();
    let mut running = count;
    let mut limit = Duration::from_secs(seconds);
    while running > 0 {
        match ended.recv_timeout(limit) {
            Ok(Ok(())) => running -= 1,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) if !field.over.swap(true, Ordering::Relaxed) => limit = PATIENCE,
            Err(_) => panic!("{running} of {count} hang: {:#?}", field.backend.list()),
        }
    }
    field.assert_idle(start.elapsed());
}

impl Field {
    /// Nothing is left once the last reservation has ended (C13, C14).
    fn assert_idle(&self, after: Duration) {
        let start = Instant::now();
        while self.engine.live_keys() > 0 && start.elapsed() < Duration::from_secs(5) {
            thread::yield_now();
        }
        assert_eq!(self.engine.live_keys(), 0, "{:#?}", self.backend.list());
        assert!(self.engine.known_keys() <= STRICT.len() + STEALABLE.len() + 1);
        let [grants, losses, refusals, cancelled] =
            [&self.grants, &self.losses, &self.refusals, &self.cancelled]
                .map(|counter| counter.load(Ordering::Relaxed));
        eprintln!(
            "{grants} grants, {losses} lost, {refusals} refused, {cancelled} cancelled in {after:?}"
        );
        assert!(grants > 0 && losses > 0 && refusals > 0 && cancelled > 0);
    }
}
