//! A4 beside attributes that make tests and programs of functions:
//! <https://github.com/tokio-rs/tokio/issues>, <https://github.com/palfrey/serial_test/issues>.
#![deny(warnings)]

use std::error::Error;
use std::sync::atomic::{AtomicU8, Ordering};

use locks::{ErrorKind, LockError, lock};

use crate::polling::is_free;

static INSIDE: AtomicU8 = AtomicU8::new(0);

/// Nobody else is in here, which is what every test of this module goes by.
fn alone() {
    assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0, "somebody else is in here");
    assert!(!is_free("peer_en_serial"));
    assert_eq!(INSIDE.fetch_sub(1, Ordering::SeqCst), 1);
}

// serial_test 17: a test that returns a `Result`.
#[test]
#[lock("peer_en_serial")]
fn c1_a_test_with_a_result() -> Result<(), Box<dyn Error>> {
    alone();
    Ok(())
}

// serial_test 126: one that returns a `Result` of something that ends a program, too.
#[lock("peer_en_serial")]
#[test]
fn c1_a_test_with_a_nested_result() -> Result<Result<(), LockError>, LockError> {
    alone();
    Ok(Ok(()))
}

// serial_test 12: one that panics, and keeps its message.
#[test]
#[lock("peer_en_serial")]
#[should_panic(expected = "on purpose")]
fn c4_a_test_that_should_panic() {
    alone();
    panic!("on purpose")
}

// serial_test 121: asynchronous ones, with threads of their own.
#[lock("peer_en_serial")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_an_asynchronous_test() -> Result<(), LockError> {
    alone();
    tokio::task::yield_now().await;
    alone();
    Ok(())
}

#[tokio::test]
#[lock("peer_en_serial")]
async fn c1_an_asynchronous_test_with_the_lock_below() {
    alone();
    tokio::task::yield_now().await;
    alone();
}

#[test]
#[lock("peer_en_nested")]
fn called_by_another() -> Result<(), LockError> {
    Ok(())
}

// serial_test 6: a test that calls another one with the same lock hung for ever.
#[test]
fn c10_a_nested_call_is_told_of() {
    #[lock("peer_en_nested_too")]
    fn inner() -> Result<(), LockError> {
        Ok(())
    }
    #[lock("peer_en_nested_too")]
    fn outer() -> Result<(), LockError> {
        inner()
    }
    assert_eq!(outer().unwrap_err().kind(), ErrorKind::Deadlock);
}

// Tokio 4175: a body that ends in a panic, of a function with a value.
#[lock("peer_en_panic")]
async fn only_panics() -> u8 {
    panic!("on purpose")
}

// Tokio 7784: `return` in several places, with types that are told at the first.
#[lock("peer_en_return")]
async fn returns_early(early: bool) -> Result<Box<dyn Fn() -> u8 + Send>, Box<dyn Error>> {
    if early {
        return Ok(Box::new(|| 1));
    }
    let n = "2".parse::<u8>()?;
    return Ok(Box::new(move || n));
}

#[lock("peer_en_main", wait = false)]
#[tokio::main(flavor = "current_thread")]
async fn like_a_program() -> Result<u8, LockError> {
    tokio::task::yield_now().await;
    Ok(u8::from(is_free("peer_en_main")))
}

#[test]
fn a4_bodies_that_entry_points_met() {
    let panicked = std::panic::catch_unwind(|| crate::polling::now(only_panics())).unwrap_err();
    assert_eq!(*panicked.downcast::<&str>().unwrap(), "on purpose");
    assert!(is_free("peer_en_panic"));
    let answers = [true, false].map(|early| crate::polling::now(returns_early(early)).unwrap()());
    assert_eq!(answers, [1, 2]);
    assert_eq!(like_a_program().unwrap(), 0);
    let _held = locks::named("peer_en_main").acquire().unwrap();
    assert!(like_a_program().unwrap_err().is_contended());
}
