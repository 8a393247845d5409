//! Functions that return a future, such as `async-trait` leaves behind: the lock is that of the
//! future, not of the call (trap 15).

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use locks::{LockError, lock};

use crate::polling::{is_free, pause, poll};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait Service {
    fn call<'a>(&'a self, n: u8) -> BoxFuture<'a, Result<u8, LockError>>;
}

struct Echo(u8);

impl Service for Echo {
    #[lock("fut_{self.0}_{n}", wait = false)]
    fn call<'a>(&'a self, n: u8) -> BoxFuture<'a, Result<u8, LockError>> {
        let extra = 1;
        Box::pin(async move {
            pause().await;
            Ok(self.0 + n + extra)
        })
    }
}

/// As `async-trait` writes it.
#[lock("fut_{n}")]
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

#[lock("fut_{n}")]
#[expect(clippy::manual_async_fn, reason = "that is what is tested")]
fn opaque(n: u8) -> impl Future<Output = u8> + Send {
    async move {
        pause().await;
        n
    }
}

#[lock("fut_{name}")]
#[expect(clippy::manual_async_fn, reason = "that is what is tested")]
fn borrows(name: &str) -> impl Future<Output = usize> {
    async {
        pause().await;
        name.len()
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
    assert_eq!(locks_while_it_runs("fut_1_2", Echo(1).call(2)).unwrap(), 4);
    assert_eq!(locks_while_it_runs("fut_7", generated(7)), Some(7));
    assert_eq!(locks_while_it_runs("fut_8", opaque(8)), 8);
    assert_eq!(locks_while_it_runs("fut_abc", borrows("abc")), 3);
    let _held = locks::named("fut_1_2").acquire().unwrap();
    match poll(Echo(1).call(2).as_mut()) {
        Poll::Ready(output) => assert!(output.unwrap_err().is_contended()),
        Poll::Pending => panic!("it waits"),
    }
}
