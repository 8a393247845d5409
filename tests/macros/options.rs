//! Every option of the attribute's table, by what it does.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use locks::backend::Engine;
use locks::{Backend, ErrorKind, LockError, LostCause, Mode, SharedOwner, lock};

use crate::polling::{holders, is_free, now};

#[lock("opt_plain")]
fn plain() -> bool {
    is_free("opt_plain")
}

#[test]
fn c1_the_body_runs_under_the_lock_and_the_lock_ends_with_it() {
    assert!(!plain());
    assert!(is_free("opt_plain"));
    assert!(!plain(), "the second call takes the pinned way");
    assert!(is_free("opt_plain"));
}

#[lock("opt_site")]
fn site() -> String {
    holders("opt_site")[0].to_string()
}

#[test]
fn c12_the_hold_names_file_line_and_function() {
    let line = line!() - 7;
    for _ in 0..2 {
        let shown = site();
        assert!(shown.contains(&format!("tests/macros/options.rs:{line}")), "{shown}");
        assert!(shown.contains("`macros::options::site`"), "{shown}");
    }
}

#[lock("opt_wait", wait = false)]
fn try_it() -> Option<()> {
    Some(())
}

#[lock("opt_wait", wait = "20ms")]
fn try_a_while() -> Result<(), LockError> {
    Ok(())
}

#[lock("opt_wait", wait = limit)]
fn try_as_long_as(limit: Duration) -> Result<(), LockError> {
    Ok(())
}

#[lock("opt_wait", wait = true)]
fn wait_for_ever() -> Duration {
    Duration::ZERO
}

#[test]
fn c2_wait_says_how_long_to_queue() {
    assert!(try_it().is_some());
    let held = locks::named("opt_wait").acquire().unwrap();
    std::thread::spawn(move || {
        assert!(try_it().is_none());
        let begun = Instant::now();
        assert_eq!(try_a_while().unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert_eq!(try_as_long_as(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    })
    .join()
    .unwrap();
    let waiter = std::thread::spawn(wait_for_ever);
    let waits = || {
        locks::list().unwrap().iter().any(|info| info.key == "opt_wait" && !info.waiters.is_empty())
    };
    while !waits() {
        std::thread::yield_now();
    }
    drop(held);
    waiter.join().unwrap();
}

#[lock("opt_steal", wait = false, steal_after = "1ms")]
fn steal() -> Option<()> {
    Some(())
}

#[test]
fn c6_steal_after_takes_over_an_old_hold() {
    let stuck = locks::named("opt_steal").acquire().unwrap().into_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    while steal().is_none() {
        assert!(Instant::now() < deadline, "never stolen");
        std::thread::yield_now();
    }
    assert!(stuck.check().unwrap_err().is_lost());
}

#[lock("opt_shared", shared)]
fn read() -> Mode {
    assert!(locks::named("opt_shared").shared().wait(false).acquire().is_ok());
    assert!(locks::named("opt_shared").wait(false).acquire().is_err());
    holders("opt_shared")[0].mode
}

#[test]
fn shared_is_shared() {
    assert_eq!(read(), Mode::Shared);
}

#[lock("opt_permits", permits = 2, wait = false)]
fn use_one_of_two(then: fn() -> Option<u8>) -> Option<u8> {
    then().map(|n| n + 1)
}

#[test]
fn c16_permits_let_in_that_many() {
    let in_other_threads = || {
        let hold = || locks::named("opt_permits").permits(2).acquire().unwrap().into_owned();
        let _one = hold();
        assert_eq!(use_one_of_two(|| Some(0)), Some(1));
        let _two = hold();
        assert_eq!(use_one_of_two(|| Some(0)), None);
    };
    std::thread::spawn(in_other_threads).join().unwrap();
}

#[lock("opt_take", permits = 4, take = 3, wait = false)]
fn use_three_of_four(then: fn() -> Option<u8>) -> Option<u8> {
    then().map(|n| n + 1)
}

#[test]
fn c16_take_is_for_several_permits() {
    let in_other_threads = || {
        let hold = || locks::named("opt_take").permits(4).acquire().unwrap().into_owned();
        let _one = hold();
        let has_three = || {
            let three = Mode::Permit { take: 3, of: 4 };
            holders("opt_take").iter().any(|holder| holder.mode == three).then_some(1)
        };
        assert_eq!(use_three_of_four(has_three), Some(2));
        let beside_two = locks::block::lock!("opt_take", take = 2, permits = 4 => { use_three_of_four(|| Some(0)) });
        assert_eq!(beside_two.unwrap(), None);
        let _two = hold();
        assert_eq!(use_three_of_four(|| Some(0)), None);
    };
    std::thread::spawn(in_other_threads).join().unwrap();
}

#[lock("opt_nest", reentrant)]
fn nest(depth: u8) -> u8 {
    if depth == 0 { 0 } else { nest(depth - 1) + 1 }
}

#[lock("opt_nest_not")]
fn nest_not(depth: u8) -> Result<u8, LockError> {
    if depth == 0 { Ok(0) } else { nest_not(depth - 1) }
}

#[test]
fn c9_reentrant_nests_and_the_default_reports_a_deadlock() {
    assert_eq!(nest(3), 3);
    assert!(is_free("opt_nest"));
    assert_eq!(nest_not(1).unwrap_err().kind(), ErrorKind::Deadlock);
    assert_eq!(nest_not(0).unwrap(), 0);
}

#[lock("opt_barge", fair = false, shared, wait = false)]
fn barge() -> Option<()> {
    Some(())
}

#[lock("opt_barge", fair = true, shared, wait = false)]
fn queue_up() -> Option<()> {
    Some(())
}

#[test]
fn c3_fair_says_whether_to_overtake() {
    let _reader = locks::named("opt_barge").shared().acquire().unwrap().into_owned();
    let mut writer = Box::pin(locks::named("opt_barge").acquire_async());
    assert!(crate::polling::poll(writer.as_mut()).is_pending());
    assert!(queue_up().is_none(), "the writer was there before");
    assert!(barge().is_some());
}

#[lock("opt_lease", lease = "30s")]
fn leased() -> u8 {
    5
}

#[test]
fn lease_is_without_effect_where_holds_cannot_expire() {
    assert_eq!(leased(), 5);
}

#[lock("opt_at_least", hold_at_least = "1h", wait = false)]
fn at_most_once_an_hour() -> Option<()> {
    Some(())
}

#[test]
fn c14_hold_at_least_reserves_the_key() {
    assert!(at_most_once_an_hour().is_some());
    assert!(at_most_once_an_hour().is_none());
    let listed = locks::list().unwrap();
    let info = listed.iter().find(|info| info.key == "opt_at_least").unwrap();
    assert!(info.reserved_for.is_some());
}

#[lock("opt_handed", reentrant, wait = false, otherwise = false, shared_owner = owner)]
fn handed(owner: Option<SharedOwner>) -> bool {
    true
}

#[lock("opt_handed", reentrant, wait = false, otherwise = false, shared_owner = OWNER)]
async fn handed_async() -> bool {
    true
}

const OWNER: SharedOwner = SharedOwner::from_bytes([7; 16]);

#[test]
fn c9_a_function_enters_what_its_shared_owner_holds() {
    assert!(handed(None), "it is free");
    let guard = locks::named("opt_handed").shared_owner(OWNER).acquire().unwrap();
    assert!(handed(Some(OWNER)));
    assert!(now(handed_async()));
    assert!(!handed(None), "another one has it");
    assert!(!handed(Some(SharedOwner::random())));
    drop(guard);
    assert!(handed(None), "the guards within have gone");
}

#[lock("opt_at_most", hold_at_most = "1ms", guard = held)]
fn at_most_a_moment() -> LostCause {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match held.check() {
            Ok(()) => assert!(Instant::now() < deadline, "never ended"),
            Err(error) => match error.kind() {
                ErrorKind::Lost { cause } => return cause,
                other => panic!("{other}"),
            },
        }
        std::thread::yield_now();
    }
}

#[test]
fn c14_hold_at_most_ends_the_hold() {
    assert_eq!(at_most_a_moment(), LostCause::HeldTooLong);
}

#[lock("opt_otherwise", wait = false, otherwise = fallback * 2)]
fn value_otherwise(fallback: u32) -> u32 {
    1
}

#[lock("opt_otherwise", wait = false, otherwise = |error| error.to_string())]
fn closure_otherwise() -> String {
    "ran".to_owned()
}

#[lock("opt_otherwise", wait = patient, otherwise = { let one = 1; one + 1 })]
fn blocks_as_values(patient: bool) -> u8 {
    u8::from(patient)
}

#[test]
fn a2_otherwise_is_returned_instead() {
    assert_eq!(value_otherwise(4), 1);
    assert_eq!(closure_otherwise(), "ran");
    assert_eq!(blocks_as_values(true), 1);
    let _held = locks::named("opt_otherwise").acquire().unwrap();
    assert_eq!(value_otherwise(4), 8);
    assert_eq!(blocks_as_values(false), 2);
    let n = locks::block::lock!("opt_otherwise", wait = false, otherwise = { 3 }, { 4 });
    assert_eq!(n.unwrap(), 3);
    assert!(closure_otherwise().contains("`opt_otherwise` is held by"));
}

#[lock("opt_guard", guard = held)]
fn with_guard() -> (locks::Token, bool) {
    held.refresh().unwrap();
    held.check().unwrap();
    (held.token(), held.is_lost())
}

#[test]
fn guard_is_bound_in_the_body() {
    let (first, lost) = with_guard();
    let (second, _) = with_guard();
    assert!(first < second && !lost);
}

static OTHER: LazyLock<Backend> = LazyLock::new(|| Backend::new(Engine::new()));

#[lock("opt_backend", backend = &*OTHER)]
fn elsewhere() -> bool {
    is_free("opt_backend") && OTHER.named("opt_backend").wait(false).acquire().is_err()
}

#[lock("opt_backend_{n}", backend = backends[n].clone())]
fn at_one_of(backends: &[Backend], n: usize) -> bool {
    let key = format!("opt_backend_{n}");
    let held = |backend: &Backend| backend.named(key.as_str()).wait(false).acquire().is_err();
    backends.iter().enumerate().all(|(other, backend)| held(backend) == (other == n))
}

#[test]
fn backend_is_asked_instead_of_the_default_one() {
    assert!(elsewhere());
    let backends = [Backend::new(Engine::new()), Backend::new(Engine::new())];
    assert!(at_one_of(&backends, 0));
    assert!(at_one_of(&backends, 1));
}

#[lock("opt_weak", kind = "weak", wait = false)]
fn weak() -> Option<()> {
    Some(())
}

#[test]
fn a_weak_lock_is_served_by_the_default_backend_where_none_is_installed() {
    assert!(weak().is_some());
    let _held = locks::named("opt_weak").acquire().unwrap();
    assert!(weak().is_none());
}

mod renamed {
    pub(super) mod facade {
        pub(crate) use locks::{__private, lock};
    }
}

#[renamed::facade::lock("opt_crate", crate = crate::options::renamed::facade)]
fn through_a_path() -> bool {
    is_free("opt_crate")
}

#[test]
fn crate_says_where_the_facade_is() {
    assert!(!through_a_path());
}

#[lock("opt_b", "opt_{a}", key = 'c', wait = false)]
fn several(a: char) -> Option<Vec<bool>> {
    Some(["opt_a", "opt_b", "c"].map(is_free).into())
}

#[test]
fn c11_several_keys_are_taken_together() {
    assert_eq!(several('a'), Some(vec![false; 3]));
    let _held = locks::named("opt_b").acquire().unwrap();
    assert_eq!(several('a'), None);
    assert!(is_free("opt_a") && is_free("c"));
}

#[lock(key = id + 1)]
fn any_display(id: u64) -> bool {
    is_free(&(id + 1).to_string())
}

#[test]
fn a1_key_takes_any_expression_that_is_display() {
    assert!(!any_display(99_123_411));
}
