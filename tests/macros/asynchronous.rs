//! Annotated asynchronous functions: when they lock, whose their holds are, and how they end.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use locks::{ErrorKind, LockError, OwnerId, lock};

use crate::polling::{Wakes, holders, is_free, now, pause, poll};

#[lock("async_key")]
async fn pauses() -> u8 {
    pause().await;
    5
}

#[test]
fn nothing_is_locked_before_the_first_poll() {
    let future = pauses();
    assert!(is_free("async_key"));
    drop(future);
    let mut future = Box::pin(pauses());
    assert!(poll(future.as_mut()).is_pending());
    assert!(!is_free("async_key"));
    assert_eq!(poll(future.as_mut()), Poll::Ready(5));
    assert!(is_free("async_key"));
}

#[lock("async_drop_{n}", wait = "1m")]
async fn pauses_by_template(n: u8) -> Result<(), LockError> {
    pause().await;
    Ok(())
}

#[test]
fn c5_dropping_it_at_any_point_leaves_nothing() {
    let key = "async_drop_1";
    for polls in 0..3 {
        let mut future = Box::pin(pauses_by_template(1));
        for _ in 0..polls.min(1) {
            assert!(poll(future.as_mut()).is_pending());
        }
        drop(future);
        assert!(is_free(key), "{polls} polls");
    }
    let held = locks::named(key).acquire().unwrap();
    let mut first = Box::pin(pauses_by_template(1));
    let mut second = Box::pin(pauses_by_template(1));
    let (wakes_first, wakes_second) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let (waker_first, waker_second) =
        (Waker::from(wakes_first.clone()), Waker::from(wakes_second.clone()));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker_first)).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker_second)).is_pending());
    drop(held);
    assert_eq!((wakes_first.count(), wakes_second.count()), (1, 0));
    drop(first);
    assert_eq!(wakes_second.count(), 1, "the turn is passed on");
    drop(second);
    assert!(is_free(key));
    assert!(locks::list().unwrap().iter().all(|info| info.key != key));
}

#[lock("async_outer")]
async fn outer(inner: impl Future<Output = Result<u8, LockError>>) -> Result<u8, LockError> {
    inner.await
}

#[lock("async_outer")]
async fn again() -> Result<u8, LockError> {
    Ok(1)
}

#[lock("async_outer", reentrant)]
async fn nested() -> Result<u8, LockError> {
    pause().await;
    Ok(2)
}

#[lock("async_outer", reentrant)]
fn nested_blocking() -> Result<u8, LockError> {
    Ok(3)
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    for _ in 0..4 {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
    panic!("it waits")
}

#[test]
fn c9_an_annotated_function_is_a_scope_that_knows_its_parents() {
    assert_eq!(ready(outer(again())).unwrap_err().kind(), ErrorKind::Deadlock);
    assert_eq!(ready(outer(nested())).unwrap(), 2);
    assert_eq!(ready(outer(async { nested_blocking() })).unwrap(), 3);
    assert!(is_free("async_outer"));
}

#[lock("async_owner")]
async fn owner() -> (Option<locks::OwnerId>, locks::OwnerId) {
    (holders("async_owner")[0].owner, locks::current())
}

#[test]
fn c9_the_hold_is_the_scopes_own() {
    for _ in 0..2 {
        let (holder, current) = now(owner());
        assert_eq!(holder, Some(current));
        assert_ne!(current, locks::current());
    }
}

#[lock("async_sibling", reentrant)]
async fn sibling() {
    pause().await;
}

#[test]
fn c9_siblings_wait_for_each_other() {
    now(locks::scope(async {
        let (mut one, mut two) = (Box::pin(sibling()), Box::pin(sibling()));
        std::future::poll_fn(|cx| {
            assert!(one.as_mut().poll(cx).is_pending());
            assert!(two.as_mut().poll(cx).is_pending());
            assert!(one.as_mut().poll(cx).is_ready());
            assert!(two.as_mut().poll(cx).is_pending(), "has it now and pauses");
            two.as_mut().poll(cx)
        })
        .await;
    }));
}

#[lock("async_permits", permits = 3)]
async fn has_a_permit<F: Future>(then: F) -> F::Output {
    then.await
}

#[lock("async_permits", permits = 3, reentrant)]
async fn nests() {
    std::future::pending().await
}

#[lock("async_permits", permits = 3, take = 3, reentrant)]
async fn asks_for_all() -> Result<(), LockError> {
    Ok(())
}

/// More permits than the hold around has: that one is not nested in, and never ends.
#[test]
fn c10_permits_that_ones_own_hold_keeps_are_not_waited_for() {
    let outcome = ready(has_a_permit(async {
        let mut inner = std::pin::pin!(nests());
        std::future::poll_fn(|cx| Poll::Ready(inner.as_mut().poll(cx).is_pending())).await;
        asks_for_all().await
    }));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Deadlock);
}

#[lock("async_order")]
async fn ends_with_the_body() -> impl FnOnce() -> bool {
    || is_free("async_order")
}

#[test]
fn c4_it_is_released_when_the_body_is_done() {
    assert!(now(ends_with_the_body())());
}

fn assert_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn a4_futures_stay_send() {
    drop(assert_send(key_of_a_type_that_stays(std::cell::Cell::new(1))));
    drop(assert_send(pauses()));
    drop(assert_send(pauses_by_template(1)));
}

/// Functions of which each awaits the next.
///
/// Not for clippy, which optimizes nothing, and so looks at all layouts within each other.
#[cfg(not(clippy))]
macro_rules! chain {
    ($last:ident) => {
        #[lock("async_chain_{depth}")]
        async fn $last(depth: u8) -> u8 {
            depth
        }
    };
    ($first:ident $next:ident $($more:ident)*) => {
        #[lock("async_chain_{depth}")]
        async fn $first(depth: u8) -> u8 {
            $next(depth + 1).await
        }
        chain!($next $($more)*);
    };
}

#[cfg(not(clippy))]
chain!(f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20);

/// The 21st fits as well, unless something is around the future whose layout is asked for.
#[cfg(not(clippy))]
#[test]
fn a4_a_chain_of_20_stays_under_the_recursion_limit() {
    let chain: std::pin::Pin<Box<dyn Future<Output = u8> + Send>> = Box::pin(f1(1));
    assert_eq!(now(chain), 20);
}

#[lock("async_send_{Rc::new(5)}")]
async fn key_of_a_type_that_stays(n: std::cell::Cell<u8>) {
    pause().await;
    n.set(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_tasks_on_several_threads_exclude_each_other() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    static INSIDE: AtomicBool = AtomicBool::new(false);
    static RAN: AtomicU32 = AtomicU32::new(0);

    #[lock("async_tasks")]
    async fn alone() {
        assert!(!INSIDE.swap(true, Ordering::SeqCst));
        tokio::task::yield_now().await;
        INSIDE.store(false, Ordering::SeqCst);
        RAN.fetch_add(1, Ordering::SeqCst);
    }

    let tasks = (0..50).map(|_| tokio::spawn(alone())).collect::<Vec<_>>();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(RAN.load(Ordering::SeqCst), 50);
}

#[lock("async_journal", reentrant)]
fn note(done: &Sender<OwnerId>) {
    done.send(locks::current()).expect("the test goes on");
}

/// Takes the lock once more when it is dropped.
struct Journal(Sender<OwnerId>);

impl Drop for Journal {
    fn drop(&mut self) {
        note(&self.0);
    }
}

#[lock("async_journal")]
async fn journals(done: Sender<OwnerId>) {
    let _journal = Journal(done);
    pause().await;
}

#[lock("async_journal")]
fn journals_later(done: Sender<OwnerId>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let _journal = Journal(done);
        pause().await;
    })
}

#[lock("async_journal_around")]
async fn journals_within(done: Sender<OwnerId>) {
    let mut inner = Box::pin(journals(done));
    assert!(poll(inner.as_mut()).is_pending());
    drop(inner);
    pause().await;
}

/// At its end a body drops what it has under the lock and in the scope; so it does where it is
/// cancelled.
#[test]
fn c9_what_a_cancelled_body_drops_is_dropped_in_its_scope() {
    type Made = fn(Sender<OwnerId>) -> Pin<Box<dyn Future<Output = ()>>>;
    let by_hand: Made = |done| {
        Box::pin(locks::scope(async move {
            let guard = locks::named("async_journal").owner(locks::current()).acquire_async();
            let _guard = guard.await.expect("it is free");
            let _journal = Journal(done);
            pause().await;
        }))
    };
    let made: [Made; 4] = [
        |done| Box::pin(journals(done)),
        journals_later,
        |done| Box::pin(journals_within(done)),
        by_hand,
    ];
    for make in made {
        let (done, noted) = channel();
        let cancelling = thread::spawn(move || {
            let mut future = make(done);
            assert!(poll(future.as_mut()).is_pending());
            drop(future);
            locks::current()
        });
        let noted = noted.recv_timeout(Duration::from_secs(60));
        let noted = noted.expect("the destructor has had the lock");
        assert_ne!(noted, cancelling.join().unwrap(), "a scope, and not the thread");
        assert!(is_free("async_journal"));
    }
}
