//! Functions that return a future, such as `async-trait` leaves behind: the lock is that of the
//! future, not of the call (trap 15).

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;

use locks::{LockError, lock};

use crate::polling::{is_free, now, pause, poll};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait Service {
    fn call<'a>(&'a self, n: u8) -> BoxFuture<'a, Result<u8, LockError>>;
}

struct Echo(u8);

impl Service for Echo {
    #[lock("ret_{self.0}_{n}", wait = false)]
    fn call<'a>(&'a self, n: u8) -> BoxFuture<'a, Result<u8, LockError>> {
        let extra = 1;
        Box::pin(async move {
            pause().await;
            Ok(self.0 + n + extra)
        })
    }
}

/// As `async-trait` writes it.
#[lock("ret_{n}")]
fn generated<'async_trait>(
    n: u8,
) -> Pin<Box<dyn Future<Output = Option<u8>> + Send + 'async_trait>> {
    Box::pin(async move {
        if let Some(__ret) = None::<Option<u8>> {
            return __ret;
        }
        let n = n;
        let __ret: Option<u8> = {
            pause().await;
            Some(n)
        };
        __ret
    })
}

#[lock("ret_{n}")]
#[expect(clippy::manual_async_fn, reason = "that is what is tested")]
fn opaque(n: u8) -> impl Future<Output = u8> + Send {
    async move {
        pause().await;
        n
    }
}

#[lock("ret_{name}")]
#[expect(clippy::manual_async_fn, reason = "that is what is tested")]
fn borrows(name: &str) -> impl Future<Output = usize> {
    async {
        pause().await;
        name.len()
    }
}

type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[lock("ret_alias_{n}", wait = false)]
fn behind_an_alias(n: u8) -> Work<'static, Option<u8>> {
    Box::pin(async move {
        pause().await;
        Some(n)
    })
}

/// A service as `tower` has them.
trait Call {
    type Future: Future<Output = Result<u8, LockError>>;

    fn call(&mut self, n: u8) -> Self::Future;
}

impl Call for Echo {
    type Future = Work<'static, Result<u8, LockError>>;

    #[lock("ret_call_{n}", wait = false)]
    fn call(&mut self, n: u8) -> Self::Future {
        let m = self.0;
        Box::pin(async move {
            pause().await;
            Ok(m + n)
        })
    }
}

fn locks_while_it_runs<F: Future>(key: &str, future: F) -> F::Output {
    let mut future = Box::pin(future);
    assert!(is_free(key), "not before the first poll");
    assert!(poll(future.as_mut()).is_pending());
    assert!(!is_free(key), "while it runs");
    let Poll::Ready(output) = poll(future.as_mut()) else { panic!("it waits") };
    assert!(is_free(key), "not after its end");
    output
}

#[test]
fn a4_a_returned_future_holds_the_lock_while_it_runs() {
    assert_eq!(locks_while_it_runs("ret_1_2", Service::call(&Echo(1), 2)).unwrap(), 4);
    assert_eq!(locks_while_it_runs("ret_7", generated(7)), Some(7));
    assert_eq!(locks_while_it_runs("ret_8", opaque(8)), 8);
    assert_eq!(locks_while_it_runs("ret_abc", borrows("abc")), 3);
    assert_eq!(locks_while_it_runs("ret_alias_1", behind_an_alias(1)), Some(1));
    assert_eq!(locks_while_it_runs("ret_call_2", Call::call(&mut Echo(1), 2)).unwrap(), 3);
    let held = ["ret_1_2", "ret_alias_1", "ret_call_2"];
    let _held = locks::all(held).acquire().unwrap();
    assert_eq!(now(behind_an_alias(1)), None);
    assert!(now(Call::call(&mut Echo(1), 2)).unwrap_err().is_contended());
    match poll(Service::call(&Echo(1), 2).as_mut()) {
        Poll::Ready(output) => assert!(output.unwrap_err().is_contended()),
        Poll::Pending => panic!("it waits"),
    }
}

trait Ext: Future + Sized + Send {
    fn boxed<'a>(self) -> Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>
    where
        Self: 'a,
    {
        Box::pin(self)
    }
}

impl<F: Future + Send> Ext for F {}

#[lock("ret_recursive_{depth}")]
fn recursive<'a>(depth: u8, seen: &'a Mutex<Vec<u8>>) -> BoxFuture<'a, u8> {
    async move {
        seen.lock().unwrap().push(depth);
        if depth == 0 {
            return 0;
        }
        assert!(!is_free(&format!("ret_recursive_{depth}")));
        recursive(depth - 1, seen).await + 1
    }
    .boxed()
}

#[lock("ret_statements_{n}")]
#[expect(clippy::needless_return, reason = "those of others may stay")]
fn after_statements(n: u8) -> BoxFuture<'static, u8> {
    fn helper(n: u8) -> u8 {
        return n + 1;
    }
    let twice = |n: u8| {
        return n * 2;
    };
    let m = twice(helper(n));
    return Box::pin(async move { m });
}

#[test]
fn a4_boxed_futures_in_the_spellings_of_users() {
    let seen = Mutex::new(Vec::new());
    assert_eq!(now(recursive(3, &seen)), 3);
    assert_eq!(*seen.lock().unwrap(), [3, 2, 1, 0]);
    assert_eq!(now(after_statements(1)), 4);
}

/// A format's letter is no variable.
#[lock("ret_letters_{id:08x}_{id:#b}_{id:>w$}")]
fn letters(id: u32, w: usize, mut b: u32) -> BoxFuture<'static, u32> {
    let x = id + 5;
    b += 1;
    Box::pin(async move { x + b })
}

#[test]
fn a1_a_letter_of_a_format_is_no_variable() {
    assert_eq!(now(letters(1, 2, 3)), 10);
}
