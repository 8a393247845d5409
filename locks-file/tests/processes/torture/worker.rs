//! The processes of the storm: a few threads each that lock what they like.

use std::env;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, LockBuilder, LockError, OwnedGuard};

use super::dice::Dice;
use super::disk::is_for_want_of_room;
use super::log::{Entry, Event, HoldId, Log};
use super::plan::{AGES, LEAST, PLANS, Plan, SETS, STAY, THREADS, WAIT, came_to_nothing};
use crate::fork::{end_with, fork, wait_for};
use crate::peer::now;
use crate::polled::Polled;

pub(crate) const WITNESS: &str = "LOCKS_STORM_WITNESS";
pub(crate) const LIFE: &str = "LOCKS_STORM_LIFE";
pub(crate) const SEED: &str = "LOCKS_STORM_SEED";
/// What is wrong on purpose: `locks` are no locks, or `tokens` repeat.
pub(crate) const DEFECT: &str = "LOCKS_STORM_DEFECT";

/// In the witness's directory: what went wrong, and what came to nothing.
pub(crate) const FAULTS: &str = "faults";
pub(crate) const REFUSALS: &str = "refusals";
/// A line for each request that was refused for want of room, also of those that are killed.
pub(crate) const NO_ROOM: &str = "no-room";

static OVER: AtomicBool = AtomicBool::new(false);

/// What is its own, and what lasts: a forked child has no other thread, and new ones of its get the
/// stacks that the parent's had.
struct Worker {
    backend: &'static Backend,
    logs: &'static [Log],
    witness: &'static Path,
    tokens_repeat: bool,
    /// Before each key: everybody has locks of their own, and so none.
    prefix: String,
    life: u32,
    thread: u32,
    serial: u64,
    dice: Dice,
    timeouts: u64,
    cancelled: u64,
}

/// Locks that are held, as written down.
struct Inside {
    guard: OwnedGuard,
    hold: HoldId,
    keys: Vec<usize>,
}

fn told_number(variable: &str) -> u64 {
    env::var(variable).unwrap().parse().unwrap()
}

/// Where the storm is written down.
pub(crate) fn told_witness() -> PathBuf {
    env::var_os(WITNESS).unwrap().into()
}

/// Until the input ends: then whoever started it wants no more, or is gone.
pub(crate) fn end_with_input() {
    thread::spawn(|| {
        // Nothing is ever written to it.
        let _ = std::io::stdin().read(&mut [0]);
        OVER.store(true, Ordering::Relaxed);
    });
}

pub(crate) fn is_over() -> bool {
    OVER.load(Ordering::Relaxed)
}

/// What a process of the storm does with its locks.
pub(crate) fn work(backend: Backend) {
    let backend: &Backend = Box::leak(Box::new(backend));
    let witness: &Path = Box::leak(told_witness().into_boxed_path());
    let (life, seed) = (told_number(LIFE), told_number(SEED));
    let defect = env::var(DEFECT).ok();
    let logs: &[Log] = Box::leak(Box::new(PLANS.map(|plan| Log::open(witness, plan.key))));
    end_with_input();
    thread::scope(|threads| {
        for thread in 0..=THREADS {
            let defect = defect.as_deref();
            threads.spawn(move || {
                let own_locks = defect == Some("locks");
                let worker = Worker {
                    backend,
                    logs,
                    witness,
                    tokens_repeat: defect == Some("tokens"),
                    prefix: if own_locks { format!("{life}-") } else { String::new() },
                    life: life.try_into().unwrap(),
                    thread,
                    serial: 0,
                    dice: Dice::new(seed ^ (life << 32) ^ u64::from(thread)),
                    timeouts: 0,
                    cancelled: 0,
                };
                // The last one forks.
                worker.work(if thread == THREADS { Worker::fork } else { Worker::turn });
            });
        }
    });
}

/// Says what went wrong, and ends the process.
pub(crate) fn fail(witness: &Path, what: &str) -> ! {
    append(witness, FAULTS, what);
    exit(1)
}

fn append(witness: &Path, name: &str, line: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(witness.join(name)).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

impl Worker {
    fn work(mut self, turn: impl Fn(&mut Self)) {
        while !is_over() {
            turn(&mut self);
        }
        let line = format!("{} {}", self.timeouts, self.cancelled);
        append(self.witness, REFUSALS, &line);
    }

    fn turn(&mut self) {
        if let Some(inside) = self.come_in() {
            self.stay_and_go(inside);
        }
    }

    /// A turn during which it forks a child, which has copies of everything (row 36).
    fn fork(&mut self) {
        let mut inside = self.come_in();
        let parent = std::process::id();
        let child = fork(|| {
            end_with(parent);
            self.play_child(inside.take());
        });
        if let Some(inside) = inside {
            self.stay_and_go(inside);
        }
        if !wait_for(child) {
            fail(self.witness, "a forked child has failed");
        }
        thread::park_timeout(self.dice.micros(30_000));
    }

    /// What its parent holds is lost in the child, and dropping it does nothing to the parent; then
    /// the child takes turns of its own, in its parent's name.
    fn play_child(&mut self, parents: Option<Inside>) {
        if let Some(Inside { guard, .. }) = parents {
            if guard.check().is_ok() || !guard.is_lost() {
                fail(self.witness, "a forked child holds what its parent holds");
            }
            drop(guard);
        }
        self.thread += 1;
        self.serial *= 100;
        self.dice = Dice::new(self.serial ^ u64::from(self.life));
        for _ in 0..self.dice.below(3) {
            self.turn();
        }
    }

    /// One lock, or several, taken in one of all ways.
    fn come_in(&mut self) -> Option<Inside> {
        let dice = &mut self.dice;
        let single = [dice.below(PLANS.len() as u64) as usize];
        let of_set = dice.one_in(8);
        let keys: &[usize] =
            if of_set { SETS[dice.below(SETS.len() as u64) as usize] } else { &single };
        let plans = Vec::from_iter(keys.iter().map(|key| PLANS[*key]));
        let shared = dice.one_in(3);
        let steals =
            (plans.iter().all(|plan| plan.steals) && dice.one_in(2)).then(|| *dice.of(&AGES));
        let least = plans.iter().any(|plan| plan.least).then_some(LEAST);
        let lock = self.lock(&plans, shared, steals, least);
        self.serial += 1;
        let hold = HoldId { life: self.life, thread: self.thread, serial: self.serial };
        let steals = steals.map(|age| age.as_nanos() as u64);
        if let Some(steals) = steals {
            self.tell(keys, Event::Tries { hold, steals });
        }
        let asked = now();
        let outcome =
            if self.dice.one_in(4) { self.poll(lock, asked) } else { self.wait(lock, asked) };
        let Some(guard) = outcome else {
            if steals.is_some() {
                self.tell(keys, Event::Withdrew { hold });
            }
            return None;
        };
        let token = guard.token().get();
        // A pair of grants has one token, then.
        let token = if self.tokens_repeat { token & !1 } else { token };
        let least = least.map_or(0, |least| least.as_nanos() as u64);
        let entry = Entry { hold, shared, token, asked, steals, least, of_set };
        self.tell(keys, Event::Entered(entry));
        Some(Inside { guard, hold, keys: keys.to_vec() })
    }

    /// And given back.
    fn stay_and_go(&mut self, Inside { guard, hold, keys }: Inside) {
        self.stay(&keys, &guard);
        let looked = now();
        let lost = self.is_lost(guard.check());
        self.tell(&keys, Event::Left { hold, looked, lost });
        if self.dice.one_in(6) {
            // Without a word about how it went.
            return drop(guard);
        }
        let lost = self.is_lost(guard.release());
        self.tell(&keys, Event::Released { hold, lost });
    }

    fn lock(
        &mut self,
        plans: &[Plan],
        shared: bool,
        steals: Option<Duration>,
        least: Option<Duration>,
    ) -> LockBuilder<'static> {
        let name = |plan: &Plan| format!("{}{}", self.prefix, plan.key);
        let lock = match plans {
            [plan] => self.backend.named(name(plan)),
            _ => self.backend.all(plans.iter().map(name)),
        };
        let lock = if shared { lock.shared() } else { lock };
        let lock = if let Some(age) = steals { lock.steal_after(age) } else { lock };
        match (self.dice.below(6), least) {
            (0, None) => lock.wait(false),
            (1 | 2, None) => lock.wait(self.dice.micros(WAIT)),
            (_, None) => lock,
            (0..4, Some(least)) => lock.hold_at_least(least).wait(least * 20),
            (_, Some(least)) => lock.hold_at_least(least).wait(false),
        }
    }

    /// As a thread does.
    fn wait(&mut self, lock: LockBuilder<'static>, asked: u64) -> Option<OwnedGuard> {
        match lock.acquire() {
            Ok(guard) => Some(guard.into_owned()),
            Err(error) => self.refused(&error, asked),
        }
    }

    /// As a task does, which is cancelled sooner or later.
    fn poll(&mut self, lock: LockBuilder<'static>, asked: u64) -> Option<OwnedGuard> {
        let mut pending = Polled::begin(lock);
        for _ in 0..self.dice.below(8) {
            match pending.poll_for(self.dice.micros(2000)) {
                Some(Ok(guard)) => return Some(guard),
                Some(Err(error)) => return self.refused(&error, asked),
                None => {}
            }
        }
        self.cancelled += 1;
        None
    }

    fn refused(&mut self, error: &LockError, asked: u64) -> Option<OwnedGuard> {
        if is_for_want_of_room(self.witness, asked, error) {
            append(self.witness, NO_ROOM, "");
            // It would be refused again.
            thread::park_timeout(self.dice.micros(5_000));
            return None;
        }
        if !came_to_nothing(error) {
            fail(self.witness, &format!("an acquisition: {error:?}"));
        }
        self.timeouts += 1;
        None
    }

    /// What is done while it is held: mostly little, and now and then enough to be stolen.
    fn stay(&mut self, keys: &[usize], guard: &OwnedGuard) {
        let long = keys.iter().any(|key| PLANS[*key].steals) && self.dice.one_in(10);
        let stay = self.dice.micros(if long { 80_000 } else { STAY });
        if long {
            thread::sleep(stay);
        } else {
            let start = Instant::now();
            while start.elapsed() < stay {
                thread::yield_now();
            }
        }
        if self.dice.one_in(20) {
            let asked = now();
            match guard.refresh() {
                // The new age cannot be written down; the lock is there.
                Err(error) if is_for_want_of_room(self.witness, asked, &error) => {
                    append(self.witness, NO_ROOM, "");
                }
                outcome => drop(self.is_lost(outcome)),
            }
        }
    }

    fn is_lost(&self, outcome: Result<(), LockError>) -> bool {
        match outcome {
            Ok(()) => false,
            Err(error) if error.is_lost() => true,
            Err(error) => fail(self.witness, &format!("a hold: {error:?}")),
        }
    }

    fn tell(&self, keys: &[usize], event: Event) {
        keys.iter().for_each(|key| self.logs[*key].append(event));
    }
}
