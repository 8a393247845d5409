//! A4 and A5 as `#[instrument]` met them, and beside it:
//! <https://github.com/tokio-rs/tracing/issues>.
#![deny(warnings)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use locks::{LockError, lock};
use tracing::instrument;

use crate::polling::{is_free, now, pause, poll};

// Issue 1227: an opaque type inside of a `Result`. Issue 1167: a parameter that is `mut`.
#[lock("peer_tr_iterator", wait = false)]
fn opaque(mut n: u8) -> Result<impl Iterator<Item = u8>, LockError> {
    n += 1;
    Ok(0..n)
}

// Issue 1615: the same, asynchronous, and borrowed by a closure.
#[lock("peer_tr_iterator", wait = false)]
async fn opaque_async(n: u8) -> Result<impl Iterator<Item = u8>, LockError> {
    Ok((0..10).filter(move |x| *x < n))
}

#[lock("peer_tr_dyn", wait = false)]
fn opaque_in_an_object(n: u8) -> Option<Box<dyn Iterator<Item = impl std::fmt::Debug>>> {
    Some(Box::new(0..n))
}

#[lock("peer_tr_dyn")]
fn opaque_in_an_object_that_waits(n: u8) -> Box<dyn Iterator<Item = impl std::fmt::Debug>> {
    Box::new(0..n)
}

#[lock("peer_tr_dyn")]
async fn opaque_in_an_object_async(n: u8) -> Box<dyn Iterator<Item = impl std::fmt::Debug>> {
    Box::new(0..n)
}

// Issue 2294: attributes at the top of the body.
#[deny(unused_variables)]
#[lock("peer_tr_inner")]
async fn inner_attributes() -> u8 {
    //! Documented inside.
    #![expect(unused_variables, reason = "to see the attribute work")]
    let unused = 1;
    2
}

// Pull request 2864: the order of the two words.
#[lock("peer_tr_unsafe")]
async unsafe fn unsafe_and_async(byte: *const u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *byte }
}

type Foo = u8;

enum Bar {
    Foo,
}

// Issue 3306: the body imports what the return type is called.
#[lock("peer_tr_shadowing")]
fn imports_its_return_type() -> Foo {
    use Bar::*;
    match Foo {
        Foo => 3,
    }
}

#[lock("peer_tr_shadowing", otherwise = 1)]
async fn imports_its_return_type_async() -> Foo {
    use Bar::*;
    match Foo {
        Foo => 3,
    }
}

// Issue 3119: a module by the name of the crate, found from inside the body.
#[lock("peer_tr_module")]
fn finds_its_own_module() -> &'static str {
    locks::other()
}

mod locks {
    pub(super) use ::locks::{LockError, lock, named};

    pub(super) fn other() -> &'static str {
        "other"
    }
}

#[test]
fn a4_bodies_and_types_that_instrument_met() {
    assert_eq!(opaque(3).unwrap().count(), 4);
    assert_eq!(now(opaque_async(3)).unwrap().count(), 3);
    assert_eq!(opaque_in_an_object(3).unwrap().count(), 3);
    assert_eq!(opaque_in_an_object_that_waits(3).count(), 3);
    assert_eq!(now(opaque_in_an_object_async(3)).count(), 3);
    assert_eq!(now(inner_attributes()), 2);
    // SAFETY: it points to a byte.
    assert_eq!(now(unsafe { unsafe_and_async(&7) }), 7);
    assert_eq!(imports_its_return_type(), 3);
    assert_eq!(now(imports_its_return_type_async()), 3);
    assert_eq!(finds_its_own_module(), "other");
    let held = locks::named("peer_tr_iterator").acquire().unwrap();
    assert!(opaque(3).is_err_and(|error| error.is_contended()));
    assert!(now(opaque_async(3)).is_err_and(|error| error.is_contended()));
    drop(held);
}

struct Thing {
    metrics: Arc<u8>,
    calls: u8,
}

impl Thing {
    // Issue 1296: what stands before the future is kept, and seen by it.
    #[lock("peer_tr_call_{request}")]
    fn call(&mut self, request: u8) -> Pin<Box<dyn Future<Output = Arc<u8>> + Send>> {
        self.calls += 1;
        let metrics = self.metrics.clone();
        Box::pin(async move { metrics })
    }

    // Issue 1863: a block that is not boxed. Issue 1831: braces around it are not taken for too
    // many.
    #[lock("peer_tr_manual_{self.calls}")]
    #[expect(clippy::manual_async_fn, reason = "that is what is tested")]
    fn manual(&self) -> impl Future<Output = Result<u8, LockError>> + Send {
        async {
            if self.calls == 0 {
                return Ok(0);
            }
            pause().await;
            assert!(!is_free("peer_tr_manual_1"));
            Ok(self.calls)
        }
    }

    // Pull request 1865: the future of another function is not ours to lock, unless it is awaited.
    #[lock("peer_tr_inner_{self.calls}")]
    async fn awaits_another(&self) -> Result<u8, LockError> {
        self.manual().await
    }
}

#[test]
fn a4_functions_that_return_a_future() {
    let mut thing = Thing { metrics: Arc::new(5), calls: 0 };
    let call = thing.call(1);
    assert!(is_free("peer_tr_call_1"));
    assert_eq!(*now(call), 5);
    assert_eq!(thing.calls, 1, "the call itself runs at once");
    let mut awaited = Box::pin(thing.awaits_another());
    assert!(poll(awaited.as_mut()).is_pending());
    assert!(!is_free("peer_tr_inner_1") && !is_free("peer_tr_manual_1"));
    assert!(poll(awaited.as_mut()).is_ready());
    assert!(is_free("peer_tr_inner_1") && is_free("peer_tr_manual_1"));
}

#[lock("peer_tr_both_{n}", wait = false)]
#[instrument(skip(n), fields(doubled = n * 2), ret, err)]
fn lock_above(n: u8) -> Result<u8, LockError> {
    Ok(u8::from(is_free("peer_tr_both_1")) + n)
}

#[instrument(ret, err)]
#[lock("peer_tr_both_{n}", wait = false)]
fn lock_below(n: u8) -> Result<u8, LockError> {
    Ok(u8::from(is_free("peer_tr_both_1")) + n)
}

#[lock("peer_tr_both_{n}", wait = false)]
#[instrument(ret, err)]
async fn lock_above_async(n: u8) -> Result<u8, LockError> {
    pause().await;
    Ok(u8::from(is_free("peer_tr_both_1")) + n)
}

#[instrument(ret, err)]
#[lock("peer_tr_both_{n}", wait = false)]
async fn lock_below_async(n: u8) -> Result<u8, LockError> {
    pause().await;
    Ok(u8::from(is_free("peer_tr_both_1")) + n)
}

fn second_poll<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    assert!(poll(future.as_mut()).is_pending());
    now(future)
}

// Issue 711 is `async-trait`; this is the attribute of the tracker itself, on either side.
#[test]
fn a4_beside_instrument() {
    assert_eq!(lock_above(1).unwrap(), 1);
    assert_eq!(lock_below(1).unwrap(), 1);
    assert_eq!(second_poll(lock_above_async(1)).unwrap(), 1);
    assert_eq!(second_poll(lock_below_async(1)).unwrap(), 1);
    let _held = locks::named("peer_tr_both_1").acquire().unwrap();
    assert!(lock_above(1).unwrap_err().is_contended());
    assert!(lock_below(1).unwrap_err().is_contended());
    assert!(now(lock_above_async(1)).unwrap_err().is_contended());
    assert!(now(lock_below_async(1)).unwrap_err().is_contended());
}

macro_rules! nest {
    ($($outer:ident $inner:ident $key:literal;)*) => {$(
        #[lock($key)]
        async fn $outer(n: u8) -> Result<u8, LockError> {
            return Ok($inner(n).await? + 1);
        }
    )*};
}

#[lock("peer_tr_nest_0")]
async fn nest_0(n: u8) -> Result<u8, LockError> {
    Ok(n)
}

nest! {
    nest_1 nest_0 "peer_tr_nest_1"; nest_2 nest_1 "peer_tr_nest_2"; nest_3 nest_2 "peer_tr_nest_3";
    nest_4 nest_3 "peer_tr_nest_4"; nest_5 nest_4 "peer_tr_nest_5"; nest_6 nest_5 "peer_tr_nest_6";
    nest_7 nest_6 "peer_tr_nest_7"; nest_8 nest_7 "peer_tr_nest_8"; nest_9 nest_8 "peer_tr_nest_9";
}

// Issue 616: the type of a deep nest stayed no longer within the compiler's limit.
#[test]
fn a4_a_deep_nest_of_asynchronous_functions() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    assert_eq!(now(assert_send(nest_9(1))).unwrap(), 10);
}
