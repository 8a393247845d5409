//! What becomes of the parameters, in the order of
//! <https://github.com/dtolnay/async-trait/pull/125> and issue 199 there: dropped as those of a
//! plain function are.

use std::cell::RefCell;
use std::future::Future;
use std::task::Poll;

use locks::{LockError, lock};

use crate::polling::{pause, poll};

/// Says when it is dropped.
struct Dropped<'a>(&'static str, &'a RefCell<Vec<&'static str>>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

type Three<'a> = [Dropped<'a>; 3];

async fn plain(a: Dropped<'_>, (b, _b): (Dropped<'_>, u8), c: Dropped<'_>) {
    let _local = Dropped("local", a.1);
    pause().await;
    let _used = (&a, &b, &c);
}

#[lock("peer_at_order")]
async fn locked(a: Dropped<'_>, (b, _b): (Dropped<'_>, u8), c: Dropped<'_>) {
    let _local = Dropped("local", a.1);
    pause().await;
    let _used = (&a, &b, &c);
}

#[lock("peer_at_order", on_lost = "error")]
fn told(a: Dropped<'_>, (b, _b): (Dropped<'_>, u8), c: Dropped<'_>) -> Result<(), LockError> {
    let _local = Dropped("local", a.1);
    let _used = (&a, &b, &c);
    Ok(())
}

fn second_poll<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    assert!(poll(future.as_mut()).is_pending());
    match poll(future.as_mut()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a4_parameters_are_dropped_in_order() {
    let log = RefCell::new(Vec::new());
    let three = || -> Three<'_> { ["a", "b", "c"].map(|name| Dropped(name, &log)) };
    let [a, b, c] = three();
    second_poll(plain(a, (b, 0), c));
    assert_eq!(log.take(), ["local", "c", "b", "a"]);
    let [a, b, c] = three();
    second_poll(locked(a, (b, 0), c));
    assert_eq!(log.take(), ["local", "c", "b", "a"]);
    let [a, b, c] = three();
    told(a, (b, 0), c).unwrap();
    assert_eq!(log.take(), ["local", "c", "b", "a"]);
    let [a, b, c] = three();
    drop(locked(a, (b, 0), c));
    assert_eq!(log.take().len(), 3, "those of a future that is never polled, too");
}

macro_rules! pair {
    ($a:ident, $b:ident) => {
        ($a, $b)
    };
}

struct Of<T> {
    x: T,
}

/// What looks like a variable of the pattern, and is none.
#[lock("peer_at_patterns")]
async fn patterns(pair!(a, b): (u8, u8), Of::<u8> { x }: Of<u8>, c: u8, 0..=255: u8) -> (u8, u8) {
    let (d, e) = (pair!(a, b), (x as u16 + u16::from(c)) as u8);
    (d.0 + d.1, e)
}

#[lock("peer_at_patterns", on_lost = "error")]
fn patterns_told(pair!(a, b): (u8, u8), Of::<u8> { x }: Of<u8>, c: u8) -> Result<u8, LockError> {
    let pair = pair!(a, b);
    Ok(pair.0 + pair.1 + (u16::from(c) + x as u16) as u8)
}

/// A range, a text and members name no parameter, or do.
#[lock("peer_at_order")]
async fn words(a: Dropped<'_>, b: Dropped<'_>, c: Dropped<'_>, n: u8) -> String {
    let all = (0..n).map(|n| n.to_string()).collect::<String>();
    pause().await;
    let Dropped(c, _) = &c;
    format!("{all}{}{}{c}", a.0, b.0)
}

#[test]
fn a4_patterns_are_read_as_the_compiler_reads_them() {
    assert_eq!(crate::polling::now(patterns((1, 2), Of { x: 3 }, 4, 5)), (3, 7));
    assert_eq!(patterns_told((1, 2), Of { x: 3 }, 4).unwrap(), 10);
    let log = RefCell::new(Vec::new());
    let [a, b, c] = ["a", "b", "c"].map(|name| Dropped(name, &log));
    assert_eq!(second_poll(words(a, b, c, 2)), "01abc");
    assert_eq!(log.take(), ["c", "b", "a"]);
}
