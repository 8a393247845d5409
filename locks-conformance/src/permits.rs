//! C16: several holders by number.

use super::exclusion::overlaps;
use super::subject::Subject;
use locks_core::{Caller, ErrorKind, Keys, Mode, Options, OwnedGuard, Request};

/// Whether the backend has permits; if not, asserts that it says so.
fn permits(subject: &Subject) -> bool {
    let can = subject.can().permits;
    if !can {
        subject.assert_unsupported("permits", subject.lock("k").permits(2));
    }
    can
}

/// Whether one hold can have several; if not, asserts that the backend says so.
pub(super) fn several(subject: &Subject) -> bool {
    let can = subject.can().several_permits;
    if permits(subject) && !can {
        subject.assert_unsupported("take", subject.lock("k").permits(2).take(2));
    }
    can
}

/// All `N` of them, by turns of either side.
fn take_all<const N: usize>(subject: &Subject) -> [OwnedGuard; N] {
    let take = |turn| subject.take(subject.turns(turn, "k").permits(N as u32).wait(false));
    std::array::from_fn(take)
}

/// As many as there are, and not one more.
pub(super) fn c16_as_many_as_there_are_and_no_more(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    let mut held = Vec::from(take_all::<3>(subject));
    subject.contended(subject.theirs("k").permits(3));
    let mut waiting = [1, 2].map(|turn| subject.queue(subject.turns(turn, "k").permits(3)));
    waiting[1].assert_waits(subject);
    drop(held.pop());
    let [first, second] = waiting;
    let first = match subject.orders() {
        true => {
            let mut second = second;
            let guard = first.granted(subject);
            second.assert_waits(subject);
            drop(held.pop());
            (guard, second.granted(subject))
        }
        false => {
            drop(held.pop());
            (first.granted(subject), second.granted(subject))
        }
    };
    subject.contended(subject.theirs("k").permits(3));
    drop((held, first));
    subject.assert_free("k");
}

/// Threads: never more than there are.
pub(super) fn c16_threads_never_exceed_the_number(subject: &Subject) {
    if permits(subject) {
        overlaps(subject, "a thread", 4, 50, |lock| lock.permits(2), 2);
    }
}

/// A key is a lock or a set of permits while it is used, and may be the other when it is not.
pub(super) fn c16_locks_and_permits_do_not_mix(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    let permit = subject.take(subject.lock("k").permits(2));
    for wait in [true, false] {
        let refused = |lock: locks_core::LockBuilder<'static>| {
            let error = subject.refused(lock.wait(wait), ErrorKind::PermitsMismatch);
            assert!(error.to_string().contains("`k`"), "{error}");
        };
        refused(subject.theirs("k"));
        if subject.can().shared {
            refused(subject.theirs("k").shared());
        }
    }
    permit.check().expect("it is held");
    drop(permit);
    let lock = subject.take(subject.lock("k"));
    subject.refused(subject.theirs("k").permits(2), ErrorKind::PermitsMismatch);
    drop(lock);
    subject.meet();
    drop(take_all::<4>(subject));
    subject.assert_free("k");
}

/// A request that waits uses the key: a permit is no lock for those behind it either.
pub(super) fn c16_locks_and_waiting_permits_do_not_mix(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    let held = take_all::<2>(subject);
    let waiting = subject.queue(subject.lock("k").permits(2));
    subject.refused(subject.theirs("k"), ErrorKind::PermitsMismatch);
    drop(held);
    drop(waiting.granted(subject));
    subject.assert_free("k");
}

/// The number is each request's own: what others have asked for does not matter to it.
pub(super) fn c16_each_request_obeys_its_own_number(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    let take = |of: u32| {
        let lock = subject.turns(of as usize, "k").permits(of).wait(false);
        subject.meet();
        subject.take(lock)
    };
    let mut held = Vec::from_iter([1, 2, 3, 4, 5].map(take));
    for of in [1, 3, 5] {
        subject.contended(subject.theirs("k").permits(of));
    }
    drop(held.remove(0));
    subject.contended(subject.theirs("k").permits(4));
    held.push(take(5));
    held.push(take(u32::MAX));
    drop(held.drain(..5));
    subject.contended(subject.theirs("k").permits(1));
    drop(take(2));
    drop(held);
    subject.assert_free("k");
}

/// From two to four and back again, nothing is refused, and waiters are served in their order.
pub(super) fn c16_a_fleet_is_rolled_to_another_number(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    // Either side has a number of its own.
    let queue = |of| subject.queue(subject.turns(of as usize / 2, "k").permits(of));
    let mut held = Vec::from(take_all::<2>(subject));
    let (two, mut four, mut another) = (queue(2), queue(4), queue(4));
    subject.outwait();
    // There is room for them, but not ahead of the first.
    subject.contended(subject.theirs("k").permits(4));
    four.assert_waits(subject);
    another.assert_waits(subject);
    drop(held.pop());
    held.extend([two, four, another].map(|waiting| waiting.granted(subject)));
    subject.contended(subject.theirs("k").permits(4));
    let (mut two, mut four) = (queue(2), queue(4));
    for _ in 0..2 {
        drop(held.pop());
        two.assert_waits(subject);
        four.assert_waits(subject);
    }
    drop(held.pop());
    held.extend([two, four].map(|waiting| waiting.granted(subject)));
    drop(held);
    subject.assert_free("k");
}

/// No permit at all, more than there are, and a shared permit, are refused by every backend.
pub(super) fn c16_nonsense_is_refused(subject: &Subject) {
    let nonsense = [
        subject.lock("k").permits(0),
        subject.lock("k").shared().permits(2),
        subject.lock("k").permits(2).shared(),
        subject.lock("k").permits(2).take(0),
        subject.lock("k").take(3).permits(2),
        subject.lock("k").take(1),
        subject.lock("k").take(2).shared(),
    ];
    for lock in nonsense {
        subject.refused(lock, ErrorKind::PermitsMismatch);
    }
    // Nor does the backend count on others to have refused it.
    for (take, of) in [(1, 0), (0, 1), (2, 1)] {
        let mut options = Options::default();
        options.mode = Mode::Permit { take, of };
        let request = Request::new(Keys::one("k"), options, Caller::anonymous());
        let asked = subject.drive("the request", subject.backend().acquire(request));
        let error = asked.expect_err("there is no permit to be had");
        assert_eq!(error.kind(), ErrorKind::PermitsMismatch, "{error:?}");
    }
    subject.assert_free("k");
}

/// One permit is one holder; very many are very many.
pub(super) fn c16_one_and_very_many(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    let only = take_all::<1>(subject);
    subject.contended(subject.theirs("k").permits(1));
    drop(only);
    subject.meet();
    let many = || subject.lock("k").permits(u32::MAX).wait(false);
    let held = Vec::from_iter((0..100).map(|_| subject.take(many())));
    subject.contended(subject.theirs("k").permits(100));
    drop(held);
    subject.assert_free("k");
}

/// A permit that comes free goes to who has waited longest.
pub(super) fn c16_permits_are_handed_on_in_order(subject: &Subject) {
    if !permits(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    let mut held = Vec::from(take_all::<2>(subject));
    let queue = |turn| subject.queue(subject.turns(turn, "k").permits(2));
    let mut waiting = Vec::from_iter((0..4).map(queue));
    subject.outwait();
    while !waiting.is_empty() {
        let first = waiting.remove(0);
        drop(held.remove(0));
        first.assert_woken(subject);
        subject.contended(subject.theirs("k").permits(2));
        for later in waiting.iter_mut().rev() {
            later.assert_waits(subject);
        }
        held.push(first.granted(subject));
    }
}

/// One hold has as many permits as it asked for, and gets none of them before it gets all.
pub(super) fn c16_several_are_acquired_at_once_or_not_at_all(subject: &Subject) {
    if !several(subject) {
        return;
    }
    let large = subject.take(subject.lock("k").permits(5).take(3));
    subject.contended(subject.theirs("k").permits(5).take(3));
    let small = subject.take(subject.theirs("k").permits(5).take(2).wait(false));
    subject.contended(subject.lock("k").permits(5));
    // By its own number there is room for one.
    drop(subject.take(subject.theirs("k").permits(6).wait(false)));
    subject.contended(subject.theirs("k").permits(6).take(2));
    let mut waiting = subject.queue(subject.theirs("k").permits(5).take(3));
    drop(small);
    waiting.assert_waits(subject);
    // One that waits for three keeps none of the two that are free.
    let free = subject.lock("k").permits(5).take(2).wait(false);
    drop(subject.take(if subject.orders() { free.fair(false) } else { free }));
    waiting.assert_waits(subject);
    drop(large);
    let three = waiting.granted(subject);
    drop(subject.take(subject.lock("k").permits(5).take(2)));
    drop(three);
    subject.meet();
    drop(take_all::<5>(subject));
    drop(subject.take(subject.lock("k").permits(u32::MAX).take(u32::MAX)));
    subject.assert_free("k");
}

/// While it waits for several, those behind it that want fewer wait as well.
pub(super) fn c16_a_large_request_is_not_starved_by_small_ones(subject: &Subject) {
    if !several(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    let mut held = Vec::from(take_all::<4>(subject));
    let mut large = subject.queue(subject.turns(0, "k").permits(4).take(3));
    let mut small = subject.queue(subject.turns(1, "k").permits(4));
    subject.outwait();
    for _ in 0..2 {
        drop(held.pop());
        subject.contended(subject.theirs("k").permits(4));
        small.assert_waits(subject);
        large.assert_waits(subject);
    }
    drop(held.pop());
    let large = large.granted(subject);
    small.assert_waits(subject);
    drop(large);
    drop((held, small.granted(subject)));
    subject.assert_free("k");
}

/// What is given back at once goes to as many as it is enough for.
pub(super) fn c16_a_release_of_several_serves_all_that_fit(subject: &Subject) {
    if !several(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    let all = subject.take(subject.lock("k").permits(4).take(4));
    let queue = |turn, take| subject.queue(subject.turns(turn, "k").permits(4).take(take));
    let (first, second, mut third, mut fourth) =
        (queue(0, 2), queue(1, 1), queue(2, 2), queue(3, 1));
    subject.outwait();
    drop(all);
    let (first, second) = (first.granted(subject), second.granted(subject));
    // There is one left, and the next wants two.
    third.assert_waits(subject);
    fourth.assert_waits(subject);
    drop(second);
    let third = third.granted(subject);
    fourth.assert_waits(subject);
    drop((first, third));
    drop(fourth.granted(subject));
    subject.assert_free("k");
}
