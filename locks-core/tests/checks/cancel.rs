//! Every kind of acquisition, polled or not between the steps of others, and dropped (C5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Backend, CallSite, Caller, Engine, Keys, LockError, ManualClock, Options, OwnedGuard, Request,
    Scope, scope,
};

use crate::polled::{Polled, Wakes, engine};

/// The acquisition to be dropped; what it gets is given back when it is ready.
type Attempt = Pin<Box<dyn Future<Output = Result<(), LockError>>>>;

const AGE: Duration = Duration::from_secs(5);

type Begin = fn(&Backend) -> Attempt;

/// What can be asked for, one way each. `b` is held by somebody else.
const KINDS: &[(&str, Begin)] = &[
    ("plain", |at| attempt(at.named("b").acquire_async())),
    ("fair", |at| attempt(at.named("b").fair(true).acquire_async())),
    ("unfair", |at| attempt(at.named("b").fair(false).acquire_async())),
    ("shared", |at| attempt(at.named("b").shared().acquire_async())),
    ("timed", |at| attempt(at.named("b").wait(AGE).acquire_async())),
    ("not waiting", |at| attempt(at.named("b").wait(false).acquire_async())),
    ("thief", |at| attempt(at.named("b").steal_after(AGE).acquire_async())),
    ("bounded", |at| attempt(at.named("b").hold_at_most(AGE).acquire_async())),
    ("reserving", |at| attempt(at.named("b").hold_at_least(AGE).acquire_async())),
    ("owned", |at| attempt(at.named("b").owner(7).reentrant().acquire_async())),
    ("several", |at| attempt(at.all(["a", "b", "c"]).acquire_async())),
    ("several, timed", |at| attempt(at.all(["a", "b"]).wait(AGE).acquire_async())),
    ("several, thief", |at| attempt(at.all(["a", "b"]).steal_after(AGE).acquire_async())),
    ("in a scope", |at| attempt(scope(at.named("b").acquire_async()))),
    ("by the trait", |at| {
        let at = at.clone();
        Box::pin(async move {
            let caller = Caller::anonymous().at(CallSite::caller());
            let request = Request::new(Keys::one("b"), Options::default(), caller);
            let granted = at.acquire(request).await?;
            at.release(granted.hold).await
        })
    }),
];

fn attempt(acquire: impl Future<Output = Result<OwnedGuard, LockError>> + 'static) -> Attempt {
    Box::pin(async { acquire.await.map(drop) })
}

/// What others do meanwhile, one after the other.
const STEPS: [fn(&mut Others); 6] = [
    |others| others.next = Some(Polled::waiting(others.backend.named("b"))),
    |others| others.clock.advance(Duration::from_micros(300)),
    |others| others.holder = None,
    |others| drop(others.backend.named("b").wait(false).acquire()),
    |others| others.clock.advance(Duration::from_micros(300)),
    |others| others.clock.advance(AGE),
];

struct Others {
    engine: Engine,
    backend: Backend,
    clock: ManualClock,
    holder: Option<OwnedGuard>,
    next: Option<Polled>,
    served: Option<OwnedGuard>,
}

impl Others {
    fn new() -> Self {
        let (engine, backend, clock) = engine();
        let holder = Some(backend.named("b").acquire().unwrap().into_owned());
        Self { engine, backend, clock, holder, next: None, served: None }
    }

    /// Whoever is next is woken, and finds the key.
    fn assert_next_is_served(&mut self, what: &str) {
        // A reservation, if the attempt has been granted and has ended.
        self.clock.advance(AGE);
        self.holder = None;
        if self.served.is_none()
            && let Some(mut next) = self.next.take()
        {
            assert!(next.is_woken(), "{what}: the next one was not woken");
            let Poll::Ready(Ok(guard)) = next.poll() else { panic!("{what}: not served") };
            self.served = Some(guard);
        }
    }

    /// Nothing is left: no hold, no place in a queue, no key (C5, C13).
    fn assert_nothing_left(&mut self, what: &str) {
        self.served = None;
        let left = self.backend.list().unwrap();
        assert!(left.is_empty(), "{what}: {left:?}");
        assert_eq!(self.engine.live_keys(), 0, "{what}");
        assert!(self.engine.known_keys() <= 3, "{what}");
    }
}

#[test]
fn c5_an_acquisition_dropped_at_any_point_leaves_nothing_behind() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    for (name, begin) in KINDS {
        for dropped_before in 0..=STEPS.len() {
            // One bit for each step: whether it is polled before that.
            for polls in 0..1_u32 << (dropped_before + 1) {
                let what = format!("{name}, polled {polls:b}, dropped before {dropped_before}");
                let mut others = Others::new();
                let mut attempt = Some(begin(&others.backend));
                for (index, step) in STEPS.iter().enumerate() {
                    poll_if(polls & 1 << index != 0, &mut attempt, &waker);
                    if index == dropped_before {
                        attempt = None;
                    }
                    step(&mut others);
                }
                poll_if(polls & 1 << STEPS.len() != 0, &mut attempt, &waker);
                drop(attempt);
                others.assert_next_is_served(&what);
                others.assert_nothing_left(&what);
            }
        }
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 1, "C5: a waker of a dropped attempt is kept");
}

fn poll_if(wanted: bool, attempt: &mut Option<Attempt>, waker: &Waker) {
    if wanted
        && let Some(pending) = attempt
        && pending.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
    {
        *attempt = None;
    }
}

#[test]
fn c5_a_dropped_upgrade_leaves_the_shared_hold() {
    for polls in 0..4 {
        let (engine, backend, _clock) = engine();
        let mine = backend.named("k").shared().owner(7).acquire().unwrap();
        let other = backend.named("k").shared().acquire().unwrap();
        let mut upgrade = Polled::new(backend.named("k").owner(7).reentrant());
        for _ in 0..polls {
            assert!(upgrade.poll().is_pending());
        }
        let mut reader = Polled::new(backend.named("k").shared());
        assert_eq!(reader.poll().is_pending(), polls > 0, "the upgrade comes first");
        drop(upgrade);
        if polls > 0 {
            drop(reader.granted());
        }
        mine.check().unwrap();
        drop((other, mine, reader));
        assert_eq!(engine.live_keys(), 0);
    }
}

#[test]
fn c5_an_upgrade_granted_and_dropped_gives_back_what_it_added() {
    let (engine, backend, _clock) = engine();
    let mine = backend.named("k").shared().owner(7).acquire().unwrap();
    let other = backend.named("k").shared().acquire().unwrap();
    let upgrade = Polled::waiting(backend.named("k").owner(7).reentrant());
    let mut reader = Polled::waiting(backend.named("k").shared());
    drop(other);
    assert!(upgrade.is_woken());
    assert!(!reader.is_woken());
    drop(upgrade);
    drop(reader.granted());
    mine.check().unwrap();
    drop(mine);
    drop(reader);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c5_a_grant_that_is_never_fetched_is_given_back() {
    let (engine, backend, _clock) = engine();
    let site = CallSite::caller();
    let held = |key: &str| backend.named(key.to_owned()).wait(false).acquire().is_err();
    let in_place = backend.named("k").begin_in(None, site);
    assert!(held("k"), "what can be decided without waiting is");
    let scope = Scope::open();
    let in_scope = backend.named("l").begin_in(Some(&scope), site);
    let several = backend.all(["m", "n"]).begin_in(None, site);
    assert!(held("l") && held("m") && held("n"));
    // None of them has been polled.
    drop((in_place, in_scope, several));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c4_a_release_that_is_not_waited_for_happens_all_the_same() {
    for polls in 0..2 {
        let (engine, backend, _clock) = engine();
        let held = backend.named("k").acquire().unwrap().into_owned();
        let mut next = Polled::waiting(backend.named("k"));
        let mut release = Box::pin(held.release_async());
        for _ in 0..polls {
            let _ = release.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        drop(release);
        drop(next.granted());
        assert_eq!(engine.live_keys(), 0);
    }
}

#[test]
fn c8_waiting_for_a_loss_that_is_dropped_changes_nothing() {
    for polls in 0..3 {
        let (engine, backend, _clock) = engine();
        let held = backend.named("k").acquire().unwrap().into_owned();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut lost = Box::pin(held.lost());
        for _ in 0..polls {
            assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(lost);
        held.check().unwrap();
        held.release().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1, "the waker is kept");
        assert_eq!(engine.live_keys(), 0);
    }
}
