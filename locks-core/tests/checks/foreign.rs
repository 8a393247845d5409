//! Holds handed to an engine that has not granted them (C4).

use locks_core::{
    CallSite, Caller, Engine, ErrorKind, Hold, Keys, LockBackend, LostCause, Mode, Options,
    Request, Token,
};

const FORGOTTEN: ErrorKind = ErrorKind::Lost { cause: LostCause::Forgotten };

fn take(engine: &Engine, mode: Mode) -> Hold {
    let mut options = Options::default();
    options.mode = mode;
    let caller = Caller::anonymous().at(CallSite::caller());
    engine.acquire(Request::new(Keys::one("k"), options, caller)).block().unwrap().hold
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
    engine.disown(&foreign());
    assert_eq!(engine.release(foreign()).block().unwrap_err().kind(), FORGOTTEN);
    assert!(engine.poll_lost(&here, None).is_pending());
    engine.release(here).block().unwrap();
    assert_eq!(engine.live_keys(), 0);
}
