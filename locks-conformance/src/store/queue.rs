//! C3: the queue of a store whose order is that of all clients.

use std::time::Duration;

use locks_core::{EntryState, LeaseEnd, LeasePlace};

use super::stores::{Stores, ending, exclusive, placed, with};

/// How long ago a request may say that it began to wait.
const AGO: Duration = Duration::from_secs(60);

/// Longer than a store keeps a key for one that was called: 250 ms.
const GRACE: Duration = Duration::from_millis(400);

/// Whoever has waited for longer, whoever asked first and whoever asks now.
pub(super) fn c3_the_older_place_goes_first(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, young, old) = (exclusive("k"), exclusive("k"), exclusive("k"));
    stores.ours.granted(&holder);
    let (young, old) = (placed(young, AGO / 2), placed(old, AGO));
    for (client, claim) in [(&stores.ours, &young), (&stores.theirs, &old)] {
        assert!(client.refused(claim).placed, "it waits");
    }
    stores.ours.release(&holder);
    stores.ours.refused(&young);
    stores.ours.refused(&with(exclusive("k"), |claim| {
        claim.place = Some(LeasePlace::new(Duration::ZERO, Duration::ZERO));
    }));
    stores.theirs.granted(&old);
    stores.ours.refused(&young);
    stores.theirs.release(&old);
    stores.ours.granted(&young);
}

/// It respects the queue, and is in nobody's way afterwards.
pub(super) fn c3_a_claim_that_does_not_wait_takes_no_place(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let holder = exclusive("k");
    stores.ours.granted(&holder);
    let looks = with(exclusive("k"), |claim| {
        claim.place = Some(LeasePlace::new(AGO, Duration::ZERO));
    });
    assert!(!stores.theirs.refused(&looks).placed, "it does not wait");
    stores.ours.release(&holder);
    stores.ours.granted(&placed(exclusive("k"), Duration::ZERO));
}

pub(super) fn c3_an_unfair_claim_ignores_the_queue(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, waiter) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&holder);
    stores.theirs.refused(&waiter);
    stores.ours.release(&holder);
    let unfair = exclusive("k");
    stores.ours.granted(&unfair);
    stores.ours.release(&unfair);
    stores.theirs.granted(&waiter);
}

/// A younger one of another client does not come between.
pub(super) fn c3_a_waiter_of_the_releasing_client_keeps_its_turn(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, young) = (exclusive("k"), placed(exclusive("k"), AGO / 2));
    stores.ours.granted(&holder);
    stores.theirs.refused(&young);
    let since = stores.now();
    let mut release = ending(&holder, LeaseEnd::Release { reserve: true });
    release.next = Some(AGO);
    assert!(stores.ours.end(&release));
    if let locks_core::Claimed::Granted(_) = stores.theirs.claim(&young) {
        let passed = stores.now() - since;
        return assert!(passed >= GRACE / 2, "it came between within {passed:?}");
    }
    let next = placed(exclusive("k"), AGO);
    if let locks_core::Claimed::Granted(_) = stores.ours.claim(&next) {
        stores.ours.release(&next);
    }
    stores.advance(GRACE + stores.late());
    stores.theirs.granted(&young);
}

pub(super) fn c3_an_older_place_goes_before_the_releasing_client(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, old) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&holder);
    stores.theirs.refused(&old);
    let since = stores.now();
    let mut release = ending(&holder, LeaseEnd::Release { reserve: true });
    release.next = Some(AGO / 2);
    assert!(stores.ours.end(&release));
    let next = placed(exclusive("k"), AGO / 2);
    if let locks_core::Claimed::Granted(_) = stores.ours.claim(&next) {
        let passed = stores.now() - since;
        return assert!(passed >= GRACE / 2, "it overtook an older one within {passed:?}");
    }
    stores.theirs.granted(&old);
}

/// A place that is not asked for again does not stand for ever.
pub(super) fn c3_a_place_ends_with_its_time(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, keep) = (exclusive("k"), stores.unit());
    stores.ours.granted(&holder);
    let waiter = with(exclusive("k"), |claim| claim.place = Some(LeasePlace::new(AGO, keep)));
    stores.theirs.refused(&waiter);
    stores.advance(keep + stores.late());
    stores.ours.release(&holder);
    stores.ours.granted(&placed(exclusive("k"), Duration::ZERO));
}

pub(super) fn c3_a_withdrawn_place_is_in_nobodys_way(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, waiter) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&holder);
    stores.theirs.refused(&waiter);
    stores.theirs.remove(&waiter);
    if let Some(entries) = stores.ours.entries("k") {
        assert_eq!(entries.len(), 1, "{entries:?}");
    }
    stores.ours.release(&holder);
    stores.ours.granted(&placed(exclusive("k"), Duration::ZERO));
}

/// A client that has died holds nobody up.
pub(super) fn c3_a_place_that_is_called_and_absent_is_lost(stores: &Stores) {
    if !stores.queues() {
        return;
    }
    let (holder, dead) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&holder);
    stores.theirs.refused(&dead);
    let waiter = placed(exclusive("k"), AGO / 2);
    stores.ours.refused(&waiter);
    stores.ours.release(&holder);
    stores.advance(GRACE + stores.late());
    // The claim that finds it absent may be the one that calls.
    if let locks_core::Claimed::Refused(_) = stores.ours.claim(&waiter) {
        stores.advance(GRACE + stores.late());
        stores.ours.granted(&waiter);
    }
}

pub(super) fn c6_a_due_steal_does_not_queue(stores: &Stores) {
    if !stores.queues() || !stores.can().steal {
        return;
    }
    let (victim, waiter) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&victim);
    stores.theirs.refused(&waiter);
    stores.advance(stores.unit());
    let thief = with(placed(exclusive("k"), Duration::ZERO), |claim| {
        claim.steal_after = Some(Duration::ZERO);
    });
    stores.ours.granted(&thief);
    stores.ours.gone(&victim);
    stores.ours.release(&thief);
    stores.theirs.granted(&waiter);
}

pub(super) fn c12_places_are_listed(stores: &Stores) {
    if !stores.queues() || !stores.can().listing {
        return;
    }
    let (holder, waiter) = (exclusive("k"), placed(exclusive("k"), AGO));
    stores.ours.granted(&holder);
    stores.theirs.refused(&waiter);
    let entries = stores.ours.entries("k").expect("it lists");
    let waiting = entries.iter().find(|entry| entry.state == EntryState::Waiting);
    let waiting = waiting.unwrap_or_else(|| panic!("the waiter is not listed: {entries:?}"));
    assert_eq!(waiting.id, waiter.id, "{entries:?}");
    if stores.can().ages {
        assert!(waiting.age.is_some_and(|waited| waited >= AGO), "{waiting:?}");
    }
}
