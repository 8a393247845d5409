//! A2, A3: what a function returns whose body did not run.

use std::fmt;
use std::io;
use std::task::Poll;

use locks::{ErrorKind, LockError, lock};

use crate::polling::now;

#[lock("early", wait = false)]
fn unit(ran: &mut bool) {
    *ran = true;
}

#[lock("early", wait = false)]
fn option() -> Option<u8> {
    Some(1)
}

#[lock("early", wait = false)]
fn result() -> Result<u8, LockError> {
    Ok(1)
}

#[lock("early", wait = false)]
fn io_alias() -> io::Result<u8> {
    Ok(1)
}

type Fallible<T = ()> = anyhow::Result<T>;

#[lock("early", wait = false)]
fn anyhow_alias() -> Fallible<u8> {
    Ok(1)
}

#[derive(Debug)]
struct Mine(LockError);

impl From<LockError> for Mine {
    fn from(error: LockError) -> Self {
        Self(error)
    }
}

#[lock("early", wait = false)]
fn mine() -> Result<u8, Mine> {
    Ok(1)
}

#[lock("early", wait = false)]
fn generic<E: From<LockError>>() -> Result<u8, E> {
    Ok(1)
}

#[lock("early", wait = false, otherwise = 9)]
fn otherwise() -> u8 {
    1
}

impl std::str::FromStr for Mine {
    type Err = Self;

    #[lock("early", wait = false)]
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unreachable!("the key is held, and `{text}` is not read")
    }
}

#[lock("early", wait = false, otherwise = Poll::Pending)]
fn ready() -> Poll<u8> {
    Poll::Ready(1)
}

#[lock("early", wait = false, otherwise = I::Item::default())]
fn first<I: Iterator<Item: Default>>(mut items: I) -> I::Item {
    items.next().unwrap()
}

#[lock("early", wait = false)]
async fn unit_async(ran: &mut bool) {
    *ran = true;
}

#[lock("early", wait = false)]
async fn option_async() -> Option<u8> {
    Some(1)
}

#[lock("early", wait = false)]
async fn result_async() -> Result<u8, LockError> {
    Ok(1)
}

#[lock("early", wait = false)]
fn opaque_ok() -> Result<impl fmt::Debug, LockError> {
    Ok(1)
}

#[lock("early", wait = false)]
fn opaque_some() -> Option<impl fmt::Debug> {
    Some(1)
}

#[test]
fn a2_a_contended_lock_returns_early() {
    let mut ran = false;
    let held = locks::named("early").acquire().unwrap();
    unit(&mut ran);
    now(unit_async(&mut ran));
    assert!(!ran);
    assert_eq!(option(), None);
    assert_eq!(now(option_async()), None);
    assert!(result().unwrap_err().is_contended());
    assert!(now(result_async()).unwrap_err().is_contended());
    assert_eq!(io_alias().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(anyhow_alias().unwrap_err().downcast::<LockError>().unwrap().is_contended());
    assert!(mine().unwrap_err().0.is_contended());
    assert!(generic::<LockError>().unwrap_err().is_contended());
    assert_eq!(otherwise(), 9);
    assert!("".parse::<Mine>().unwrap_err().0.is_contended());
    assert_eq!(ready(), Poll::Pending);
    assert_eq!(first([5].into_iter()), 0);
    assert!(opaque_ok().unwrap_err().is_contended());
    assert!(opaque_some().is_none());
    drop(held);
    unit(&mut ran);
    assert!(ran);
    assert_eq!(option(), Some(1));
    assert_eq!(now(option_async()), Some(1));
    assert_eq!(result().unwrap(), 1);
    assert_eq!(generic::<LockError>().unwrap(), 1);
    assert_eq!(otherwise(), 1);
    assert_eq!(ready(), Poll::Ready(1));
    assert_eq!(first([5].into_iter()), 5);
}

#[lock("early_{bad}")]
fn fault_unit(bad: &str) {}

#[lock("early_{bad}")]
fn fault_value(bad: &str) -> u8 {
    1
}

#[lock("early_{bad}")]
fn fault_option(bad: &str) -> Option<u8> {
    Some(1)
}

#[lock("early_{bad}")]
fn fault_result(bad: &str) -> io::Result<u8> {
    Ok(1)
}

#[lock("early_{bad}")]
fn fault_generic<T: Default>(bad: &str) -> T {
    T::default()
}

#[lock("early_{bad}")]
fn fault_opaque(bad: &str) -> impl fmt::Debug {
    1
}

#[lock("early_{bad}")]
fn fault_opaque_ok(bad: &str) -> Result<impl fmt::Debug, LockError> {
    Ok(1)
}

#[lock("early_{bad}")]
fn fault_opaques(bad: &str) -> (impl fmt::Debug, impl fmt::Debug) {
    (1, 2)
}

#[lock("early_{bad}")]
fn fault_never(bad: &str) -> ! {
    unreachable!("{bad}")
}

#[lock("early_{bad}", otherwise = 3)]
fn fault_otherwise_value(bad: &str) -> u8 {
    1
}

#[lock("early_{bad}", otherwise = Ok(3))]
fn fault_otherwise_result(bad: &str) -> Result<u8, LockError> {
    Ok(1)
}

#[lock("early_{bad}", otherwise = Err(fmt::Error))]
fn fault_otherwise_other_error(bad: &str) -> fmt::Result {
    Ok(())
}

#[lock("early_{bad}", otherwise = |error| format!("{:?}", error.kind()))]
fn fault_closure(bad: &str) -> String {
    String::new()
}

#[lock("early_{bad}", otherwise = |_| Err(fmt::Error))]
fn fault_closure_other_error(bad: &str) -> fmt::Result {
    Ok(())
}

#[lock("early_{bad}")]
async fn fault_async(bad: &str) -> u8 {
    1
}

#[lock("early_{bad}")]
async fn fault_result_async(bad: &str) -> Result<u8, LockError> {
    Ok(1)
}

/// What the panic of `run` says.
fn panic_of<R>(run: impl FnOnce() -> R) -> String {
    let run = std::panic::AssertUnwindSafe(run);
    match std::panic::catch_unwind(run) {
        Ok(_) => panic!("no panic"),
        Err(panic) => *panic.downcast::<String>().unwrap(),
    }
}

#[test]
fn a3_a_fault_is_returned_where_the_type_can_say_it() {
    let bad = "\0";
    assert_eq!(fault_result(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fault_opaque_ok(bad).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(now(fault_result_async(bad)).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(fault_otherwise_result(bad).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(fault_closure(bad), "InvalidKey");
    assert!(fault_closure_other_error(bad).is_err());
}

#[test]
fn a3_a_fault_panics_with_its_text_where_it_cannot() {
    let bad = "\0";
    for text in [
        panic_of(|| fault_unit(bad)),
        panic_of(|| fault_value(bad)),
        panic_of(|| fault_option(bad)),
        panic_of(|| fault_generic::<u8>(bad)),
        panic_of(|| fault_opaque(bad)),
        panic_of(|| fault_opaques(bad)),
        panic_of(|| fault_never(bad)),
        panic_of(|| fault_otherwise_value(bad)),
        panic_of(|| fault_otherwise_other_error(bad)),
        panic_of(|| now(fault_async(bad))),
    ] {
        assert_eq!(text, "the key `early_\\0` contains a NUL byte: leave it out");
    }
    assert_eq!(fault_generic::<u8>("good"), 0);
    assert_eq!(fault_option("good"), Some(1));
}

type Told<T> = Result<T, LockError>;

/// Behind an alias, whose name does not tell that it is a `Result`.
#[lock("early_{bad}")]
fn opaque_alias(bad: &str) -> Told<impl Iterator<Item = u8> + use<>> {
    Ok(std::iter::once(1))
}

#[lock("early_{bad}")]
async fn opaque_alias_async(bad: &str) -> Told<impl Iterator<Item = u8> + use<'_>> {
    Ok(std::iter::once(1))
}

#[lock("early_{bad}", otherwise = Ok(std::iter::once(2)))]
fn opaque_alias_otherwise(bad: &str) -> Told<impl Iterator<Item = u8> + use<>> {
    Ok(std::iter::once(1))
}

#[lock("early_{bad}")]
fn opaque_other(bad: &str) -> Vec<impl Iterator<Item = u8> + use<>> {
    vec![std::iter::once(1)]
}

#[test]
fn a3_a_fault_goes_through_an_alias_with_an_opaque_type() {
    let bad = "\0";
    assert_eq!(opaque_alias(bad).err().unwrap().kind(), ErrorKind::InvalidKey);
    assert_eq!(now(opaque_alias_async(bad)).err().unwrap().kind(), ErrorKind::InvalidKey);
    assert_eq!(opaque_alias_otherwise(bad).err().unwrap().kind(), ErrorKind::InvalidKey);
    assert!(std::panic::catch_unwind(|| opaque_other(bad).len()).is_err());
}

/// Names that the expansions once had, by traits of the user's.
#[expect(dead_code, reason = "it is in the way, or not")]
trait Everything: Sized {
    fn early(self, _: LockError) {}
    fn fault(self, _: LockError) {}
    fn runs_in_time(self) {}
    fn acquire(self) {}
    fn ask(self) {}
    fn ask_here(self) {}
    fn wait(self, _: bool) {}
}

impl<T> Everything for T {}

#[lock("early_names", wait = true)]
fn among_names() -> Result<u8, LockError> {
    Ok(1)
}

#[lock("early_names_{n}")]
async fn among_names_async(n: u8) -> u8 {
    n
}

#[test]
fn a4_traits_of_the_users_do_not_get_in_the_way() {
    assert_eq!(among_names().unwrap(), 1);
    assert_eq!(now(among_names_async(2)), 2);
    assert_eq!(locks::block::lock!("early_names", wait = true => { 3 }).unwrap(), 3);
}
