//! C8 and `on_lost`: what a lost lock does to the body.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks::{LockError, lock};

use crate::polling::{Wakes, holders, is_free, now, pause, poll};

/// Takes `key` from whoever holds it.
fn take_away(key: &str) {
    let steal = locks::named(key).wait(true).steal_after(Duration::ZERO);
    drop(std::thread::scope(|scope| {
        scope.spawn(|| steal.acquire().unwrap().into_owned()).join().unwrap()
    }));
}

#[lock("loss_continue")]
fn runs_on() -> u8 {
    take_away("loss_continue");
    5
}

#[lock("loss_continue")]
async fn runs_on_async() -> u8 {
    take_away("loss_continue");
    pause().await;
    5
}

#[test]
fn by_default_the_body_runs_on() {
    assert_eq!(runs_on(), 5);
    let mut future = Box::pin(runs_on_async());
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(poll(future.as_mut()), Poll::Ready(5));
    assert!(is_free("loss_continue"));
}

#[lock("loss_error", on_lost = "error", guard = held)]
fn replaced(lose: bool, ok: bool, early: bool) -> Result<u8, anyhow::Error> {
    held.check()?;
    if lose {
        take_away("loss_error");
    }
    if early {
        return Ok(1);
    }
    if ok { Ok(2) } else { Err(anyhow::anyhow!("my own")) }
}

#[lock("loss_error", on_lost = "error", guard = held)]
async fn replaced_async(lose: bool, ok: bool, early: bool) -> Result<u8, anyhow::Error> {
    held.check()?;
    if lose {
        take_away("loss_error");
    }
    if early {
        return Ok(1);
    }
    if ok { Ok(2) } else { Err(anyhow::anyhow!("my own")) }
}

#[test]
fn error_replaces_an_ok_and_never_the_bodys_own_error() {
    type Run = fn(bool, bool, bool) -> Result<u8, anyhow::Error>;
    let runs: [Run; 2] = [replaced, |lose, ok, early| now(replaced_async(lose, ok, early))];
    for run in runs {
        assert_eq!(run(false, true, false).unwrap(), 2);
        assert_eq!(run(false, true, true).unwrap(), 1);
        for early in [false, true] {
            let error = run(true, true, early).unwrap_err();
            assert!(error.downcast::<LockError>().unwrap().is_lost());
        }
        assert_eq!(run(true, false, false).unwrap_err().to_string(), "my own");
        assert!(is_free("loss_error"));
    }
}

/// Counts how often it is dropped.
struct Dropped<'a>(&'a Cell<u8>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[lock("loss_cancel", on_lost = "cancel")]
async fn cancelled(dropped: &Cell<u8>) -> Result<u8, anyhow::Error> {
    let _dropped = Dropped(dropped);
    pause().await;
    Ok(5)
}

#[lock("loss_cancel_kept", on_lost = "cancel")]
async fn kept(dropped: &Cell<u8>, own_error: bool) -> Result<u8, anyhow::Error> {
    let _dropped = Dropped(dropped);
    pause().await;
    if own_error {
        anyhow::bail!("my own");
    }
    Ok(5)
}

#[test]
fn cancel_drops_the_body_at_its_await() {
    let dropped = Cell::new(0);
    let mut future = Box::pin(cancelled(&dropped));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(future.as_mut().poll(&mut cx).is_pending());
    take_away("loss_cancel");
    assert_eq!(wakes.count(), 1, "woken by the loss itself");
    match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => {
            assert!(output.unwrap_err().downcast::<LockError>().unwrap().is_lost());
        }
        Poll::Pending => panic!("it waits"),
    }
    assert_eq!(dropped.get(), 1);
    assert!(is_free("loss_cancel"));
}

#[test]
fn cancel_leaves_a_body_alone_that_keeps_its_lock() {
    let dropped = Cell::new(0);
    for own_error in [true, false] {
        let mut future = Box::pin(kept(&dropped, own_error));
        assert!(poll(future.as_mut()).is_pending());
        match poll(future.as_mut()) {
            Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "my own"),
            Poll::Ready(Ok(value)) => assert_eq!((value, own_error), (5, false)),
            Poll::Pending => panic!("it waits"),
        }
    }
    assert_eq!(dropped.get(), 2);
}

#[test]
fn blocks_tell_of_a_loss_if_asked() {
    use locks::block::lock;
    let runs_on = lock!("loss_block" => { take_away("loss_block") });
    assert!(runs_on.is_ok());
    let lost = lock!("loss_block", on_lost = "error" => { take_away("loss_block") });
    assert!(lost.unwrap_err().is_lost());
    assert_eq!(lock!("loss_block", on_lost = "error" => { 1 }).unwrap(), 1);
    let lost =
        now(async { lock!(async "loss_block", on_lost = "error" => { take_away("loss_block") }) });
    assert!(lost.unwrap_err().is_lost());
    let nested = now(async {
        lock!(async "loss_block", on_lost = "cancel" => {
            let parse = async |text: &str| -> Option<u8> { Some(text.parse::<u8>().ok()? + 1) };
            async { return parse("1").await }.await
        })
    });
    assert_eq!(nested.unwrap(), Some(2));
    let dropped = Cell::new(0);
    let mut block = Box::pin(async {
        lock!(async "loss_block", on_lost = "cancel" => {
            let _dropped = Dropped(&dropped);
            take_away("loss_block");
            pause().await;
            unreachable!("the lock is lost")
        })
    });
    assert!(poll(block.as_mut()).is_pending());
    match poll(block.as_mut()) {
        Poll::Ready(output) => assert!(output.is_err_and(|error: LockError| error.is_lost())),
        Poll::Pending => panic!("it waits"),
    }
    assert_eq!(dropped.get(), 1);
    assert!(holders("loss_block").is_empty());
}
