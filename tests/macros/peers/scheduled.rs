//! Jobs, permits and leaders, as the trackers of ShedLock (SL), Redisson (RD), DistributedLock
//! (DL), Kubernetes (KU) and portalocker (PO) tell of them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use locks::testing::TestBackend;
use locks::{ErrorKind, LockError, LostCause, lock};

const SECOND: Duration = Duration::from_secs(1);

/// SL 1502: a task that takes longer than it was reserved for was run beside itself.
#[test]
fn c14_a_job_that_outlives_its_reservation_is_still_alone() {
    static LOCKS: LazyLock<TestBackend> = LazyLock::new(TestBackend::new);

    #[lock("job", wait = false, hold_at_least = "45s", backend = LOCKS.backend())]
    fn job(run: impl FnOnce()) -> Option<()> {
        run();
        Some(())
    }

    let ran = job(|| {
        LOCKS.advance(300 * SECOND);
        assert_eq!(job(|| ()), None, "it has not ended");
    });
    assert_eq!((ran, job(|| ())), (Some(()), Some(())), "its reservation was over before it");
}

/// SL 2031: two that are started every period, one between the starts of the other.
#[test]
fn c14_of_two_who_start_every_period_one_does_it_each_time() {
    let locks = TestBackend::new();
    let counts = [AtomicU32::new(0), AtomicU32::new(0)];
    for _ in 0..10 {
        for count in &counts {
            let asked = locks.backend().named("job").hold_at_least(SECOND).wait(false).acquire();
            count.fetch_add(u32::from(asked.is_ok()), Ordering::Relaxed);
            locks.advance(SECOND / 2);
        }
    }
    assert_eq!(counts.map(AtomicU32::into_inner), [10, 0]);
}

/// What is begun a moment early is skipped: `recipes` says so, and to choose a shorter period.
#[test]
fn c14_a_period_as_long_as_the_interval_skips_what_is_a_moment_early() {
    let locks = TestBackend::new();
    let done = |period: u32| {
        let asked = locks.backend().named("job").once_per(period * 3600 * SECOND).wait(false);
        let guard = asked.acquire();
        guard.iter().for_each(locks::Guard::mark_done);
        guard.is_ok()
    };
    let day = 24 * 3600 * SECOND;
    assert!(done(24));
    locks.advance(day - SECOND);
    assert!(!done(24));
    locks.advance(day);
    assert!(done(23));
    locks.advance(day - SECOND);
    assert!(done(23));
}

/// SL 1461: a reservation that is longer than the longest hold kept the task from running at all.
#[test]
fn c14_a_reservation_may_be_longer_than_the_longest_hold() {
    static LOCKS: LazyLock<TestBackend> = LazyLock::new(TestBackend::new);

    #[lock("job", wait = false, hold_at_least = "10m", hold_at_most = "5m", on_lost = "error", backend = LOCKS.backend())]
    fn job(hangs: bool) -> Result<(), LockError> {
        LOCKS.advance(if hangs { 301 * SECOND } else { SECOND });
        Ok(())
    }

    job(false).expect("it runs");
    assert!(job(false).unwrap_err().is_contended());
    LOCKS.advance(600 * SECOND);
    let hung = job(true).unwrap_err();
    assert_eq!(hung.kind(), ErrorKind::Lost { cause: LostCause::HeldTooLong }, "{hung}");
    assert!(job(false).unwrap_err().is_contended(), "reserved all the same");
    LOCKS.advance(300 * SECOND);
    job(false).expect("the ten minutes are over");
}

/// SL 190, 1556, 1588: that a task was skipped was not to be seen. PO 106: nor who had the lock.
#[test]
fn c12_what_is_skipped_says_so_and_who_has_it() {
    static LOCKS: LazyLock<TestBackend> = LazyLock::new(TestBackend::new);

    #[lock("job", wait = false, backend = LOCKS.backend())]
    fn job() -> Result<(), LockError> {
        Ok(())
    }

    let guard = LOCKS.backend().named("job").label("node-a").acquire().unwrap();
    let skipped = job().unwrap_err();
    assert_eq!(skipped.kind(), ErrorKind::Contended);
    assert!(skipped.to_string().contains("for `node-a`"), "{skipped}");
    assert!(skipped.to_string().contains("scheduled.rs"), "{skipped}");
    drop(guard);
    job().unwrap();
}

/// SL 344, 374: a lock could be extended once, or not from within. SL 1493: nor where locks nest.
#[test]
fn c6_what_runs_under_two_locks_extends_either_of_them_again_and_again() {
    static LOCKS: LazyLock<TestBackend> = LazyLock::new(TestBackend::new);

    #[lock("outer", steal_after = "10s", backend = LOCKS.backend())]
    fn outer() -> Result<(), LockError> {
        inner()
    }

    #[lock("inner", backend = LOCKS.backend())]
    fn inner() -> Result<(), LockError> {
        for _ in 0..5 {
            LOCKS.advance(8 * SECOND);
            let guard = LOCKS.backend().current_guard("outer")?.expect("it is held around");
            guard.refresh()?;
            LOCKS.backend().current_guard("inner")?.expect("and so is this").refresh()?;
            let thief = LOCKS.backend().named("outer").owner(7).wait(false);
            assert!(thief.steal_after(10 * SECOND).acquire().unwrap_err().is_contended());
        }
        Ok(())
    }

    outer().unwrap();
    assert!(LOCKS.backend().current_guard("outer").unwrap().is_none());
}

/// RD 603, 4678, 4679: the number of permits could not be lowered, could be set while all were
/// taken, and could not be read. DL 78: two numbers for one semaphore had no meaning.
#[test]
fn c16_each_request_obeys_its_own_number_of_permits() {
    let locks = TestBackend::new();
    let job = |of| locks.backend().named("jobs").permits(of).wait(false).acquire();
    let mut held = [job(3), job(3), job(3), job(5), job(5)].map(Result::unwrap).into_iter();
    assert!(job(5).unwrap_err().is_contended());
    assert_eq!(locks.backend().list().unwrap()[0].holders.len(), 5, "who holds is listed");
    for left in [4, 3] {
        drop(held.next());
        assert!(job(3).unwrap_err().is_contended(), "lowered to three: {left} are held");
    }
    drop(held.next());
    assert!(job(3).is_ok());
}

/// KU 44887: a leader that could not renew tried on, and led, instead of giving up.
#[test]
fn c8_a_leader_that_has_lost_gives_up_at_once_and_is_another_one_when_it_leads_again() {
    let locks = TestBackend::new();
    let election = locks::elect("scheduler").on(locks.backend());
    let first = election.lead().unwrap();
    assert_eq!(locks.lose("scheduler", LostCause::Expired), 1);
    for _ in 0..2 {
        let lost = first.check().unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Lost { cause: LostCause::Expired }, "{lost}");
    }
    let second = election.lead().unwrap();
    assert!(second.token() > first.token());
    assert!(first.check().is_err(), "the first does not lead by the second");
    drop(first);
    second.check().expect("nor does it resign for it");
}
