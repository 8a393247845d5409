//! F45: a subscriber that panics costs nobody a lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use locks_core::{Backend, CancelToken, LockBuilder};
use tracing::Metadata;
use tracing::subscriber::with_default;

use crate::fails::fails;
use crate::listens::Listens;
use crate::polled::{Polled, engine};

/// Runs `run` with a subscriber that panics at events that tell of `what`. It does panic there.
fn panics_at<R>(what: &'static str, run: impl FnOnce() -> R) {
    let told = move |text: String| assert!(!text.contains(what), "on purpose, at {text}");
    let run = || with_default(Listens { wants: |_: &Metadata<'_>| true, told }, run);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let panic = outcome.err().unwrap_or_else(|| panic!("nothing was told of «{what}»"));
    let text = panic.downcast_ref::<String>().expect("it is that of the subscriber");
    assert!(text.starts_with("on purpose"), "{text}");
}

fn assert_free(backend: &Backend) {
    drop(backend.all(["a", "b"]).wait(false).acquire().expect("nobody holds them"));
}

type Take = fn(&Backend) -> LockBuilder<'static>;

const TAKES: [Take; 3] = [|at| at.named("a"), |at| at.named("a").shared(), |at| at.all(["a", "b"])];

#[test]
fn f45_a_grant_that_cannot_be_told_is_given_back() {
    let (engine, backend, _) = engine();
    for take in TAKES {
        panics_at("acquired", || take(&backend).acquire());
        panics_at("acquired", || Polled::new(take(&backend)).poll());
        let held = take(&backend).acquire().unwrap();
        let mut waits = Polled::waiting(backend.named("a").fair(true));
        drop(held);
        panics_at("acquired", || waits.poll());
        drop(waits);
        assert_free(&backend);
    }
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn f45_a_hold_is_released_before_that_is_told() {
    let (engine, backend, _) = engine();
    for take in TAKES {
        let held = || take(&backend).acquire().unwrap();
        for nth in 0..3 {
            let guard = held();
            let mut next = Polled::waiting(backend.named("a"));
            panics_at("released", || match nth {
                0 => drop(guard),
                1 => drop(guard.release()),
                _ => drop(guard.into_owned()),
            });
            drop(next.granted());
            assert_free(&backend);
        }
        // On the way out of another panic, which goes on.
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let told = |text: String| assert!(!text.contains("released"), "on purpose");
            with_default(Listens { wants: |_: &Metadata<'_>| true, told }, || {
                let _guard = held();
                panic!("the first one");
            })
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"the first one"));
        assert_free(&backend);
    }
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn f45_what_is_refused_or_lost_leaves_nothing_behind() {
    let (engine, backend, clock) = engine();
    let age = Duration::from_secs(1);
    let held = backend.named("a").acquire().unwrap().into_owned();
    panics_at("held by", || backend.named("a").wait(false).acquire());
    panics_at("held by", || Polled::new(backend.named("a").wait(false)).poll());
    let mut late = Polled::waiting(backend.named("a").wait(age));
    clock.advance(age);
    panics_at("held by", || late.poll());
    drop(late);
    let mut next = Polled::waiting(backend.named("a").shared());
    // The panic is about another's hold, and not the thief's affair.
    let heard = Arc::new(AtomicBool::new(false));
    let hears = heard.clone();
    let told = move |text: String| {
        hears.fetch_or(text.contains("was lost"), Ordering::Relaxed);
        assert!(!text.contains("was lost"), "on purpose");
    };
    let steal = || backend.named("a").shared().steal_after(age).wait(false).acquire();
    let stolen = with_default(Listens { wants: |_: &Metadata<'_>| true, told }, steal).unwrap();
    assert!(held.is_lost() && heard.load(Ordering::Relaxed));
    drop((held, stolen));
    drop(next.granted());
    assert_free(&backend);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn f45_a_release_that_fails_is_told_when_it_is_over() {
    let backend = fails(|| locks_core::LockError::unavailable("fails:", "as ordered"));
    panics_at("not released", || drop(backend.named("k").acquire().unwrap()));
}

/// A theft is told with both parties, and in nobody's span: the thief has lost nothing.
#[test]
fn c6_a_theft_is_told_with_who_where_key_and_token_of_both() {
    let (_, backend, clock) = engine();
    let age = Duration::from_secs(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let listens = Listens {
        wants: |metadata: &Metadata<'_>| *metadata.level() == tracing::Level::WARN,
        told: move |text| hears.lock().unwrap().push(text),
    };
    let thief_of = |named: LockBuilder<'static>| {
        with_default(listens, || tracing::info_span!("the thief's").in_scope(|| named.acquire()))
    };
    let victim = backend.named("k").acquire().unwrap();
    let victims_line = line!() - 1;
    clock.advance(age);
    let thief = thief_of(backend.named("k").steal_after(age).wait(false)).unwrap();
    let told = told.lock().unwrap();
    let [event] = &told[..] else { panic!("once: {told:?}") };
    for part in [
        "(root) ",
        "key=\"k\"",
        &format!("token={}", victim.token()),
        "holder=thread",
        &format!("subscriber.rs:{victims_line}"),
        "thief=thread",
        &format!("thief_token={}", thief.token()),
        "taken over",
    ] {
        assert!(event.contains(part), "«{part}» in {event}");
    }
    assert_eq!(event.matches("subscriber.rs").count(), 2, "where each asked: {event}");
}

#[test]
fn c12_the_label_of_a_request_is_in_its_events() {
    let (_, backend, clock) = engine();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let listens = Listens {
        wants: |_: &Metadata<'_>| true,
        told: move |text| hears.lock().unwrap().push(text),
    };
    // While there is just one, `tracing` asks the thread that comes by first, which may be another
    // test's.
    let _other = tracing::Dispatch::new(Listens { wants: |_: &Metadata<'_>| true, told: |_| {} });
    let age = Duration::from_secs(1);
    let token = CancelToken::new();
    token.cancel();
    with_default(listens, || {
        drop(backend.named("k").acquire().unwrap());
        let victim = backend.named("k").label("order 17").acquire().unwrap();
        assert!(backend.named("k").wait(false).label("order 18").acquire().is_err());
        assert!(backend.named("k").label("order 19").cancel_on(&token).acquire().is_err());
        clock.advance(age);
        let thief = backend.named("k").label("order 20").steal_after(age);
        drop(Polled::at_once(thief));
        assert!(victim.is_lost());
    });
    let told = told.lock().unwrap();
    let of = |what: &str, label: &str| {
        let found = |text: &&String| text.contains(what) && text.contains(label);
        told.iter().filter(found).count()
    };
    let counts = [
        of("message=acquired", "label=\"order 17\""),
        of("not acquired", "label=\"order 18\""),
        of("not acquired", "label=\"order 19\""),
        of("message=acquired", "label=\"order 20\""),
        of("message=released", "label=\"order 20\""),
        of("taken over", "for `order 17`"),
        of("taken over", "for `order 20`"),
        of("message=released", "label=\"order 17\""),
    ];
    assert_eq!(counts, [1; 8], "{told:#?}");
    assert_eq!(told[0].matches("label").count(), 0, "one without says nothing of it: {told:#?}");
}
