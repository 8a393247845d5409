//! A4: an annotated future is `Send` exactly when the plain one is, is little larger, is locked
//! from its first poll to its end, and never else.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Mutex;
use std::task::Poll;

use locks::{LockError, lock};

use crate::polling::{is_free, pause, poll};

/// Asks whether a value is `Send`: its own method is found first if it is, else the trait's.
struct Asked<'a, T> {
    _value: &'a T,
}

fn asked<T>(_value: &T) -> Asked<'_, T> {
    Asked { _value }
}

trait NotSend {
    fn is_send(&self) -> bool {
        false
    }
}

impl<T: Send> Asked<'_, T> {
    fn is_send(&self) -> bool {
        true
    }
}

impl<T> NotSend for Asked<'_, T> {}

macro_rules! twins {
    ($($name:ident($($arg:ident: $ty:ty = $value:expr),*) $send:literal $body:block)*) => {
        mod plain {
            use super::*;
            $(pub(super) async fn $name($($arg: $ty),*) -> Result<(), LockError> $body)*
        }
        mod literal {
            use super::*;
            $(#[lock("fut_twins")]
            pub(super) async fn $name($($arg: $ty),*) -> Result<(), LockError> $body)*
        }
        mod template {
            use super::*;
            $(#[lock("fut_twins_{Rc::new(1)}", guard = held, on_lost = "error")]
            pub(super) async fn $name($($arg: $ty),*) -> Result<(), LockError> {
                held.check()?;
                $body
            })*
        }
        mod cancelled {
            use super::*;
            $(#[lock("fut_twins", on_lost = "cancel", otherwise = |error| Err(error))]
            pub(super) async fn $name($($arg: $ty),*) -> Result<(), LockError> $body)*
        }
        mod boxed {
            use super::*;
            $(#[lock("fut_twins")]
            pub(super) fn $name($($arg: $ty),*) -> impl Future<Output = Result<(), LockError>> {
                async move $body
            })*
        }

        #[test]
        fn a4_a_future_is_send_exactly_when_the_plain_one_is() {
            $(
                assert_eq!(asked(&plain::$name($($value),*)).is_send(), $send);
                assert_eq!(asked(&literal::$name($($value),*)).is_send(), $send);
                assert_eq!(asked(&template::$name($($value),*)).is_send(), $send);
                assert_eq!(asked(&cancelled::$name($($value),*)).is_send(), $send);
                assert_eq!(asked(&boxed::$name($($value),*)).is_send(), $send);
            )*
        }

        #[test]
        fn a4_a_future_is_larger_by_its_arguments_and_what_the_lock_takes() {
            $(
                let arguments = 0 $(+ size_of::<$ty>())*;
                let plain = size_of_val(&plain::$name($($value),*)) + arguments;
                // As measured, with the times that the features `tracing` and `metrics` tell of.
                // Where a loss is looked for, the guard and the body are apart.
                assert!(size_of_val(&literal::$name($($value),*)) <= plain + 304);
                assert!(size_of_val(&template::$name($($value),*)) <= plain + 608);
                assert!(size_of_val(&cancelled::$name($($value),*)) <= plain + 608);
            )*
        }
    };
}

twins! {
    nothing() true { Ok(()) }
    waits() true {
        pause().await;
        Ok(())
    }
    large() true {
        let bytes = [0_u8; 4_000];
        pause().await;
        std::hint::black_box(&bytes);
        Ok(())
    }
    large_argument(bytes: [u8; 4_000] = [0; 4_000]) true {
        pause().await;
        std::hint::black_box(&bytes);
        Ok(())
    }
    borrows(text: &str = "text", cell: &Mutex<Cell<u8>> = &Mutex::new(Cell::new(1))) true {
        pause().await;
        cell.lock().unwrap().set(text.as_bytes()[0]);
        Ok(())
    }
    cell_argument(cell: Cell<u8> = Cell::new(1)) true {
        cell.set(2);
        Ok(())
    }
    local_that_is_gone() true {
        drop(Rc::new(1));
        pause().await;
        Ok(())
    }
    local_that_stays() false {
        let local = Rc::new(1);
        pause().await;
        drop(local);
        Ok(())
    }
    argument_that_stays(local: Rc<u8> = Rc::new(1)) false {
        pause().await;
        drop(local);
        Ok(())
    }
    borrowed_cell(cell: &Cell<u8> = &Cell::new(1)) false {
        pause().await;
        cell.set(2);
        Ok(())
    }
}

/// A future under a lock that pauses three times.
trait Paused {
    fn paused(&self, key: &str) -> impl Future<Output = Result<u8, LockError>> + Send;
}

struct Here;
struct There;
struct Boxed;
struct Awaited;

impl Paused for Here {
    #[lock("{key}")]
    async fn paused(&self, key: &str) -> Result<u8, LockError> {
        pause().await;
        // An asynchronous closure, and one that is not (a part of MACRO cases: `return` in them).
        let twice = async |n: u8| {
            if n == 0 {
                return 0;
            }
            pause().await;
            n * 2
        };
        let doubled = twice(2).await;
        pause().await;
        Ok(doubled + u8::from(key.is_empty()))
    }
}

impl Paused for There {
    #[lock("{key}", on_lost = "cancel", guard = held)]
    async fn paused(&self, key: &str) -> Result<u8, LockError> {
        pause().await;
        pause().await;
        pause().await;
        held.check()?;
        Ok(4 + u8::from(key.is_empty()))
    }
}

impl Paused for Boxed {
    #[lock("{key}")]
    fn paused(&self, key: &str) -> impl Future<Output = Result<u8, LockError>> + Send {
        Box::pin(async move {
            pause().await;
            pause().await;
            pause().await;
            Ok(4 + u8::from(key.is_empty()))
        })
    }
}

impl Paused for Awaited {
    async fn paused(&self, key: &str) -> Result<u8, LockError> {
        locks::block::lock!(async "{key}" => {
            pause().await;
            pause().await;
            pause().await;
            4
        })
    }
}

fn sweep(key: &str, paused: &impl Paused) {
    for polls in 0..=3 {
        let mut future = Box::pin(paused.paused(key));
        assert!(is_free(key), "not before it is polled");
        for _ in 0..polls {
            assert!(poll(future.as_mut()).is_pending());
            assert!(!is_free(key), "as long as it runs");
        }
        drop(future);
        assert!(is_free(key), "dropped after {polls} polls");
    }
    let mut future = Box::pin(paused.paused(key));
    for _ in 0..3 {
        assert!(poll(future.as_mut()).is_pending());
    }
    assert!(!is_free(key));
    match poll(future.as_mut()) {
        Poll::Ready(value) => assert_eq!(value.unwrap(), 4),
        Poll::Pending => panic!("it waits"),
    }
    assert!(is_free(key), "released when it is done, not when it is dropped");
    drop(future);
}

#[test]
fn a4_c5_locked_from_the_first_poll_to_the_end_and_never_else() {
    sweep("fut_sweep_here", &Here);
    sweep("fut_sweep_there", &There);
    sweep("fut_sweep_boxed", &Boxed);
    sweep("fut_sweep_awaited", &Awaited);
}

#[lock("fut_recursive_send_{depth}")]
async fn recursive_async(depth: u8) -> Result<u8, LockError> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(Box::pin(recursive_async(depth - 1)).await? + 1)
}

#[tokio::test]
async fn a4_a_recursive_future_can_be_spawned() {
    assert_eq!(tokio::spawn(recursive_async(3)).await.unwrap().unwrap(), 3);
}

#[lock("fut_unwind_{name}", wait = "1s")]
async fn safe_to_unwind(name: String) -> Result<usize, LockError> {
    std::future::ready(()).await;
    Ok(name.len())
}

#[lock("fut_unwind")]
#[expect(clippy::manual_async_fn, reason = "that is what is tested")]
fn boxed_safe_to_unwind(name: String) -> impl Future<Output = usize> {
    async move { name.len() }
}

#[test]
fn a4_a_future_is_unwind_safe_as_the_plain_one_is() {
    fn is_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>(future: T) -> T {
        future
    }
    drop(is_safe(safe_to_unwind(String::new())));
    drop(is_safe(boxed_safe_to_unwind(String::new())));
}
