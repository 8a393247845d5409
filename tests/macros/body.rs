//! What goes on in the body of an annotated function stays as it was.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use locks::lock;

use crate::polling::{is_free, now};

/// Says when it is dropped whether the lock was still held.
struct Witness<'a>(&'static str, &'a Cell<u8>);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        assert!(!is_free(self.0), "dropped without the lock");
        self.1.set(self.1.get() + 1);
    }
}

impl Witness<'_> {
    fn value(&self) -> u8 {
        5
    }
}

#[lock("body_order", guard = held)]
fn locals_and_temporaries(dropped: &Cell<u8>) -> u8 {
    let _local = Witness("body_order", dropped);
    held.check().unwrap();
    Witness("body_order", dropped).value()
}

#[lock("body_order")]
fn without_guard(dropped: &Cell<u8>) -> u8 {
    let _local = Witness("body_order", dropped);
    Witness("body_order", dropped).value()
}

#[lock("body_order")]
async fn asynchronous(dropped: &Cell<u8>) -> u8 {
    let _local = Witness("body_order", dropped);
    Witness("body_order", dropped).value()
}

#[lock("body_order", on_lost = "error")]
fn told_of_loss(dropped: &Cell<u8>) -> Result<u8, locks::LockError> {
    let _local = Witness("body_order", dropped);
    Ok(Witness("body_order", dropped).value())
}

#[test]
fn c4_the_guard_outlives_locals_and_temporaries() {
    let dropped = Cell::new(0);
    assert_eq!(locals_and_temporaries(&dropped), 5);
    assert_eq!(without_guard(&dropped), 5);
    assert_eq!(now(asynchronous(&dropped)), 5);
    assert_eq!(told_of_loss(&dropped).unwrap(), 5);
    assert_eq!(dropped.get(), 8);
    assert!(is_free("body_order"));
    let block = locks::block::lock!("body_order" => {
        let _local = Witness("body_order", &dropped);
        Witness("body_order", &dropped).value()
    });
    assert_eq!(block.unwrap(), 5);
    assert_eq!(dropped.get(), 10);
}

#[lock("body_tail")]
fn temporaries_of_the_tail_end_before_locals() -> usize {
    let c = RefCell::new(vec![1]);
    c.borrow().len()
}

#[lock("body_tail")]
async fn the_same_asynchronously() -> usize {
    let c = RefCell::new(vec![1]);
    c.borrow().len()
}

#[test]
fn the_body_keeps_the_edition_of_its_author() {
    assert_eq!(temporaries_of_the_tail_end_before_locals(), 1);
    assert_eq!(now(the_same_asynchronously()), 1);
}

#[lock("body_flow")]
fn leaves_early(how: u8) -> Result<u8, Box<dyn std::error::Error>> {
    if how == 0 {
        return Ok(1);
    }
    if how == 1 {
        "x".parse::<u8>()?;
    }
    let nested = || -> u8 {
        if how == 2 {
            return 3;
        }
        4
    };
    Ok(nested())
}

#[lock("body_flow")]
async fn leaves_early_async(how: u8) -> Result<u8, Box<dyn std::error::Error>> {
    if how == 0 {
        return Ok(1);
    }
    if how == 1 {
        "x".parse::<u8>()?;
    }
    Ok(3)
}

#[test]
fn return_and_question_mark_release() {
    let all = [0, 1, 2, 3].map(|how| leaves_early(how).ok());
    assert_eq!(all, [Some(1), None, Some(3), Some(4)]);
    assert!(is_free("body_flow"));
    let all = [0, 1, 2].map(|how| now(leaves_early_async(how)).ok());
    assert_eq!(all, [Some(1), None, Some(3)]);
    assert!(is_free("body_flow"));
}

#[lock("body_panic")]
fn panics() {
    panic!("on purpose")
}

#[lock("body_panic")]
async fn panics_async() {
    panic!("on purpose")
}

#[test]
fn c4_a_panic_releases_and_is_kept() {
    let panicked = catch_unwind(panics).unwrap_err();
    assert_eq!(*panicked.downcast::<&str>().unwrap(), "on purpose");
    assert!(is_free("body_panic"));
    let panicked = catch_unwind(AssertUnwindSafe(|| now(panics_async()))).unwrap_err();
    assert_eq!(*panicked.downcast::<&str>().unwrap(), "on purpose");
    assert!(is_free("body_panic"));
}

#[lock("body_recursion_{depth}")]
fn recursive(depth: u8) -> u8 {
    if depth == 0 { 0 } else { recursive(depth - 1) + 1 }
}

#[lock("body_recursion_{depth}")]
async fn recursive_async(depth: u8) -> u8 {
    if depth == 0 { 0 } else { Box::pin(recursive_async(depth - 1)).await + 1 }
}

#[test]
fn recursion_under_different_keys() {
    assert_eq!(recursive(3), 3);
    assert_eq!(now(recursive_async(3)), 3);
}

#[lock("body_boxed")]
async fn coerces() -> Result<Box<dyn Fn() -> u8 + Send>, locks::LockError> {
    Ok(Box::new(|| 4))
}

#[lock("body_boxed", on_lost = "error")]
fn coerces_in_a_closure() -> Result<Box<dyn Fn() -> u8>, locks::LockError> {
    if false {
        return Ok(Box::new(|| 3));
    }
    Ok(Box::new(|| 4))
}

#[test]
fn the_return_type_still_coerces() {
    assert_eq!(now(coerces()).unwrap()(), 4);
    assert_eq!(coerces_in_a_closure().unwrap()(), 4);
}
