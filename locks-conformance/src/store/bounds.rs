//! C14: how long a hold lasts at least and at most.

use std::time::Duration;

use locks_core::{Claimed, EntryState, LeaseClaim, LeaseEnd, Reserve};

use super::stores::{Stores, ending, exclusive, placed, with};

fn at_least(least: Duration) -> LeaseClaim {
    with(exclusive("k"), |claim| claim.hold_at_least = Some(least))
}

/// Released early it stays reserved, for its time and no longer.
pub(super) fn c14_a_release_keeps_the_reservation(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (least, since) = (stores.unit() * 4, stores.now());
    let claim = at_least(least);
    let token = stores.ours.granted(&claim);
    assert!(stores.ours.release(&claim), "it was held");
    let refusal = match stores.theirs.claim(&exclusive("k")) {
        locks_core::Claimed::Refused(refusal) => refusal,
        other => return assert!(stores.now() - since >= least, "{other:?} although reserved"),
    };
    let [entry] = refusal.in_the_way.as_slice() else { panic!("{refusal:?}") };
    assert_eq!((entry.state, entry.token), (EntryState::Reserved, token), "{entry:?}");
    assert!(entry.ends_in <= least, "{entry:?}");
    stores.ours.gone(&claim);
    stores.due(&stores.theirs, &exclusive("k"), since, least);
}

pub(super) fn c14_a_release_without_it_keeps_none(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let claim = at_least(stores.unit() * 1000);
    stores.ours.granted(&claim);
    assert!(stores.ours.end(&ending(&claim, LeaseEnd::Release { reserve: false })));
    stores.theirs.passes("k");
    // Nor what was reserved before.
    let claim = at_least(stores.unit() * 1000);
    stores.ours.granted(&claim);
    stores.ours.release(&claim);
    stores.theirs.refused(&exclusive("k"));
    stores.ours.end(&ending(&claim, LeaseEnd::Release { reserve: false }));
    stores.theirs.passes("k");
}

/// The holder may have died: the key stays reserved all the same.
pub(super) fn c14_a_reservation_outlives_a_lease_that_runs_out(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (lease, since) = (stores.fixture().lease(), stores.now());
    let claim = with(at_least(lease * 2), |claim| claim.lease = lease);
    stores.ours.granted(&claim);
    stores.due(&stores.theirs, &exclusive("k"), since, lease * 2);
    stores.ours.gone(&claim);
}

/// Another acquisition of the same client is another's.
pub(super) fn c14_a_reservation_binds_whoever_made_it(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let claim = at_least(stores.unit() * 1000);
    stores.ours.granted(&claim);
    stores.ours.release(&claim);
    stores.ours.refused(&exclusive("k"));
    stores.theirs.refused(&exclusive("k"));
}

pub(super) fn c14_a_reservation_can_be_removed(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let claim = at_least(stores.unit() * 1000);
    stores.ours.granted(&claim);
    stores.ours.release(&claim);
    assert!(stores.theirs.remove(&claim), "it was reserved");
    assert!(!stores.theirs.remove(&claim), "it ended a second time");
    stores.theirs.passes("k");
}

fn once_per(period: Duration) -> LeaseClaim {
    with(at_least(period), |claim| claim.reserve = Reserve::IfDone)
}

/// Neither one whose lease runs out nor one that is released without: the next one may try.
pub(super) fn c14_what_was_not_done_leaves_no_reservation(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (lease, since) = (stores.fixture().lease(), stores.now());
    let claim = with(once_per(lease * 1000), |claim| claim.lease = lease);
    stores.ours.granted(&claim);
    let next = once_per(stores.unit() * 1000);
    stores.due(&stores.theirs, &next, since, lease);
    stores.ours.gone(&claim);
    assert!(stores.theirs.end(&ending(&next, LeaseEnd::Release { reserve: false })));
    stores.ours.passes("k");
}

pub(super) fn c14_what_was_done_stays_reserved(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (period, since) = (stores.unit() * 4, stores.now());
    let claim = once_per(period);
    stores.ours.granted(&claim);
    assert!(stores.ours.release(&claim), "it was held");
    if let Claimed::Granted(_) = stores.theirs.claim(&exclusive("k")) {
        return assert!(stores.now() - since >= period, "it was granted although reserved");
    }
    stores.due(&stores.theirs, &exclusive("k"), since, period);
}

/// The same after a reservation that is over, a queued claim, or other keys.
pub(super) fn c14_what_is_done_again_stays_reserved(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (period, since) = (stores.unit() * 4, stores.now());
    let claim = once_per(period);
    stores.ours.granted(&claim);
    assert!(stores.ours.release(&claim), "it was held");
    let again = once_per(stores.unit() * 1000);
    stores.due(&stores.theirs, &again, since, period);
    assert!(stores.theirs.release(&again), "it was held");
    stores.ours.refused(&exclusive("k"));
    if stores.queues() {
        let holder = exclusive("waited for");
        let waiter = once_per(stores.unit() * 1000);
        let waiter =
            with(placed(waiter, Duration::ZERO), |claim| claim.keys.clone_from(&holder.keys));
        stores.ours.granted(&holder);
        stores.theirs.refused(&waiter);
        stores.ours.release(&holder);
        stores.theirs.granted(&waiter);
        stores.theirs.release(&waiter);
        stores.ours.refused(&exclusive("waited for"));
    }
    if stores.can().several_keys {
        let set = once_per(stores.unit() * 1000);
        let set = with(set, |claim| claim.keys = vec!["one".into(), "two".into()]);
        stores.ours.granted(&set);
        stores.ours.release(&set);
        stores.theirs.refused(&exclusive("one"));
        stores.theirs.refused(&exclusive("two"));
    }
}

pub(super) fn c14_what_may_be_done_is_not_stolen_before(stores: &Stores) {
    if !stores.can().bounds || !stores.can().steal {
        return;
    }
    let (period, since) = (stores.unit() * 4, stores.now());
    let claim = once_per(period);
    stores.ours.granted(&claim);
    let thief = with(exclusive("k"), |claim| claim.steal_after = Some(Duration::ZERO));
    stores.due(&stores.theirs, &thief, since, period);
    stores.ours.gone(&claim);
}

pub(super) fn c14_no_renewal_carries_a_hold_beyond_its_most(stores: &Stores) {
    if !stores.can().bounds {
        return;
    }
    let (most, since) = (stores.unit() * 4, stores.now());
    let claim = with(exclusive("k"), |claim| claim.hold_at_most = Some(most));
    stores.ours.granted(&claim);
    stores.advance(most / 2);
    stores.ours.renew(&claim);
    let next = exclusive("k");
    stores.due(&stores.theirs, &next, since, most);
    stores.ours.gone(&claim);
    stores.theirs.keeps(&next);
}
