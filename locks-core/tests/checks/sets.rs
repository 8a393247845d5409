//! What the loss of one key does to the others of its set, and to nothing else (C11).

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use locks_core::{Backend, Caller, KeySet, Keys, LostCause, Options, OwnedGuard, Request, Token};

use crate::polled::engine;

/// The token of the only hold of `key`.
fn token_of(backend: &Backend, key: &str) -> Token {
    let infos = backend.list().unwrap();
    let info = infos.iter().find(|info| info.key == key).expect("it is held");
    let [holder] = info.holders.as_slice() else { panic!("{info}") };
    holder.token.expect("a hold has a token")
}

fn evict(backend: &Backend, key: &str) {
    assert!(backend.evict(key, token_of(backend, key)).block().unwrap());
}

fn lost_by(guard: &OwnedGuard) -> Option<LostCause> {
    let waker = Waker::noop();
    match pin!(guard.lost()).poll(&mut Context::from_waker(waker)) {
        std::task::Poll::Ready(cause) => Some(cause),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn c11_a_broken_set_spares_what_a_member_is_nested_in() {
    let (engine, backend, _clock) = engine();
    let named = |key: &'static str| backend.named(key).owner(1).reentrant();
    let outer = named("b").acquire().unwrap().into_owned();
    let set = backend.all(["a", "b", "c"]).owner(1).reentrant().acquire().unwrap().into_owned();
    evict(&backend, "a");
    assert_eq!(lost_by(&set), Some(LostCause::Evicted));
    outer.check().expect("nobody has ended the hold of `b`");
    // The third one went with the first.
    drop(backend.named("c").wait(false).acquire().unwrap());
    assert!(backend.named("b").wait(false).acquire().unwrap_err().is_contended());
    drop(set);
    outer.check().expect("the late release of the set is not its own");
    drop(outer);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_nest_that_is_lost_takes_the_set_inside_it_for_that_key() {
    let (engine, backend, _clock) = engine();
    let outer = backend.named("b").owner(1).reentrant().acquire().unwrap().into_owned();
    let set = backend.all(["a", "b"]).owner(1).reentrant().acquire().unwrap().into_owned();
    evict(&backend, "b");
    assert!(outer.is_lost());
    assert_eq!(lost_by(&set), Some(LostCause::Evicted), "one of its keys is lost");
    drop((set, outer));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_set_that_is_lost_where_it_is_nested_is_lost_everywhere_at_once() {
    let (engine, backend, _clock) = engine();
    let outer = backend.named("b").owner(1).reentrant().acquire().unwrap().into_owned();
    let set = backend.all(["a", "b", "c"]).owner(1).reentrant().acquire().unwrap().into_owned();
    evict(&backend, "b");
    assert_eq!(lost_by(&set), Some(LostCause::Evicted));
    for key in ["a", "b", "c"] {
        drop(backend.named(key).wait(false).acquire().expect("nobody waits for the lost guard"));
    }
    assert!(set.release().unwrap_err().is_lost());
    drop(outer);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_lost_set_is_no_part_of_the_nests_that_it_was_in() {
    let (engine, backend, _clock) = engine();
    let outer = backend.named("b").owner(1).shared().reentrant().acquire().unwrap().into_owned();
    let set = backend.all(["a", "b"]).owner(1).reentrant().acquire().unwrap().into_owned();
    evict(&backend, "a");
    drop(backend.named("b").shared().wait(false).acquire().expect("only a reader is left"));
    drop(outer);
    drop(backend.named("b").wait(false).acquire().expect("nobody waits for the lost guard"));
    assert!(set.release().unwrap_err().is_lost());
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_what_a_lost_set_has_outlived_is_lost_with_it() {
    let (engine, backend, _clock) = engine();
    let outer = backend.named("b").owner(1).reentrant().acquire().unwrap().into_owned();
    let set = backend.all(["a", "b"]).owner(1).reentrant().acquire().unwrap().into_owned();
    drop(outer);
    assert!(backend.named("b").wait(false).acquire().unwrap_err().is_contended());
    evict(&backend, "a");
    drop(backend.named("b").wait(false).acquire().expect("nobody waits for the lost guard"));
    drop(set);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_chain_of_sets_that_are_nested_in_each_other_ends_without_recursion() {
    const LINKS: usize = 20_000;
    let (engine, backend, _clock) = engine();
    let link = |at: usize| [format!("{at:05}"), format!("{:05}", at + 1)];
    let take = |at| backend.all(link(at)).owner(1).reentrant().acquire().unwrap().into_owned();
    let chain = (0..LINKS).map(take).collect::<Vec<_>>();
    evict(&backend, "00000");
    assert!(chain.iter().all(OwnedGuard::is_lost));
    drop(chain);
    assert_eq!(engine.live_keys(), 0);
}

/// Where on the stack it was woken, each time.
#[derive(Default)]
struct Depths(Mutex<Vec<usize>>);

impl Wake for Depths {
    fn wake(self: Arc<Self>) {
        let here = 0_u8;
        self.0.lock().unwrap().push(std::ptr::from_ref(&here).addr());
    }
}

#[test]
fn c11_a_broken_set_ends_without_recursion_however_large() {
    const KEYS: usize = 300;
    let (engine, backend, _clock) = engine();
    let keys = KeySet::new((0..KEYS).map(|key| format!("{key:04}")));
    let request = Request::new(Keys::all(&keys), Options::default(), Caller::anonymous());
    let set = engine.acquire(request).block().unwrap().hold;
    let depths = Arc::new(Depths::default());
    let waker = Waker::from(depths.clone());
    assert!(engine.poll_lost(&set, Some(&mut Context::from_waker(&waker))).is_pending());
    evict(&backend, "0000");
    let woken = depths.0.lock().unwrap();
    assert_eq!(woken.len(), KEYS, "each member has told of its loss once");
    let spread = woken.iter().max().unwrap() - woken.iter().min().unwrap();
    assert!(spread < KEYS * 32, "{spread} bytes of stack for {KEYS} keys");
    drop(woken);
    engine.release(set).block().unwrap_err();
    assert_eq!(engine.live_keys(), 0);
}
