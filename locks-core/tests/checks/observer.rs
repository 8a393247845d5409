//! Who is told of holds that end from outside, and when (C6, C8, C11, C14).

use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use locks_core::{Backend, Engine, Loss, LostCause, ManualClock, Observer, OwnerId, Query, Token};

use crate::polled::Polled;

const AGE: Duration = Duration::from_secs(5);

/// What it was told, as one line each, in between what else has happened.
#[derive(Default)]
struct Journal {
    lines: Mutex<Vec<String>>,
    /// Asked whenever something is told, since that has to be possible.
    engine: OnceLock<Engine>,
}

impl Journal {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Observer for Journal {
    fn lost(&self, loss: &Loss<'_>) {
        let engine = self.engine.get().unwrap();
        engine.inspect(Query::Key(loss.key.to_owned())).block().unwrap();
        let owner = loss.owner.map_or("nobody".to_owned(), |owner| owner.to_string());
        let guards = loss.guards.iter().map(Token::to_string).collect::<Vec<_>>().join("+");
        let (key, token) = (loss.key, loss.token);
        self.note(format!("{key} {token} ({guards}) of {owner}: {:?}", loss.cause));
    }
}

/// Writes that it was woken between what the journal is told.
struct Noted(Arc<Journal>, &'static str);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.note(format!("woken: {}", self.1));
    }
}

fn observed() -> (Engine, Backend, ManualClock, Arc<Journal>) {
    let clock = ManualClock::new();
    let journal = Arc::new(Journal::default());
    let builder = Engine::builder().clock(Arc::new(clock.clone())).observer(journal.clone());
    let engine = builder.build();
    assert!(journal.engine.set(engine.clone()).is_ok());
    (engine.clone(), Backend::new(engine), clock, journal)
}

#[test]
fn c6_a_steal_is_told_before_the_thief_is_answered() {
    let (_, backend, clock, journal) = observed();
    let victim = backend.named("k").owner(7).acquire().unwrap();
    clock.advance(AGE);
    let thief = backend.named("k").steal_after(AGE).wait(false).acquire().unwrap();
    let (lost, taken) = (victim.token(), thief.token());
    assert!(lost < taken);
    assert_eq!(journal.take(), [format!("k {lost} ({lost}) of owner 7: Stolen")]);
    drop((victim, thief));
    assert!(journal.take().is_empty(), "what is released is not told");
}

#[test]
fn c6_a_steal_is_told_before_those_who_wait_and_watch_are_woken() {
    let (engine, backend, _, journal) = observed();
    let victim = backend.named("k").owner(7).acquire().unwrap().into_owned();
    let token = victim.token();
    let waker = |who| Waker::from(Arc::new(Noted(journal.clone(), who)));
    let mut waiter = Box::pin(backend.named("k").fair(true).acquire_async());
    assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker("waiter"))).is_pending());
    let mut watch = Box::pin(victim.lost());
    assert!(watch.as_mut().poll(&mut Context::from_waker(&waker("watcher"))).is_pending());
    assert!(engine.lose("k", token, LostCause::SessionEnded));
    let told = journal.take();
    assert_eq!(told[0], format!("k {token} ({token}) of owner 7: SessionEnded"));
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn c9_the_guards_of_a_nest_are_told_with_their_own_tokens() {
    let (engine, backend, _, journal) = observed();
    let read = backend.named("k").owner(7).shared().acquire().unwrap();
    let again = backend.named("k").owner(7).shared().reentrant().acquire().unwrap();
    let write = backend.named("k").owner(7).reentrant().acquire().unwrap();
    let (outer, upgraded) = (read.token(), write.token());
    assert_eq!((again.token(), outer < upgraded), (outer, true));
    drop(again);
    assert!(engine.evict("k", upgraded).block().unwrap());
    let told = format!("k {outer} ({outer}+{upgraded}) of owner 7: Evicted");
    assert_eq!(journal.take(), [told]);
}

#[test]
fn c11_the_members_of_a_broken_set_are_told_one_by_one() {
    let (engine, backend, _, journal) = observed();
    let set = backend.all(["b", "a", "c"]).owner(7).acquire().unwrap();
    let token = set.token();
    let mut waiting = Polled::waiting(backend.named("c"));
    assert!(engine.evict("b", token).block().unwrap());
    let told = ["b", "a", "c"].map(|key| format!("{key} {token} ({token}) of owner 7: Evicted"));
    assert_eq!(journal.take(), told);
    drop(waiting.granted());
}

#[test]
fn c14_a_hold_that_was_held_for_too_long_is_told_when_it_ends() {
    let (engine, backend, clock, journal) = observed();
    let owner = OwnerId::from(7).in_realm(2);
    let held = backend.named("k").owner(owner).hold_at_most(AGE).acquire().unwrap();
    let token = held.token();
    clock.advance(AGE - Duration::from_nanos(1));
    assert!(journal.take().is_empty());
    clock.advance(Duration::from_nanos(1));
    let told = format!("k {token} ({token}) of owner 7 of client 2: HeldTooLong");
    assert_eq!(journal.take(), [told]);
    drop(held);
    assert_eq!(engine.live_keys(), 0);
}
