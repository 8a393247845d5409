//! Holds handed to an engine that has not granted them (C4).

use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    Backend, CallSite, Caller, Engine, ErrorKind, Hold, KeySet, Keys, LostCause, ManualClock, Mode,
    Options, PinnedKey, Request, Token,
};

const FORGOTTEN: ErrorKind = ErrorKind::Lost { cause: LostCause::Forgotten };

fn take(engine: &Engine, mode: Mode) -> Hold {
    let mut options = Options::default();
    options.mode = mode;
    let caller = Caller::anonymous().at(CallSite::caller());
    engine.acquire(Request::new(Keys::one("k"), options, caller)).block().unwrap().hold
}

/// Whatever `other` is asked about the hold is refused, and its own engine does not notice.
fn assert_untouched(held: Hold, keys: &[&str], own: &Engine, other: &Engine) {
    let ages = || {
        let infos = own.inspect(locks_core::Query::All).block().unwrap();
        let infos = infos.into_iter().filter(|info| keys.contains(&info.key.as_str()));
        let holders = infos.flat_map(|info| info.holders);
        holders.map(|holder| (holder.token, holder.owner, holder.age)).collect::<Vec<_>>()
    };
    let before = ages();
    assert_eq!(before.len(), keys.len());
    assert_eq!(other.refresh(&held).block().unwrap_err().kind(), FORGOTTEN);
    assert!(other.poll_lost(&held, None).is_ready());
    other.detach_owner(&held);
    assert!(own.poll_lost(&held, None).is_pending());
    let token = held.token();
    assert_eq!(other.release(held).block().unwrap_err().kind(), FORGOTTEN);
    assert_eq!(ages(), before, "it is held as it was");
    assert!(own.evict(keys[0], token).block().unwrap());
}

#[test]
fn c4_a_plain_hold_of_another_engine_is_refused_and_touches_nothing() {
    let clock = ManualClock::new();
    let engine = || Engine::builder().clock(Arc::new(clock.clone())).build();
    let (own, other) = (engine(), engine());
    // The first is at home in its shard, the others in the table.
    for key in ["k", "a key that is too long to find room in an inline slot: more than 56 bytes"] {
        let caller = Caller::blocking(None).at(CallSite::caller());
        let request = Request::new(Keys::one(key), Options::default(), caller);
        let held = own.acquire(request).block().unwrap().hold;
        clock.advance(Duration::from_secs(1));
        assert_untouched(held, &[key], &own, &other);
    }
    let set = KeySet::new(["one", "two"]);
    let caller = Caller::anonymous().at(CallSite::caller());
    let request = Request::new(Keys::all(&set), Options::default(), caller);
    let held = own.acquire(request).block().unwrap().hold;
    clock.advance(Duration::from_secs(1));
    assert_untouched(held, &["one", "two"], &own, &other);
    assert_eq!((other.live_keys(), other.known_keys()), (0, 0));
}

#[test]
fn c4_a_hold_of_a_key_that_a_call_site_keeps_is_refused_elsewhere() {
    let other = Engine::new();
    let key = PinnedKey::new("kept, and asked for elsewhere").unwrap().unwrap();
    let caller = Caller::anonymous().at(CallSite::caller());
    let request = Request::new(Keys::one(key.key()), Options::default(), caller);
    let held = Backend::process().acquire(request).block().unwrap().hold;
    assert_eq!(other.release(held).block().unwrap_err().kind(), FORGOTTEN);
    assert!(key.try_acquire(CallSite::caller()).is_none(), "it is held as it was");
}

#[test]
fn c4_a_hold_of_another_engine_is_refused_and_touches_nothing() {
    let (one, other) = (Engine::new(), Engine::new());
    let here = take(&other, Mode::Shared);
    // The same key and the same token: only the engine tells them apart.
    let foreign = take(&one, Mode::Shared);
    assert_eq!(here.token(), foreign.token());
    let refused = other.release(foreign).block().unwrap_err();
    assert_eq!(refused.kind(), FORGOTTEN);
    assert!(other.poll_lost(&here, None).is_pending());
    assert_eq!((one.live_keys(), other.live_keys()), (1, 1), "neither was released");
    other.release(here).block().unwrap();
    assert_eq!(other.live_keys(), 0);
}

#[test]
fn c4_a_hold_that_is_none_of_an_engines_is_refused() {
    let engine = Engine::new();
    let foreign = || Hold::new(7, Token::new(1));
    let here = take(&engine, Mode::Exclusive);
    assert_eq!(here.token(), Token::new(1));
    assert_eq!(engine.refresh(&foreign()).block().unwrap_err().kind(), FORGOTTEN);
    assert!(engine.poll_lost(&foreign(), None).is_ready());
    engine.detach_owner(&foreign());
    assert_eq!(engine.release(foreign()).block().unwrap_err().kind(), FORGOTTEN);
    assert!(engine.poll_lost(&here, None).is_pending());
    engine.release(here).block().unwrap();
    assert_eq!(engine.live_keys(), 0);
}
