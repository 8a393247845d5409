//! A sequence of steps, done by the engine and by the model at once.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use locks_core::{Backend, Engine, ErrorKind, LockError, ManualClock, Mode, OwnedGuard, Token};

use super::Step;
use super::arbiter::{Arbiter, Fate};
use super::key::{Time, Want};
use crate::polled::{Polled, engine};

const KEYS: [&str; 3] = ["a", "b", "c"];

struct Run {
    engine: Engine,
    backend: Backend,
    clock: ManualClock,
    model: Arbiter,
    pending: BTreeMap<usize, Polled>,
    guards: BTreeMap<usize, OwnedGuard>,
    /// The tokens of each key's grants, by the model's numbers.
    tokens: [BTreeMap<u64, Token>; 3],
}

pub(super) fn run(steps: &[Step]) {
    let (engine, backend, clock) = engine();
    let model = Arbiter::default();
    let (pending, guards, tokens) = Default::default();
    let mut run = Run { engine, backend, clock, model, pending, guards, tokens };
    for step in steps {
        run.step(step);
        run.compare();
    }
    run.finish();
}

/// The one of `all` that `which` means.
fn choose<'a>(all: impl Iterator<Item = &'a usize>, which: usize) -> Option<usize> {
    let all = all.copied().collect::<Vec<_>>();
    (!all.is_empty()).then(|| all[which % all.len()])
}

fn micros(time: Time) -> Duration {
    Duration::from_micros(time)
}

impl Run {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask(want) => self.ask(want),
            Step::Poll(which) => {
                let woken = self.pending.iter().filter(|(_, polled)| polled.is_woken());
                if let Some(request) = choose(woken.map(|(request, _)| request), which) {
                    self.poll(request);
                }
            }
            Step::PollAnyway(which) => {
                if let Some(request) = choose(self.pending.keys(), which) {
                    self.poll(request);
                }
            }
            Step::Cancel(which) => {
                if let Some(request) = choose(self.pending.keys(), which) {
                    self.pending.remove(&request);
                    self.model.cancel(request);
                }
            }
            Step::Release(which) => {
                if let Some(request) = choose(self.guards.keys(), which) {
                    self.release(request);
                }
            }
            Step::Refresh(which) => {
                if let Some(request) = choose(self.guards.keys(), which) {
                    let refreshed = self.guards[&request].refresh();
                    assert_eq!(refreshed.map_err(|error| error.kind()), self.standing(request));
                    self.model.refresh(request);
                }
            }
            Step::Evict(which) => {
                if let Some(request) = choose(self.guards.keys(), which) {
                    let (key, token) =
                        (self.model.wants[request].key, self.guards[&request].token());
                    let ended = self.backend.evict(KEYS[key], token).block().unwrap();
                    // The token may be that of a reservation by now.
                    if self.standing(request).is_ok() {
                        assert!(ended);
                        self.model.evict(request);
                    } else if ended {
                        self.model.end_reservation(key, self.model.numbers[request]);
                    }
                }
            }
            Step::List => self.list(),
            Step::Advance(by) => {
                self.clock.advance(micros(by));
                self.model.advance(by);
            }
        }
    }

    fn ask(&mut self, mut want: Want) {
        if !self.may_ask(&want) {
            want.wait = Some(0);
        }
        let mut lock = self.backend.named(KEYS[want.key]);
        lock = match want.mode {
            Mode::Exclusive => lock,
            Mode::Shared => lock.shared(),
            // Said in either order.
            Mode::Permit { take, of } if of % 2 == 0 => lock.permits(of).take(take),
            Mode::Permit { take, of } => lock.take(take).permits(of),
        };
        lock = match want.wait {
            None => lock,
            Some(0) => lock.wait(false),
            Some(limit) => lock.wait(micros(limit)),
        };
        if let Some(fair) = want.fair {
            lock = lock.fair(fair);
        }
        if let Some(owner) = want.owner {
            lock = lock.owner(owner);
        }
        if want.reentrant {
            lock = lock.reentrant();
        }
        if let Some(age) = want.steal_after {
            lock = lock.steal_after(micros(age));
        }
        if let Some(least) = want.at_least {
            lock = lock.hold_at_least(micros(least));
        }
        if let Some(most) = want.at_most {
            lock = lock.hold_at_most(micros(most));
        }
        let mut polled = Polled::new(lock);
        let outcome = polled.poll();
        let request = self.model.ask(want);
        self.pending.insert(request, polled);
        self.settle(request, outcome);
    }

    /// The model knows nothing of deadlocks across requests (C10): an owner waits for one thing
    /// at a time, and while it holds nothing but what it would upgrade.
    fn may_ask(&self, want: &Want) -> bool {
        let Some(owner) = want.owner else { return true };
        let of_owner = |request: &&usize| self.model.wants[**request].owner == Some(owner);
        if self.pending.keys().any(|request| of_owner(&request)) {
            return false;
        }
        let held = self.guards.keys().filter(of_owner);
        let held = held.filter(|request| self.standing(**request).is_ok()).collect::<Vec<_>>();
        held.is_empty()
            || want.reentrant
                && held.len() == 1
                && self.model.wants[*held[0]].key == want.key
                && self.model.wants[*held[0]].mode == Mode::Shared
                && want.mode == Mode::Exclusive
    }

    fn poll(&mut self, request: usize) {
        let outcome = self.pending.get_mut(&request).unwrap().poll();
        self.model.look(request);
        self.settle(request, outcome);
    }

    /// The engine's answer to a poll is the model's.
    fn settle(&mut self, request: usize, outcome: Poll<Result<OwnedGuard, LockError>>) {
        let fate = self.model.fates[request];
        match (outcome, fate) {
            (Poll::Pending, Fate::Waiting) => return,
            (Poll::Ready(Ok(guard)), Fate::Held | Fate::Lost(_)) => {
                self.note_token(request, guard.token());
                self.guards.insert(request, guard);
            }
            // It was robbed of what it had not taken, by its owner's next request, and asks again:
            // of that the model does not know that it would wait for itself (C10).
            (Poll::Ready(Err(error)), fate)
                if error.kind() == ErrorKind::Deadlock && self.has_owners_hold(request) =>
            {
                if fate == Fate::Waiting {
                    self.model.cancel(request);
                }
            }
            (Poll::Ready(Err(error)), Fate::Refused(kind)) => assert_eq!(error.kind(), kind),
            (outcome, fate) => panic!("request {request}: {outcome:?}, by the model {fate:?}"),
        }
        self.pending.remove(&request);
    }

    fn has_owners_hold(&self, request: usize) -> bool {
        let owner = self.model.wants[request].owner;
        let of_owner = |other: &&usize| self.model.wants[**other].owner == owner;
        owner.is_some() && self.guards.keys().any(|other| of_owner(&other))
    }

    /// Tokens grow with the grants of a key, and a nest keeps its own (C7).
    fn note_token(&mut self, request: usize, token: Token) {
        let number = self.model.numbers[request];
        let tokens = &mut self.tokens[self.model.wants[request].key];
        assert_eq!(*tokens.entry(number).or_insert(token), token, "C7: a nest has one token");
        let ascending = tokens.values().zip(tokens.values().skip(1)).all(|(a, b)| a < b);
        assert!(ascending, "C7: {tokens:?}");
    }

    fn release(&mut self, request: usize) {
        let standing = self.standing(request);
        let released = self.guards.remove(&request).unwrap().release();
        assert_eq!(released.map_err(|error| error.kind()), standing);
        self.model.release(request).ok();
    }

    /// What the model says of a guard.
    fn standing(&self, request: usize) -> Result<(), ErrorKind> {
        match self.model.fates[request] {
            Fate::Lost(cause) => Err(ErrorKind::Lost { cause }),
            _ => Ok(()),
        }
    }

    /// Whoever has reason to look has been woken, and whoever is lost knows it.
    fn compare(&self) {
        for (request, guard) in &self.guards {
            let standing = guard.check().map_err(|error| error.kind());
            assert_eq!(standing, self.standing(*request), "request {request}");
        }
        for (request, polled) in &self.pending {
            let want = &self.model.wants[*request];
            let key = &self.model.keys[want.key];
            let at = key.queue.iter().position(|waiter| waiter.request == *request);
            let has_reason = match (self.model.fates[*request], at) {
                (Fate::Waiting, Some(at)) => {
                    key.queue[at].called.is_some()
                        || self.model.first_due(want.key) == Some(at)
                        || want
                            .wait
                            .is_some_and(|limit| key.queue[at].since + limit <= self.model.now)
                }
                _ => true,
            };
            assert!(!has_reason || polled.is_woken(), "request {request} was not woken");
        }
    }

    fn list(&self) {
        let infos = self.backend.list().unwrap();
        for (key, name) in self.model.keys.iter().zip(KEYS) {
            let info = infos.iter().find(|info| info.key == name);
            let listed = info.map_or((0, 0), |info| (info.holders.len(), info.waiters.len()));
            assert_eq!(listed, (key.holds.len(), key.queue.len()), "of `{name}`");
        }
    }

    /// Everything is given back and time passes: everybody is served by wake-ups alone, and
    /// nothing is left (C5, C13).
    fn finish(&mut self) {
        loop {
            while let Some(request) = self.guards.keys().next().copied() {
                self.release(request);
            }
            self.compare();
            let woken = self.pending.iter().find(|(_, polled)| polled.is_woken());
            if let Some(request) = woken.map(|(request, _)| *request) {
                self.poll(request);
            } else if self.pending.is_empty() {
                break;
            } else {
                assert!(self.model.now < 1_000_000, "{:?} wait for ever", self.pending.keys());
                self.clock.advance(micros(2_000));
                self.model.advance(2_000);
            }
        }
        self.clock.advance(micros(10_000));
        assert_eq!(self.engine.live_keys(), 0, "{:?}", self.backend.list());
    }
}
