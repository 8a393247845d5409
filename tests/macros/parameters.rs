//! What becomes of the parameters, in the order of
//! <https://github.com/dtolnay/async-trait/pull/125> and issue 199 there: dropped as those of a
//! plain function are.

use std::cell::RefCell;
use std::future::Future;
use std::task::Poll;

use locks::{LockError, lock};

use crate::polling::{now, pause, poll};

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

#[lock("param_order")]
async fn locked(a: Dropped<'_>, (b, _b): (Dropped<'_>, u8), c: Dropped<'_>) {
    let _local = Dropped("local", a.1);
    pause().await;
    let _used = (&a, &b, &c);
}

#[lock("param_order", on_lost = "error")]
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

/// Has no `Drop` of its own, so that its fields can be taken one by one.
struct Parts<'a> {
    sock: Dropped<'a>,
    rest: Dropped<'a>,
}

fn parts<'a>(log: &'a RefCell<Vec<&'static str>>) -> Parts<'a> {
    Parts { sock: Dropped("sock", log), rest: Dropped("rest", log) }
}

macro_rules! in_part {
    ($($key:literal $name:ident $plain:ident ($($arg:pat_param => $ty:ty),*) $body:block)*) => {
        $(
            async fn $plain($($arg: $ty),*) $body

            mod $name {
                use super::*;

                #[lock($key)]
                pub(super) async fn $name($($arg: $ty),*) $body

                #[lock($key, guard = _held, wait = false)]
                pub(super) async fn guarded($($arg: $ty),*) $body

                #[lock($key, on_lost = "error")]
                pub(super) fn told($($arg: $ty),*) -> Result<(), LockError> {
                    $body
                    Ok(())
                }

                #[lock($key, once_per = "1ms", hold_at_most = "1h")]
                pub(super) fn once($($arg: $ty),*) $body
            }
        )*
    };
}

in_part! {
    "param_part_one" one plain_one(p => Parts<'_>) { let _used = &p.sock; }
    "param_part_two" two plain_two(p => Parts<'_>, b => Dropped<'_>) { let _used = (&p.rest, &b); }
    "param_part_hidden" hidden plain_hidden(a => Dropped<'_>, _b => Dropped<'_>) { let _used = (&a, &_b); }
    "param_part_deep" deep plain_deep((Parts { sock, .. }, _n) => (Parts<'_>, u8), _b => Option<Dropped<'_>>) {
        let _used = (&sock, &_b);
    }
}

#[allow(non_snake_case, reason = "what this is about")]
mod upper {
    use super::*;

    pub(super) async fn plain(A: Dropped<'_>, B: Dropped<'_>) {
        let _used = (&A, &B);
    }

    #[lock("param_upper")]
    pub(super) async fn locked(A: Dropped<'_>, B: Dropped<'_>) {
        let _used = (&A, &B);
    }

    #[lock("param_upper", on_lost = "error")]
    pub(super) fn told(A: Dropped<'_>, B: Dropped<'_>) -> Result<(), LockError> {
        let _used = (&A, &B);
        Ok(())
    }
}

#[test]
fn a4_a_parameter_that_is_used_in_part_is_dropped_whole() {
    let log = RefCell::new(Vec::new());
    now(plain_one(parts(&log)));
    let plain = log.take();
    now(one::one(parts(&log)));
    assert_eq!(log.take(), plain);
    now(one::guarded(parts(&log)));
    assert_eq!(log.take(), plain);
    one::told(parts(&log)).unwrap();
    assert_eq!(log.take(), plain);
    one::once(parts(&log));
    assert_eq!(log.take(), plain);

    let b = || Dropped("b", &log);
    now(plain_two(parts(&log), b()));
    let plain = log.take();
    now(two::two(parts(&log), b()));
    assert_eq!(log.take(), plain);
    now(two::guarded(parts(&log), b()));
    assert_eq!(log.take(), plain);
    two::told(parts(&log), b()).unwrap();
    assert_eq!(log.take(), plain);
    two::once(parts(&log), b());
    assert_eq!(log.take(), plain);

    now(plain_deep((parts(&log), 1), Some(b())));
    let plain = log.take();
    now(deep::deep((parts(&log), 1), Some(b())));
    assert_eq!(log.take(), plain);
    now(deep::guarded((parts(&log), 1), Some(b())));
    assert_eq!(log.take(), plain);
    deep::told((parts(&log), 1), Some(b())).unwrap();
    assert_eq!(log.take(), plain);
    deep::once((parts(&log), 1), Some(b()));
    assert_eq!(log.take(), plain);
}

/// Says whether the lock is held when it is dropped.
struct UnderLock;

impl Drop for UnderLock {
    fn drop(&mut self) {
        let held = locks::list().unwrap().iter().any(|lock| lock.key == "param_method");
        HELD.with_borrow_mut(|all| all.push(held));
    }
}

thread_local! {
    static HELD: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

struct Client {
    sock: UnderLock,
    _rest: UnderLock,
}

impl Client {
    #[lock("param_method")]
    async fn close(self) {
        let _used = &self.sock;
    }

    #[lock("param_method")]
    async fn close_all((one, _n): (Self, u8)) {
        let _used = &one.sock;
    }

    #[lock("param_method", on_lost = "error")]
    fn close_told(self) -> Result<(), LockError> {
        let _used = &self.sock;
        Ok(())
    }
}

#[test]
fn a4_no_part_of_a_used_parameter_outlives_the_lock() {
    let client = || Client { sock: UnderLock, _rest: UnderLock };
    now(client().close());
    now(Client::close_all((client(), 1)));
    client().close_told().unwrap();
    assert_eq!(HELD.take(), [true; 6]);
}

#[test]
fn a4_a_parameter_is_dropped_in_order_whatever_its_name() {
    let log = RefCell::new(Vec::new());
    let (a, b) = (|| Dropped("a", &log), || Dropped("b", &log));
    now(plain_hidden(a(), b()));
    assert_eq!(log.take(), ["b", "a"]);
    now(hidden::hidden(a(), b()));
    assert_eq!(log.take(), ["b", "a"]);
    now(hidden::guarded(a(), b()));
    assert_eq!(log.take(), ["b", "a"]);
    hidden::told(a(), b()).unwrap();
    assert_eq!(log.take(), ["b", "a"]);
    hidden::once(a(), b());
    assert_eq!(log.take(), ["b", "a"]);
    now(upper::plain(a(), b()));
    assert_eq!(log.take(), ["b", "a"]);
    now(upper::locked(a(), b()));
    assert_eq!(log.take(), ["b", "a"]);
    upper::told(a(), b()).unwrap();
    assert_eq!(log.take(), ["b", "a"]);
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
#[lock("param_patterns")]
async fn patterns(pair!(a, b): (u8, u8), Of::<u8> { x }: Of<u8>, c: u8, 0..=255: u8) -> (u8, u8) {
    let (d, e) = (pair!(a, b), (x as u16 + u16::from(c)) as u8);
    (d.0 + d.1, e)
}

#[lock("param_patterns", on_lost = "error")]
fn patterns_told(pair!(a, b): (u8, u8), Of::<u8> { x }: Of<u8>, c: u8) -> Result<u8, LockError> {
    let pair = pair!(a, b);
    Ok(pair.0 + pair.1 + (u16::from(c) + x as u16) as u8)
}

struct Conditional {
    #[cfg(any())]
    gone: u8,
    x: String,
}

#[lock("param_cfg")]
async fn conditional(
    Conditional {
        #[cfg(any())]
        gone,
        x,
    }: Conditional,
    #[cfg_attr(all(), cfg(any()))] other: String,
    #[cfg_attr(all(), expect(unused_variables, reason = "what this is about"))] y: String,
    #[cfg(any())] third: String,
) -> String {
    #[cfg(any())]
    drop((gone, other, third));
    x
}

#[lock("param_cfg", on_lost = "error")]
fn conditional_told(
    Conditional {
        #[cfg(all(feature = "tcp", any()))]
        gone,
        x,
    }: Conditional,
    #[cfg_attr(all(), cfg(any()))] other: String,
) -> Result<String, LockError> {
    #[cfg(any())]
    drop((gone, other));
    if cfg!(all(feature = "tcp", any())) {
        return Ok(String::new());
    }
    Ok(x)
}

#[test]
fn a4_a_parameter_may_not_be_there() {
    let given = || Conditional { x: "x".to_owned() };
    assert_eq!(now(conditional(given(), String::new())), "x");
    assert_eq!(conditional_told(given()).unwrap(), "x");
}

/// A range, a text and members name no parameter, or do.
#[lock("param_words")]
async fn words(a: Dropped<'_>, b: Dropped<'_>, c: Dropped<'_>, n: u8) -> String {
    let all = (0..n).map(|n| n.to_string()).collect::<String>();
    pause().await;
    let Dropped(c, _) = &c;
    format!("{all}{}{}{c}", a.0, b.0)
}

#[test]
fn a4_patterns_are_read_as_the_compiler_reads_them() {
    assert_eq!(now(patterns((1, 2), Of { x: 3 }, 4, 5)), (3, 7));
    assert_eq!(patterns_told((1, 2), Of { x: 3 }, 4).unwrap(), 10);
    let log = RefCell::new(Vec::new());
    let [a, b, c] = ["a", "b", "c"].map(|name| Dropped(name, &log));
    assert_eq!(second_poll(words(a, b, c, 2)), "01abc");
    assert_eq!(log.take(), ["c", "b", "a"]);
}
