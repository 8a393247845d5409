//! The processes of the storm: four threads each that lock what they like, and one that cleans.

use std::env;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LockBuilder, LockError, OwnedGuard};
use locks_file::FileBackend;

use super::dice::Dice;
use super::log::{Entry, Event, HoldId, Log};
use super::plan::{AGES, LEAST, PLANS, Plan, SETS};
use crate::directory::{PATIENCE, told_directory};
use crate::peer::now;
use crate::polled::Polled;

pub(crate) const WITNESS: &str = "LOCKS_FILE_WITNESS";
pub(crate) const LIFE: &str = "LOCKS_FILE_LIFE";
pub(crate) const SEED: &str = "LOCKS_FILE_SEED";
/// What is wrong on purpose: `locks` are no locks, or `tokens` repeat.
pub(crate) const DEFECT: &str = "LOCKS_FILE_DEFECT";

/// In the witness's directory: what went wrong, and what came to nothing.
pub(crate) const FAULTS: &str = "faults";
pub(crate) const REFUSALS: &str = "refusals";

const THREADS: u32 = 4;

static OVER: AtomicBool = AtomicBool::new(false);

struct Worker<'a> {
    backend: &'a Backend,
    logs: &'a [Log],
    witness: &'a Path,
    tokens_repeat: bool,
    life: u32,
    thread: u32,
    serial: u64,
    dice: Dice,
    timeouts: u64,
    cancelled: u64,
}

fn told_number(variable: &str) -> u64 {
    env::var(variable).unwrap().parse().unwrap()
}

fn told_witness() -> PathBuf {
    env::var_os(WITNESS).unwrap().into()
}

/// Until the input ends: then whoever started it wants no more, or is gone.
fn end_with_input() {
    thread::spawn(|| {
        // Nothing is ever written to it.
        let _ = std::io::stdin().read(&mut [0]);
        OVER.store(true, Ordering::Relaxed);
    });
}

/// The program that locks.
pub(crate) fn work() {
    let (witness, mut directory) = (told_witness(), told_directory());
    let (life, seed) = (told_number(LIFE), told_number(SEED));
    let defect = env::var(DEFECT).ok();
    if defect.as_deref() == Some("locks") {
        // Everybody has locks of their own, and so none.
        directory.push(life.to_string());
    }
    let backend = open(&directory, &witness).into_backend();
    let logs = PLANS.map(|plan| Log::open(&witness, plan.key));
    end_with_input();
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let (backend, logs, witness, defect) = (&backend, &logs, &witness, &defect);
            threads.spawn(move || {
                let worker = Worker {
                    backend,
                    logs,
                    witness,
                    tokens_repeat: defect.as_deref() == Some("tokens"),
                    life: life.try_into().unwrap(),
                    thread,
                    serial: 0,
                    dice: Dice::new(seed ^ (life << 32) ^ u64::from(thread)),
                    timeouts: 0,
                    cancelled: 0,
                };
                worker.work();
            });
        }
    });
}

/// The program that cleans.
pub(crate) fn clean() {
    let witness = told_witness();
    let backend = open(&told_directory(), &witness);
    end_with_input();
    while !OVER.load(Ordering::Relaxed) {
        if let Err(error) = backend.clean(Duration::ZERO) {
            fail(&witness, &format!("cleaning: {error:?}"));
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// The directory, as soon as it can be had: whoever is stopped may have its books in hand, and
/// opening it does not wait for that for long.
fn open(directory: &Path, witness: &Path) -> FileBackend {
    let start = Instant::now();
    loop {
        match FileBackend::new(directory) {
            Ok(backend) => return backend,
            Err(error) if error.kind() == ErrorKind::Unavailable && start.elapsed() < PATIENCE => {}
            Err(error) => fail(witness, &format!("the directory: {error:?}")),
        }
    }
}

/// Says what went wrong, and ends the process.
fn fail(witness: &Path, what: &str) -> ! {
    append(witness, FAULTS, what);
    exit(1)
}

fn append(witness: &Path, name: &str, line: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(witness.join(name)).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

impl Worker<'_> {
    fn work(mut self) {
        while !OVER.load(Ordering::Relaxed) {
            self.turn();
        }
        let line = format!("{} {}", self.timeouts, self.cancelled);
        append(self.witness, REFUSALS, &line);
    }

    /// One lock, or several, taken in one of all ways and given back.
    fn turn(&mut self) {
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
        let outcome = if self.dice.one_in(4) { self.poll(lock) } else { self.wait(lock) };
        let Some(guard) = outcome else {
            if steals.is_some() {
                self.tell(keys, Event::Withdrew { hold });
            }
            return;
        };
        let token = guard.token().get();
        // A pair of grants has one token, then.
        let token = if self.tokens_repeat { token & !1 } else { token };
        let least = least.map_or(0, |least| least.as_nanos() as u64);
        let entry = Entry { hold, shared, token, asked, steals, least, of_set };
        self.tell(keys, Event::Entered(entry));
        self.stay(&plans, &guard);
        let looked = now();
        let lost = self.is_lost(guard.check());
        self.tell(keys, Event::Left { hold, looked, lost });
        let lost = self.is_lost(guard.release());
        self.tell(keys, Event::Released { hold, lost });
    }

    fn lock(
        &mut self,
        plans: &[Plan],
        shared: bool,
        steals: Option<Duration>,
        least: Option<Duration>,
    ) -> LockBuilder<'static> {
        let lock = match plans {
            [plan] => self.backend.named(plan.key),
            _ => self.backend.all(plans.iter().map(|plan| plan.key)),
        };
        let lock = if shared { lock.shared() } else { lock };
        let lock = if let Some(age) = steals { lock.steal_after(age) } else { lock };
        match (self.dice.below(6), least) {
            (0, None) => lock.wait(false),
            (1 | 2, None) => lock.wait(self.dice.micros(20_000)),
            (_, None) => lock,
            (0..4, Some(least)) => lock.hold_at_least(least).wait(least * 20),
            (_, Some(least)) => lock.hold_at_least(least).wait(false),
        }
    }

    /// As a thread does.
    fn wait(&mut self, lock: LockBuilder<'static>) -> Option<OwnedGuard> {
        match lock.acquire() {
            Ok(guard) => Some(guard.into_owned()),
            Err(error) => self.refused(&error),
        }
    }

    /// As a task does, which is cancelled sooner or later.
    fn poll(&mut self, lock: LockBuilder<'static>) -> Option<OwnedGuard> {
        let mut pending = Polled::begin(lock);
        for _ in 0..self.dice.below(8) {
            match pending.poll_for(self.dice.micros(2000)) {
                Some(Ok(guard)) => return Some(guard),
                Some(Err(error)) => return self.refused(&error),
                None => {}
            }
        }
        self.cancelled += 1;
        None
    }

    fn refused(&mut self, error: &LockError) -> Option<OwnedGuard> {
        if !error.is_contended() {
            fail(self.witness, &format!("an acquisition: {error:?}"));
        }
        self.timeouts += 1;
        None
    }

    /// What is done while it is held: mostly little, and now and then enough to be stolen.
    fn stay(&mut self, plans: &[Plan], guard: &OwnedGuard) {
        let long = plans.iter().any(|plan| plan.steals) && self.dice.one_in(10);
        let stay = self.dice.micros(if long { 80_000 } else { 300 });
        if long {
            thread::sleep(stay);
        } else {
            let start = Instant::now();
            while start.elapsed() < stay {
                thread::yield_now();
            }
        }
        if self.dice.one_in(20) {
            let _ = self.is_lost(guard.refresh());
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
