//! A4: an annotated function does what the same one does without the attribute, in whatever edition
//! it was written.
#![cfg(test)]
#![deny(warnings)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use locks::{LockError, lock};

thread_local! {
    static LOG: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    static HELD: Cell<u8> = const { Cell::new(0) };
}

/// Notes when it is dropped, and counts those that are while the lock is held.
struct Noted(&'static str);

impl Noted {
    fn value(&self) -> Option<u8> {
        Some(5)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        LOG.with(|log| log.borrow_mut().push(self.0));
        if self.0 != "parameter" && !is_free("edition_twins") {
            HELD.with(|held| held.set(held.get() + 1));
        }
    }
}

fn log_of<T>(run: impl FnOnce() -> T) -> Vec<&'static str> {
    run();
    LOG.with(|log| log.replace(Vec::new()))
}

/// How many were dropped under the lock since it was asked last.
fn held() -> u8 {
    HELD.with(|held| held.replace(0))
}

/// The tests share their keys, and look whether these are free.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_free(key: &str) -> bool {
    locks::named(key).wait(false).acquire().is_ok()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Each body as it is, blocking and asynchronous, and annotated.
macro_rules! twins {
    ($($name:ident($arg:ident) $body:tt)*) => {$(
        mod $name {
            use super::*;

            fn plain($arg: Noted) -> Option<u8> $body

            async fn plain_async($arg: Noted) -> Option<u8> $body

            #[lock("edition_twins")]
            fn locked($arg: Noted) -> Option<u8> $body

            #[lock("edition_twins")]
            async fn locked_async($arg: Noted) -> Option<u8> $body

            #[lock("edition_twins", guard = held)]
            fn guarded($arg: Noted) -> Option<u8> {
                assert!(held.check().is_ok());
                blocked($arg)
            }

            #[lock("edition_twins_told", on_lost = "error")]
            fn told($arg: Noted) -> Result<Option<u8>, LockError> {
                Ok(blocked($arg))
            }

            fn blocked($arg: Noted) -> Option<u8> {
                let out = locks::block::lock!("edition_block" => $body);
                out.unwrap_or_else(|error| panic!("{}", error))
            }

            #[test]
            fn a4_locals_and_temporaries_are_dropped_as_ever() {
                let _alone = alone();
                let order = log_of(|| plain(Noted("parameter")));
                assert_eq!(log_of(|| now(plain_async(Noted("parameter")))), order);
                assert_eq!(held(), 0);
                let under = order.iter().filter(|name| **name != "parameter").count();
                assert_eq!(log_of(|| locked(Noted("parameter"))), order);
                assert_eq!(usize::from(held()), under);
                assert_eq!(log_of(|| now(locked_async(Noted("parameter")))), order);
                assert_eq!(usize::from(held()), under);
                assert_eq!(log_of(|| guarded(Noted("parameter"))), order);
                assert_eq!(log_of(|| told(Noted("parameter"))), order);
                assert!(is_free("edition_twins") && is_free("edition_block"));
            }
        }
    )*};
}

twins! {
    tail(parameter) {
        let _local = Noted("local");
        let _parameter = &parameter;
        Noted("temporary").value()
    }
    if_let(parameter) {
        let _parameter = &parameter;
        if let Some(4) = Noted("temporary").value() {
            None
        } else {
            let _local = Noted("local");
            Some(5)
        }
    }
    matched(parameter) {
        let _parameter = &parameter;
        match Noted("temporary").value() {
            Some(n) if n > 9 => Some(n),
            other => {
                let _local = Noted("local");
                other
            }
        }
    }
    moved(parameter) {
        let _local = Noted("local");
        drop(parameter);
        let _ = Noted("nowhere");
        Some(5)
    }
}

struct Both {
    used: Noted,
    _unused: Noted,
}

fn both() -> Both {
    Both { used: Noted("used"), _unused: Noted("unused") }
}

async fn plain_in_part(both: Both, _last: Noted) {
    let _used = (&both.used, &_last);
}

#[lock("edition_twins")]
async fn locked_in_part(both: Both, _last: Noted) {
    let _used = (&both.used, &_last);
}

#[lock("edition_twins", on_lost = "error")]
fn told_in_part(both: Both, _last: Noted) -> Result<(), LockError> {
    let _used = (&both.used, &_last);
    Ok(())
}

#[test]
fn a4_parameters_are_dropped_whole_and_under_the_lock() {
    let _alone = alone();
    let order = log_of(|| now(plain_in_part(both(), Noted("last"))));
    assert_eq!(held(), 0);
    assert_eq!(log_of(|| now(locked_in_part(both(), Noted("last")))), order);
    assert_eq!(held(), 3);
    assert_eq!(log_of(|| told_in_part(both(), Noted("last"))), order);
    assert_eq!(held(), 3);
}

#[lock("edition_closure")]
fn closure() -> impl Fn(&str) -> usize {
    |text| text.len()
}

#[test]
fn a4_a_closure_is_told_what_it_takes() {
    assert_eq!(closure()("four"), 4);
}

// Unsafe functions are no unsafe blocks any more since 2024, and were before.
#[lock("edition_unsafe")]
unsafe fn byte(at: *const u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *at }
}

#[lock("edition_{name}")]
extern "C" fn external(name: u8) -> u8 {
    name
}

struct Service {
    name: String,
}

trait Named {
    fn name(&self) -> &str;

    #[lock("edition_{self.name()}_{{}}_x")]
    fn by_default(&self) -> bool {
        !is_free("edition_service_{}_x")
    }
}

impl Named for Service {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Service {
    #[lock("edition_{self.name}", wait = false)]
    async fn first(&mut self, mut n: u8) -> Option<&mut String> {
        n += 1;
        self.name.push_str(&n.to_string());
        Some(&mut self.name)
    }

    #[lock("edition_{self.name}")]
    fn boxed<'a>(&'a self, n: &'a u8) -> Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
        Box::pin(async move { self.name.len() + usize::from(*n) })
    }

    #[lock("edition_{self.name}")]
    fn bytes<'a>(&'a self) -> Result<impl Iterator<Item = u8> + 'a, LockError> {
        Ok(self.name.bytes())
    }
}

#[lock("edition_never")]
async fn never() -> ! {
    loop {
        std::future::pending::<()>().await
    }
}

#[lock("edition_never", otherwise = std::process::exit(1))]
fn exits(really: bool) -> ! {
    panic!("{} on purpose", really)
}

#[lock("edition_never", otherwise = |error| panic!("{}", error))]
async fn panics(really: bool) -> ! {
    panic!("{} on purpose", really)
}

#[test]
fn a4_shapes() {
    assert_eq!(unsafe { byte(&3) }, 3);
    assert_eq!(external(4), 4);
    let mut service = Service { name: "service".to_string() };
    assert!(service.by_default());
    assert_eq!(now(service.boxed(&1)), 8);
    assert_eq!(service.bytes().unwrap_or_else(|error| panic!("{}", error)).count(), 7);
    assert_eq!(now(service.first(0)).map(|name| name.len()), Some(8));
    drop((never(), panics(true)));
    let text = std::panic::catch_unwind(|| exits(true)).unwrap_err();
    assert_eq!(text.downcast_ref::<String>().map(String::as_str), Some("true on purpose"));
    let held =
        locks::named("edition_service1").acquire().unwrap_or_else(|error| panic!("{}", error));
    assert!(now(service.first(0)).is_none());
    drop(held);
}

struct Words {
    r#gen: u8,
    r#async: u8,
}

/// Words that are keywords in some editions and not in others, and raw in all.
#[lock("edition_{words.gen}_{words.async:width$}_{gen}_{gen:>2}_<match>")]
fn words_of_all_editions(words: &Words, r#gen: u8, r#match: u8, width: usize) -> bool {
    let _used = (words, r#gen, r#match, width);
    is_free("edition_1_  2_3_ 3_4")
}

#[test]
fn a1_keywords_in_templates_are_names_in_every_edition() {
    assert!(!words_of_all_editions(&Words { r#gen: 1, r#async: 2 }, 3, 4, 3));
}
