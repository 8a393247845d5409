use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use locks::backend::Query;
use locks::{Backend, ErrorKind, LockBuilder, LostCause, MAX_KEY_LEN};

fn open(options: &str) -> Backend {
    locks::open(&format!("memory:?{options}")).unwrap()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// How a request that must not be granted ends, be it soon.
fn refusal(builder: LockBuilder<'_>) -> ErrorKind {
    let mut acquiring = pin!(builder.acquire_async());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match acquiring.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome.map(drop).unwrap_err().kind(),
            Poll::Pending => thread::park_timeout(deadline - Instant::now()),
        }
        assert!(Instant::now() < deadline, "it waits for ever");
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn c2_wait_holds_for_requests_that_do_not_say() {
    let (never, briefly) = (open("wait=false"), open("wait=20ms"));
    let _guard = never.named("wait-default").acquire().unwrap();
    assert_eq!(refusal(never.named("wait-default")), ErrorKind::Contended);
    assert_eq!(refusal(briefly.named("wait-default")), ErrorKind::Timeout);
    let wait = Duration::from_millis(1);
    assert_eq!(refusal(never.named("wait-default").wait(wait)), ErrorKind::Timeout);
    assert_eq!(refusal(briefly.named("wait-default").wait(false)), ErrorKind::Contended);
}

#[test]
fn c2_wait_holds_for_async_requests_too() {
    let never = open("wait=false");
    let _guard = never.named("wait-async").acquire().unwrap();
    let Poll::Ready(Err(error)) = poll(pin!(never.named("wait-async").acquire_async())) else {
        panic!("it waits");
    };
    assert_eq!(error.kind(), ErrorKind::Contended);
}

#[test]
fn c1_namespaces_keep_apart_and_exclude_within() {
    let (a, b) = (open("namespace=apart-a"), open("namespace=apart-b"));
    let _a = a.named("k").wait(false).acquire().unwrap();
    let _b = b.named("k").wait(false).acquire().unwrap();
    assert_eq!(refusal(a.named("k").wait(false)), ErrorKind::Contended);
    assert_eq!(refusal(b.all(["j", "k"]).wait(false)), ErrorKind::Contended);
    let whole = Backend::process();
    assert_eq!(refusal(whole.named("apart-a/k").wait(false)), ErrorKind::Contended);
}

#[test]
fn c1_a_namespace_makes_no_key_of_what_is_none() {
    let backend = open("namespace=strict");
    let long = "x".repeat(MAX_KEY_LEN);
    for key in ["", "a\0b", &long] {
        let error = backend.named(key).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{key:?}");
    }
    let fits = "x".repeat(MAX_KEY_LEN - "strict/".len());
    drop(backend.named(fits).acquire().unwrap());
    let none: [&str; 0] = [];
    assert_eq!(backend.all(none).acquire().unwrap_err().kind(), ErrorKind::InvalidKey);
}

#[test]
fn c12_listings_and_errors_do_not_show_the_namespace() {
    let backend = open("namespace=shown");
    let _guard = backend.named("k").acquire().unwrap();
    let _stranger = Backend::process().named("not-shown").acquire().unwrap();
    let keys = |query| -> Vec<String> {
        let found = backend.inspect(query).block().unwrap();
        found.into_iter().map(|lock| lock.key).collect()
    };
    for query in [Query::All, Query::Key("k".into()), Query::Prefix(String::new())] {
        assert_eq!(keys(query.clone()), ["k"], "{query:?}");
    }
    assert!(keys(Query::Key("shown/k".into())).is_empty());

    let text = thread::scope(|threads| {
        let backend = &backend;
        let thread = threads.spawn(move || backend.named("k").wait(false).acquire().unwrap_err());
        let error = thread.join().unwrap();
        assert_eq!(error.key(), "k");
        assert_eq!(error.holders().len(), 1);
        error.to_string()
    });
    assert!(text.starts_with("`k` is held by"), "{text}");
    assert!(text.contains("tests/facade/defaults.rs:"), "{text}");
}

#[test]
fn c10_deadlocks_are_told_without_the_namespace() {
    let backend = open("namespace=cycle");
    let both = Barrier::new(2);
    let one_by_one = |first: &str, second: &str| {
        let _first = backend.named(first).acquire().unwrap();
        both.wait();
        backend.named(second).acquire().map(drop)
    };
    let outcomes = thread::scope(|threads| {
        let there = threads.spawn(|| one_by_one("a", "b"));
        let back = threads.spawn(|| one_by_one("b", "a"));
        [there.join().unwrap(), back.join().unwrap()]
    });
    let errors = outcomes.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].kind(), ErrorKind::Deadlock);
    let mut wanted = errors[0].cycle().iter().map(|step| &*step.wants).collect::<Vec<_>>();
    wanted.sort();
    assert_eq!(wanted, ["a", "b"]);
    assert!(!errors[0].to_string().contains("cycle/"), "{}", errors[0]);
}

#[test]
fn c6_steals_and_losses_pass_through() {
    let backend = open("namespace=steals");
    let victim = backend.named("k").acquire().unwrap();
    let thief = backend.named("k").steal_after(Duration::ZERO).wait(Duration::from_secs(10));
    let thief = thread::scope(|threads| {
        threads.spawn(|| thief.acquire().unwrap().into_owned()).join().unwrap()
    });
    assert!(thief.token() > victim.token());
    let error = victim.release().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
    thief.check().unwrap();
    assert!(backend.evict("k", thief.token()).block().unwrap());
    assert!(thief.is_lost());
    assert_eq!(thief.check().unwrap_err().key(), "k");
}

#[test]
fn c5_a_dropped_request_leaves_nothing_behind() {
    for options in ["wait=true", "namespace=dropped"] {
        let backend = open(options);
        let key = format!("{options}-key");
        let holder = backend.named(&key).acquire().unwrap();
        {
            let mut waiting = pin!(backend.named(&key).acquire_async());
            assert!(poll(waiting.as_mut()).is_pending());
            let query = Query::Key(key.clone());
            assert_eq!(backend.inspect(query).block().unwrap()[0].waiters.len(), 1, "{options}");
        }
        let query = Query::Key(key.clone());
        assert!(backend.inspect(query).block().unwrap()[0].waiters.is_empty(), "{options}");
        drop(holder);
        drop(backend.named(&key).wait(false).acquire().unwrap());
    }
}

#[test]
fn c2_a_waiting_request_is_granted_when_the_holder_leaves() {
    let backend = open("namespace=granted");
    let holder = backend.named("k").acquire().unwrap();
    let mut waiting = pin!(backend.named("k").acquire_async());
    assert!(poll(waiting.as_mut()).is_pending());
    drop(holder);
    let Poll::Ready(Ok(guard)) = poll(waiting) else { panic!("not granted") };
    assert_eq!(refusal(backend.named("k").wait(false)), ErrorKind::Contended);
    drop(guard);
}
