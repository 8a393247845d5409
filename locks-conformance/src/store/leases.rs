//! C8: how long a hold stands without being renewed.

use std::time::Duration;

use locks_core::{Claimed, LeaseClaim, LostCause, Renewed};

use super::stores::{Stores, exclusive, placed, renewal, with};

fn leased(stores: &Stores, key: &str) -> LeaseClaim {
    let lease = stores.fixture().lease();
    with(exclusive(key), |claim| claim.lease = lease)
}

pub(super) fn c8_a_lease_runs_out_and_not_before(stores: &Stores) {
    let (claim, since) = (leased(stores, "k"), stores.now());
    stores.ours.granted(&claim);
    let next = exclusive("k");
    stores.due(&stores.theirs, &next, since, claim.lease);
    stores.ours.gone(&claim);
    assert!(!stores.ours.release(&claim), "it has run out");
    stores.theirs.keeps(&next);
}

pub(super) fn c8_a_renewed_lease_begins_again(stores: &Stores) {
    let claim = leased(stores, "k");
    stores.ours.granted(&claim);
    let mut since = stores.now();
    for _ in 0..3 {
        let before = since;
        stores.advance(claim.lease / 2);
        since = stores.now();
        if stores.ours.renew(&claim) != Renewed::Kept {
            // On a machine that stood still it may be over.
            return assert!(stores.now() - before >= claim.lease, "it was renewed in time");
        }
    }
    stores.due(&stores.theirs, &exclusive("k"), since, claim.lease);
}

/// Also if nobody has claimed the key since: it is not revived.
pub(super) fn c8_what_has_run_out_is_not_there(stores: &Stores) {
    let claim = leased(stores, "k");
    stores.ours.granted(&claim);
    stores.advance(claim.lease + stores.late());
    stores.ours.gone(&claim);
    if let Some(entries) = stores.theirs.entries("k") {
        assert!(entries.is_empty(), "{entries:?}");
    }
    assert!(!stores.ours.release(&claim), "it has run out");
    stores.ours.gone(&claim);
    stores.theirs.passes("k");
}

pub(super) fn c8_a_renewal_after_the_end_revives_nothing(stores: &Stores) {
    let claim = exclusive("k");
    stores.ours.granted(&claim);
    stores.ours.release(&claim);
    stores.ours.gone(&claim);
    stores.theirs.passes("k");
    stores.ours.gone(&claim);
    let next = exclusive("k");
    stores.theirs.granted(&next);
    stores.ours.gone(&claim);
    stores.theirs.keeps(&next);
}

/// Renewing one hold does not extend another.
pub(super) fn c8_a_renewal_concerns_the_hold_it_names(stores: &Stores) {
    let (claim, since) = (leased(stores, "k"), stores.now());
    stores.ours.granted(&claim);
    stores.advance(claim.lease / 2);
    stores.theirs.gone(&leased(stores, "k"));
    let elsewhere = with(claim.clone(), |claim| claim.keys = vec!["l".to_owned()]);
    stores.ours.gone(&elsewhere);
    stores.due(&stores.theirs, &exclusive("k"), since, claim.lease);
}

pub(super) fn c8_a_batch_of_renewals_is_answered_in_order(stores: &Stores) {
    let held = ["a", "b", "c"].map(exclusive);
    for claim in &held {
        stores.ours.granted(claim);
    }
    let (theirs, never) = (exclusive("d"), exclusive("b"));
    stores.theirs.granted(&theirs);
    stores.ours.release(&held[1]);
    let asked = [&held[2], &never, &held[0], &held[1]].map(renewal);
    let answers = stores.ours.renew_all(&asked);
    let kept = Vec::from_iter(answers.iter().map(|answer| *answer == Renewed::Kept));
    assert_eq!(kept, [true, false, true, false], "{answers:?}");
    assert!(stores.ours.renew_all(&[]).is_empty(), "nothing was asked");
}

/// A later time would leave the key unused until then.
pub(super) fn c8_a_refusal_tells_when_the_lease_runs_out(stores: &Stores) {
    let (claim, since) = (leased(stores, "k"), stores.now());
    stores.ours.granted(&claim);
    let runs_out = stores.now() + claim.lease + stores.late();
    let next = exclusive("k");
    let next = if stores.queues() { placed(next, Duration::ZERO) } else { next };
    let asked = stores.now();
    let refusal = match stores.theirs.claim(&next) {
        Claimed::Refused(refusal) => refusal,
        other => {
            // On a machine that stood still it may be over.
            let passed = stores.now() - since;
            return assert!(passed >= claim.lease, "not refused after {passed:?}: {other:?}");
        }
    };
    let again = refusal.again_in.unwrap_or_default();
    assert!(asked + again <= runs_out, "`again_in` is {again:?}, the lease {:?}", claim.lease);
    for entry in &refusal.in_the_way {
        let ends = entry.ends_in;
        assert!(asked + ends <= runs_out, "`ends_in` is {ends:?}, the lease {:?}", claim.lease);
    }
}

/// A store that cannot say how it was says `Forgotten`.
pub(super) fn c8_a_lost_hold_tells_how_it_was_lost(stores: &Stores) {
    let evicted = exclusive("evicted");
    stores.ours.granted(&evicted);
    stores.theirs.remove(&evicted);
    stores.ours.lost(&evicted, LostCause::Evicted);
    if stores.can().steal {
        let stolen = exclusive("stolen");
        stores.ours.granted(&stolen);
        stores.advance(stores.late());
        let thief = with(exclusive("stolen"), |claim| claim.steal_after = Some(Duration::ZERO));
        stores.theirs.granted(&thief);
        stores.ours.lost(&stolen, LostCause::Stolen);
    }
    if stores.can().bounds {
        let most = stores.unit();
        let held_too_long = with(exclusive("most"), |claim| claim.hold_at_most = Some(most));
        stores.ours.granted(&held_too_long);
        stores.advance(most + stores.late());
        stores.ours.lost(&held_too_long, LostCause::HeldTooLong);
    }
    let expired = leased(stores, "expired");
    stores.ours.granted(&expired);
    stores.advance(expired.lease + stores.late());
    stores.ours.lost(&expired, LostCause::Expired);
}
