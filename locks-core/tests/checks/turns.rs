//! Turns: what has been granted here and is not a hold yet (C1, C9, C11).

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use locks_core::{
    Backend, Claim, ClaimSet, Completion, Engine, ErrorKind, LostCause, Op, Token, Upstream,
    UpstreamEnd, UpstreamGrant, WeakEngine,
};

use crate::polled::{Polled, engine};

const AGE: Duration = Duration::from_secs(5);
const TURN: UpstreamGrant = UpstreamGrant::new(1, Token::new(77));

/// An upstream that grants nothing until it is told to, and counts what has ended.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    ended: AtomicUsize,
}

impl Upstream for Gate {
    fn claim<'a>(&'a self, _: Claim<'a>) -> Op<'a, UpstreamGrant> {
        Op::later(poll_fn(|_| match self.open.load(Ordering::SeqCst) {
            true => Poll::Ready(Ok(TURN)),
            false => Poll::Pending,
        }))
    }

    fn complete(&self, _: &str, _: UpstreamGrant, _: Completion) -> Op<'static, ()> {
        unreachable!("nobody asks for several keys")
    }

    fn claims_sets(&self) -> bool {
        false
    }

    fn claim_set<'a>(&'a self, _: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        unreachable!("nobody asks for several keys")
    }

    fn end(&self, _: &str, turn: UpstreamGrant, _: UpstreamEnd) -> Op<'static, ()> {
        assert_eq!(turn, TURN);
        self.ended.fetch_add(1, Ordering::SeqCst);
        Op::ready(())
    }

    loses_nothing!();
}

fn behind_a_gate() -> (Engine, Backend, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let engine = Engine::builder().upstream(gate.clone()).build();
    (engine.clone(), Backend::new(engine), gate)
}

#[test]
fn c9_nobody_nests_in_a_turn_that_the_upstream_has_not_granted() {
    let (engine, backend, gate) = behind_a_gate();
    let lock = || backend.named("k").owner(7).reentrant();
    let mut first = Polled::waiting(lock());
    let mut second = Polled::new(lock());
    if let Poll::Ready(Ok(guard)) = second.poll() {
        panic!("C1: held with token {} and without the upstream", guard.token());
    }
    let refused = lock().wait(false).acquire().expect_err("the upstream has granted nothing");
    assert_eq!(refused.kind(), ErrorKind::Contended);
    gate.open.store(true, Ordering::SeqCst);
    let Poll::Ready(Ok(outer)) = first.poll() else { panic!("the upstream has granted it") };
    // The turn has become a grant, in which it can nest.
    let inner = second.granted();
    assert_eq!((outer.token(), inner.token()), (TURN.token, TURN.token));
    drop(outer);
    inner.check().unwrap();
    assert_eq!(gate.ended.load(Ordering::SeqCst), 0, "the nest is held");
    drop(inner);
    assert_eq!(gate.ended.load(Ordering::SeqCst), 1);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c9_a_turn_given_up_leaves_nobody_inside() {
    let (engine, backend, gate) = behind_a_gate();
    let lock = || backend.named("k").owner(7).reentrant();
    let first = Polled::waiting(lock());
    let mut second = Polled::waiting(lock());
    drop(first);
    gate.open.store(true, Ordering::SeqCst);
    // It has a turn of its own now, and asks the upstream itself.
    let guard = second.granted();
    guard.check().unwrap();
    drop(guard);
    assert_eq!(gate.ended.load(Ordering::SeqCst), 1);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_nobody_nests_in_a_set_that_is_not_complete() {
    let (engine, backend, clock) = engine();
    let other = backend.named("b").owner(1).acquire().unwrap();
    let set = Polled::waiting(backend.all(["a", "b"]).owner(2).reentrant());
    // An unfinished set does not age: what nests in its turn could not be stolen for ever after.
    let nested = backend.named("a").owner(2).reentrant().wait(false).acquire();
    assert_eq!(nested.expect_err("`a` is a turn").kind(), ErrorKind::Contended);
    drop(set);
    let held = backend.named("a").owner(2).acquire().unwrap();
    let mut thief = Polled::waiting(backend.named("a").owner(3).steal_after(AGE));
    clock.advance(AGE);
    let stolen = thief.granted();
    assert!(held.is_lost());
    drop((stolen, held, other));
    assert_eq!(engine.live_keys(), 0);
}

/// An upstream that grants sets with tokens that do not grow, and in whose answer one of the keys
/// is ended here.
#[derive(Default)]
struct Sets {
    engine: OnceLock<WeakEngine>,
    ended: Mutex<Vec<String>>,
}

impl Upstream for Sets {
    fn claim<'a>(&'a self, _: Claim<'a>) -> Op<'a, UpstreamGrant> {
        Op::ready(TURN)
    }

    fn complete(&self, _: &str, _: UpstreamGrant, _: Completion) -> Op<'static, ()> {
        unreachable!("sets are claimed in one step")
    }

    fn claims_sets(&self) -> bool {
        true
    }

    fn claim_set<'a>(&'a self, claim: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        assert_eq!(claim.keys, ["b", "c"]);
        let engine = self.engine.get().and_then(WeakEngine::upgrade).expect("it asks");
        // What is not granted yet has a name of its own, above all tokens.
        let mut names = ((1 << 61)..).take(64).map(Token::new);
        assert!(names.any(|name| engine.lose("b", name, LostCause::Evicted)));
        Op::ready(UpstreamGrant::new(2, Token::new(TURN.token.get() - 1)))
    }

    fn end(&self, key: &str, _: UpstreamGrant, _: UpstreamEnd) -> Op<'static, ()> {
        self.ended.lock().unwrap().push(key.to_owned());
        Op::ready(())
    }

    loses_nothing!();
}

#[test]
fn c4_a_set_that_comes_to_nothing_ends_the_key_that_was_ended_here_too() {
    let sets = Arc::new(Sets::default());
    let engine = Engine::builder().upstream(sets.clone()).build();
    assert!(sets.engine.set(engine.downgrade()).is_ok());
    let backend = Backend::new(engine.clone());
    let outer = backend.named("a").owner(7).acquire().unwrap();
    let refused = backend.all(["a", "b", "c"]).owner(7).reentrant().acquire().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol, "{refused}");
    let mut ended = sets.ended.lock().unwrap().clone();
    ended.sort();
    ended.dedup();
    assert_eq!(ended, ["b", "c"], "C4: the rest is held at the upstream for ever");
    outer.check().unwrap();
    drop(outer);
    assert_eq!(engine.live_keys(), 0);
}
