//! The option `once_per`: what counts as done, by the type that a body returns (C14).

use std::time::Duration;

use locks::{ErrorKind, LockError, lock};

use crate::polling::now;

#[derive(Debug, PartialEq)]
enum Failed {
    Job(&'static str),
    Lock(ErrorKind),
}

impl From<LockError> for Failed {
    fn from(error: LockError) -> Self {
        Failed::Lock(error.kind())
    }
}

#[lock("opt_once_result", once_per = "1h", wait = false)]
fn once(outcome: Result<u8, &'static str>) -> Result<u8, Failed> {
    Ok(outcome.map_err(Failed::Job)?)
}

#[lock("opt_once_option", once_per = "1h", wait = false, guard = held, label = "nightly")]
fn once_some(outcome: Option<u8>) -> Option<u8> {
    held.check().unwrap();
    let listed = locks::list().unwrap();
    let info = listed.iter().find(|info| info.key == "opt_once_option").unwrap();
    assert_eq!(info.holders[0].label.as_deref(), Some("nightly"));
    outcome
}

#[lock("opt_once_unit", once_per = Duration::from_secs(3600), wait = false, otherwise = false)]
fn once_without_a_panic(panics: bool) -> bool {
    assert!(!panics, "on purpose");
    true
}

#[lock("opt_once_opaque_{n}", once_per = "1h")]
fn once_opaque(n: u8) -> impl Iterator<Item = u8> {
    if n == 0 {
        return (0..n).map(double as fn(u8) -> u8);
    }
    (0..n).map(double as fn(u8) -> u8)
}

fn double(n: u8) -> u8 {
    2 * n
}

#[lock("opt_once_opaque_part_{n}", once_per = "1h", wait = false)]
fn once_opaque_part(n: u8) -> Option<(impl Iterator<Item = u8>, u8)> {
    (n > 0).then(|| ((0..n).map(double), n))
}

#[lock("opt_once_lost", once_per = "1h", wait = false, on_lost = "error")]
fn once_or_lost(outcome: Result<u8, Failed>) -> Result<u8, Failed> {
    outcome
}

#[lock("opt_once_async", once_per = "1h", wait = false)]
async fn once_async(outcome: Result<u8, Failed>) -> Result<u8, Failed> {
    std::future::ready(()).await;
    outcome
}

#[lock("opt_once_cancel", once_per = "1h", wait = false, on_lost = "cancel", guard = held)]
async fn once_or_cancelled(outcome: Result<u8, Failed>) -> Result<u8, Failed> {
    held.check()?;
    outcome
}

#[test]
fn c14_once_per_counts_an_ok_and_no_error() {
    assert_eq!(once(Err("down")), Err(Failed::Job("down")));
    assert_eq!(once(Err("down")), Err(Failed::Job("down")));
    assert_eq!(once(Ok(7)), Ok(7));
    assert_eq!(once(Ok(8)), Err(Failed::Lock(ErrorKind::Contended)));
}

#[test]
fn c14_once_per_counts_a_some_and_no_none() {
    assert_eq!(once_some(None), None);
    assert_eq!(once_some(Some(7)), Some(7));
    assert_eq!(once_some(Some(8)), None, "it is reserved");
}

#[test]
fn c14_once_per_counts_whatever_returns_and_no_panic() {
    assert!(std::panic::catch_unwind(|| once_without_a_panic(true)).is_err());
    assert!(once_without_a_panic(false));
    assert!(!once_without_a_panic(false), "it is reserved");
}

#[test]
fn c14_once_per_counts_where_the_type_has_no_name() {
    assert_eq!(once_opaque(3).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(once_opaque(0).count(), 0);
    assert!(once_opaque_part(0).is_none());
    assert!(once_opaque_part(1).is_some());
    let reserved = |key| {
        let listed = locks::list().unwrap();
        listed.iter().any(|info| info.key == key && info.reserved_for.is_some())
    };
    assert!(reserved("opt_once_opaque_3") && reserved("opt_once_opaque_0"));
    assert!(reserved("opt_once_opaque_part_1") && !reserved("opt_once_opaque_part_0"));
}

#[test]
fn c14_once_per_goes_with_on_lost() {
    assert_eq!(once_or_lost(Err(Failed::Job("down"))), Err(Failed::Job("down")));
    assert_eq!(once_or_lost(Ok(7)), Ok(7));
    assert_eq!(once_or_lost(Ok(8)), Err(Failed::Lock(ErrorKind::Contended)));
}

#[test]
fn c14_once_per_counts_in_async_functions() {
    let failed = || Err(Failed::Job("down"));
    assert_eq!(now(once_async(failed())), failed());
    drop(once_async(Ok(1)));
    assert_eq!(now(once_async(Ok(7))), Ok(7));
    assert_eq!(now(once_async(Ok(8))), Err(Failed::Lock(ErrorKind::Contended)));
    assert_eq!(now(once_or_cancelled(failed())), failed());
    assert_eq!(now(once_or_cancelled(Ok(7))), Ok(7));
    assert_eq!(now(once_or_cancelled(Ok(8))), Err(Failed::Lock(ErrorKind::Contended)));
}

#[test]
fn c14_once_per_counts_in_blocks() {
    let job = |outcome: Option<u8>, leaves: bool| -> Result<Option<u8>, LockError> {
        locks::block::lock!("opt_once_block", once_per = "1h", wait = false => {
            if leaves {
                return Ok(outcome);
            }
            outcome
        })
    };
    assert_eq!(job(None, false).unwrap(), None);
    assert_eq!(
        job(Some(1), true).unwrap(),
        Some(1),
        "one that leaves early has not come to the end"
    );
    assert_eq!(job(Some(7), false).unwrap(), Some(7));
    assert!(job(Some(8), false).unwrap_err().is_contended());
}

#[test]
fn c14_once_per_goes_on_blocks_that_leave() {
    const LEN: usize = 1;
    fn returns(n: u8) -> u8 {
        let _ = locks::block::lock!("opt_once_leaves", once_per = "1h" => { return n; });
        0
    }
    fn breaks() -> u8 {
        'out: {
            let _ = locks::block::lock!("opt_once_leaves", once_per = "1h", on_lost = "error" => { break 'out 2 });
            0
        }
    }
    async fn continues() -> u8 {
        for n in [3, 4] {
            let _ = locks::block::lock!(async "opt_once_leaves", once_per = "1h" => { continue });
            return n;
        }
        5
    }
    async fn cancelled() -> Result<(), LockError> {
        locks::block::lock!(async "opt_once_cancelled", once_per = "1h", on_lost = "cancel" => {
            std::future::ready(()).await;
        })
    }
    assert_eq!((returns(1), breaks(), now(continues())), (1, 2, 5));
    locks::block::lock!("opt_once_leaves", once_per = "1h", wait = false => { assert_ne!(LEN, 0); })
        .unwrap();
    let taken = locks::block::lock!("opt_once_leaves", once_per = "1h", wait = false => { panic!("reserved") });
    assert!(taken.is_err_and(|error: LockError| error.is_contended()));
    now(cancelled()).unwrap();
}

#[test]
fn c14_once_per_goes_on_blocks_whose_type_comes_from_outside() {
    type Outcome<T> = Result<T, LockError>;
    fn list(all: &[u8]) -> Outcome<Vec<u8>> {
        locks::block::lock!("opt_once_list", once_per = "1h", wait = false => { all.iter().map(|n| n + 1).collect() })
    }
    fn some(all: &[Option<u8>]) -> Outcome<Option<Vec<u8>>> {
        locks::block::lock!("opt_once_some", once_per = "1h", wait = false, on_lost = "error" => {
            all.iter().copied().collect()
        })
    }
    async fn number(text: &str) -> Outcome<Result<u8, std::num::ParseIntError>> {
        locks::block::lock!(async "opt_once_number", once_per = "1h", wait = false => { text.parse() })
    }
    assert_eq!(list(&[1]).unwrap(), [2]);
    assert!(list(&[1]).unwrap_err().is_contended());
    assert_eq!(some(&[Some(1), None]).unwrap(), None);
    assert_eq!(some(&[Some(1)]).unwrap(), Some(vec![1]));
    assert!(some(&[]).unwrap_err().is_contended());
    assert!(now(number("x")).unwrap().is_err());
    assert_eq!(now(number("5")).unwrap(), Ok(5));
    assert!(now(number("5")).unwrap_err().is_contended());
}
