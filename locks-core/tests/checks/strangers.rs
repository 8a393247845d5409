//! Code of others that panics, or calls the engine, where the engine calls it: nothing is lost of a
//! wake-up, a hold or a place in the queue (C4, C5, C7; F45).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use locks_core::{
    Acquire, Backend, Claim, ClaimSet, Completion, Engine, Loss, Observer, Op, Query, Token,
    TokenSource, Upstream, UpstreamEnd, UpstreamGrant, WeakEngine,
};

use crate::polled::Polled;

/// What each of them panics with, without a word from the hook.
struct OnPurpose;

/// Somebody else's code: it looks around in the engine, and panics if it is told to.
#[derive(Default)]
struct Stranger {
    panics: AtomicBool,
    calls: AtomicU64,
    engine: OnceLock<WeakEngine>,
    last: Mutex<u64>,
}

impl Stranger {
    fn is_called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(engine) = self.engine.get().and_then(WeakEngine::upgrade) {
            // Hangs if a mutex of the engine is held.
            let _ = engine.live_keys();
            drop(engine.inspect(Query::Key("k".into())));
        }
        if self.panics.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new(OnPurpose));
        }
    }

    fn panics(&self, panics: bool) {
        self.panics.store(panics, Ordering::SeqCst);
    }
}

impl Observer for Stranger {
    fn lost(&self, _: &Loss<'_>) {
        self.is_called();
    }
}

impl TokenSource for Stranger {
    fn next(&self, after: Token) -> Token {
        self.is_called();
        let mut last = self.last.lock().unwrap();
        *last = after.get().max(*last) + 10;
        Token::new(*last)
    }
}

impl Upstream for Stranger {
    fn claim<'a>(&'a self, _: Claim<'a>) -> Op<'a, UpstreamGrant> {
        let mut last = self.last.lock().unwrap();
        *last += 1;
        Op::ready(UpstreamGrant::new(*last, Token::new(*last)))
    }

    fn claims_sets(&self) -> bool {
        false
    }

    fn claim_set<'a>(&'a self, _: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        unreachable!("nobody asks for several keys")
    }

    fn complete(&self, _: &str, _: UpstreamGrant, _: Completion) -> Op<'static, ()> {
        unreachable!("nobody asks for several keys")
    }

    fn end(&self, _: &str, _: UpstreamGrant, _: UpstreamEnd) -> Op<'static, ()> {
        self.is_called();
        Op::ready(())
    }

    loses_nothing!();
}

type Role = fn(locks_core::EngineBuilder, Arc<Stranger>) -> locks_core::EngineBuilder;

fn with(role: Role) -> (Engine, Backend, Arc<Stranger>) {
    let stranger = Arc::new(Stranger::default());
    let engine = role(Engine::builder(), stranger.clone()).build();
    stranger.engine.get_or_init(|| engine.downgrade());
    (engine.clone(), Backend::new(engine), stranger)
}

#[track_caller]
fn panics<R>(act: impl FnOnce() -> R) {
    let outcome = catch_unwind(AssertUnwindSafe(act));
    let Err(panic) = outcome else { panic!("the stranger's panic was swallowed") };
    assert!(panic.is::<OnPurpose>(), "another panic than the stranger's");
}

#[test]
fn c8_an_observer_that_panics_loses_no_waiter() {
    let (engine, backend, stranger) = with(|builder, observer| builder.observer(observer));
    let victim = backend.named("k").acquire().unwrap();
    let mut waiter = Polled::waiting(backend.named("k"));
    stranger.panics(true);
    panics(|| backend.evict("k", victim.token()).block());
    assert!(victim.is_lost());
    drop((waiter.granted(), victim));
    assert_eq!((engine.live_keys(), stranger.calls.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn c6_an_observer_that_panics_leaves_nothing_with_the_thief_that_never_had_it() {
    let (engine, backend, stranger) = with(|builder, observer| builder.observer(observer));
    let victim = backend.named("k").acquire().unwrap();
    stranger.panics(true);
    let steal = || backend.named("k").wait(false).steal_after(Duration::ZERO);
    panics(|| steal().acquire());
    drop(victim);
    assert_eq!(engine.live_keys(), 0, "{:?}", backend.list());
}

#[test]
fn c4_a_panic_while_another_one_is_under_way_does_not_abort() {
    let (engine, backend, stranger) = with(|builder, upstream| builder.upstream(upstream));
    let held = backend.named("k").acquire().unwrap();
    let mut waiter = Polled::waiting(backend.named("k"));
    stranger.panics(true);
    panics(|| {
        let _held = held;
        std::panic::resume_unwind(Box::new(OnPurpose));
    });
    stranger.panics(false);
    drop(waiter.granted());
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c4_an_upstream_whose_end_panics_keeps_nobody_waiting() {
    let (engine, backend, stranger) = with(|builder, upstream| builder.upstream(upstream));
    let held = backend.named("k").acquire().unwrap();
    let mut waiter = Polled::waiting(backend.named("k"));
    stranger.panics(true);
    panics(|| drop(held));
    stranger.panics(false);
    drop(waiter.granted());
    assert_eq!((engine.live_keys(), stranger.calls.load(Ordering::SeqCst)), (0, 2));
}

#[test]
fn c7_tokens_are_drawn_by_whoever_may_call_the_engine() {
    let (engine, backend, stranger) = with(|builder, tokens| builder.tokens(tokens));
    let first = backend.named("k").fair(true).acquire().unwrap();
    let mut waiter = Polled::waiting(backend.named("k").fair(true));
    let mut next = Polled::waiting(backend.named("k").fair(true));
    let mut last = first.token();
    drop(first);
    for waiter in [&mut waiter, &mut next] {
        let guard = waiter.granted();
        assert!(guard.token() > last, "C7: {} after {last}", guard.token());
        last = guard.token();
    }
    drop((waiter, next));
    assert!(stranger.calls.load(Ordering::SeqCst) >= 3);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c7_a_token_source_that_panics_loses_no_waiter() {
    let (engine, backend, stranger) = with(|builder, tokens| builder.tokens(tokens));
    stranger.panics(true);
    panics(|| backend.named("k").acquire());
    stranger.panics(false);
    let shared = backend.named("k").shared().acquire().unwrap();
    // Each has drawn a token for itself; the second release has to draw one for the last of them.
    let mut waiters = [0; 2].map(|_| Polled::waiting(backend.named("k").fair(true)));
    let evicted = backend.all(["k", "l"]).wait(false).acquire();
    assert!(evicted.unwrap_err().is_contended());
    stranger.panics(true);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(shared)));
    stranger.panics(false);
    for waiter in &mut waiters {
        assert!(waiter.is_woken(), "whoever is next looks for itself");
        let guard = match waiter.poll() {
            Poll::Ready(outcome) => outcome.unwrap(),
            Poll::Pending => waiter.granted(),
        };
        stranger.panics(true);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(guard)));
        stranger.panics(false);
    }
    assert_eq!(engine.live_keys(), 0, "{:?}", backend.list());
}

#[test]
fn c8_a_grant_that_was_ended_before_it_was_taken_is_asked_for_again() {
    let engine = Engine::new();
    let backend = Backend::new(engine.clone());
    let held = backend.named("k").fair(true).acquire().unwrap();
    let mut waiter = Polled::waiting(backend.named("k").fair(true));
    let mut behind = Polled::waiting(backend.named("k").fair(true));
    drop(held);
    let token = backend.list().unwrap()[0].holders[0].token.unwrap();
    assert!(waiter.is_woken() && backend.evict("k", token).block().unwrap());
    // It has not known of it, and stands before nobody and behind whoever was granted the key then.
    assert!(waiter.poll().is_pending(), "`Lost` is for holders");
    let next = behind.granted();
    drop(next);
    let guard = waiter.granted();
    guard.check().unwrap();
    assert!(guard.token() > token);
    drop((guard, waiter, behind));
    assert_eq!(engine.live_keys(), 0);
}

/// Waits for `key` with a waker that panics.
fn spiteful(
    backend: &Backend,
    key: &'static str,
    owner: Option<u64>,
) -> Pin<Box<Acquire<'static>>> {
    struct Spite;
    impl Wake for Spite {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new(OnPurpose));
        }
    }
    let lock = backend.named(key);
    let mut wait = Box::pin(match owner {
        Some(owner) => lock.owner(owner).reentrant().acquire_async(),
        None => lock.fair(true).acquire_async(),
    });
    let waker = Waker::from(Arc::new(Spite));
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    wait
}

#[test]
fn c11_a_waker_that_panics_keeps_no_other_key_of_a_set_from_being_released() {
    let (engine, backend, _) = with(|builder, _| builder);
    let set = backend.all(["a", "b"]).acquire().unwrap();
    let waiter = spiteful(&backend, "a", None);
    panics(|| drop(set));
    drop(waiter);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_waker_that_panics_keeps_no_key_of_a_set_that_is_given_up() {
    let (engine, backend, _) = with(|builder, _| builder);
    let held = backend.named("c").acquire().unwrap();
    let set = Polled::waiting(backend.all(["a", "b", "c"]));
    let waiter = spiteful(&backend, "b", None);
    panics(|| drop(set));
    drop((waiter, held));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_waker_that_panics_while_a_set_is_completed_leaves_nothing_held() {
    let (engine, backend, _) = with(|builder, _| builder);
    let held = backend.named("b").acquire().unwrap();
    let mut set = Polled::waiting(backend.all(["a", "b"]).owner(9));
    // It nests in the set once that is complete.
    let waiter = spiteful(&backend, "a", Some(9));
    drop(held);
    panics(|| set.poll().is_ready());
    drop((waiter, set));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_waker_that_panics_keeps_no_key_of_a_broken_set_held() {
    let (_, backend, _) = with(|builder, _| builder);
    let set = backend.all(["a", "b", "c"]).acquire().unwrap();
    let waiter = spiteful(&backend, "b", None);
    let mut other = Polled::waiting(backend.named("c").fair(true));
    panics(|| backend.evict("a", set.token()).block());
    assert!(set.is_lost());
    assert!(other.poll().is_ready(), "it goes with the key that was lost");
    drop(waiter);
}
