//! A key that nobody is at costs nothing (C13): the heap, counted, is back where it was.

#![cfg(not(any(loom, shuttle)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use locks_core::{Acquire, Backend, Engine, ManualClock, OwnedGuard, Token, TokenSource};

/// What may be left of the heap after any number of keys (DESIGN §11).
const LEFT: isize = 4096;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that a thread has allocated and not freed.
struct Counting;

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // A thread that is ending is not counted any more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

fn heap() -> isize {
    HELD.get()
}

/// An engine whose clock needs no thread, after its first use.
fn engine() -> (Engine, Backend) {
    let engine = Engine::builder().clock(Arc::new(ManualClock::new())).build();
    let backend = Backend::new(engine.clone());
    drop(backend.named("first").acquire().unwrap());
    (engine, backend)
}

/// `key 0`, `key 1`, …, in one buffer.
fn write_key(text: &mut String, number: usize) {
    text.clear();
    write!(text, "key {number}").unwrap();
}

fn begin(acquire: Acquire<'static>) -> Acquire<'static> {
    let mut acquire = acquire;
    let pinned = std::pin::Pin::new(&mut acquire);
    assert!(pinned.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    acquire
}

#[test]
fn c13_a_million_keys_leave_nothing() {
    let (engine, backend) = engine();
    let start = heap();
    let mut text = String::new();
    for number in 0..1_000_000 {
        write_key(&mut text, number);
        let lock = backend.named(text.as_str());
        match number % 10 {
            // Past the fast path, now and then.
            0 => drop(lock.shared().acquire().unwrap()),
            1 => drop(lock.owner(1).hold_at_most(std::time::Duration::MAX).acquire().unwrap()),
            _ => drop(lock.acquire().unwrap()),
        }
    }
    drop(text);
    let left = heap() - start;
    assert!(left <= LEFT, "{left} bytes are left");
    assert_eq!(engine.live_keys(), 0);
    assert!(engine.known_keys() <= 256, "{} keys are known", engine.known_keys());
}

#[test]
fn c13_waiters_that_gave_up_leave_nothing() {
    let (engine, backend) = engine();
    let start = heap();
    for round in 0..100 {
        let held = backend.named("held").acquire().unwrap();
        let waiting = (0..500).map(|_| begin(backend.named("held").acquire_async()));
        let waiting = waiting.collect::<Vec<_>>();
        // From both ends of the queue, and with the holder there and gone.
        if round % 2 == 0 {
            drop(held);
            waiting.into_iter().rev().for_each(drop);
        } else {
            drop(waiting);
            drop(held);
        }
    }
    for number in 0..50_000 {
        let key = format!("key {number}");
        let held = backend.named(key.as_str()).acquire().unwrap();
        let waiting = begin(backend.named(key).acquire_async());
        drop(waiting);
        drop(held);
    }
    let left = heap() - start;
    assert!(left <= LEFT, "{left} bytes are left");
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c13_tables_shrink_after_a_peak() {
    const PEAK: usize = 100_000;
    let (engine, backend) = engine();
    let mut guards = Vec::<OwnedGuard>::with_capacity(PEAK);
    let mut text = String::with_capacity(32);
    let start = heap();
    let mut letters = 0;
    for number in 0..PEAK {
        write_key(&mut text, number);
        letters += text.len();
        guards.push(backend.named(text.as_str()).acquire().unwrap().into_owned());
    }
    assert_eq!(engine.live_keys(), PEAK);
    let each = (heap() - start - letters as isize) / PEAK as isize;
    assert!(each <= 72, "{each} bytes for each key");
    guards.clear();
    let left = heap() - start;
    assert!(left <= LEFT, "{left} bytes are left");
    assert_eq!(engine.live_keys(), 0);
}

/// Tokens that are drawn and never granted are not kept.
#[test]
fn c13_requests_that_are_refused_leave_no_tokens() {
    struct Count(AtomicU64);
    impl TokenSource for Count {
        fn next(&self, after: Token) -> Token {
            Token::new(after.get() + self.0.fetch_add(1, Ordering::SeqCst))
        }
    }
    let engine = Engine::builder().tokens(Arc::new(Count(AtomicU64::new(1)))).build();
    let backend = Backend::new(engine);
    let _reader = backend.named("k").shared().acquire().unwrap();
    let refused = || drop(backend.named("k").wait(false).acquire().unwrap_err());
    refused();
    let before = heap();
    (0..10_000).for_each(|_| refused());
    let left = heap() - before;
    assert!(left <= LEFT, "{left} bytes are left");
}
