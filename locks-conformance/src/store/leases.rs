//! C8: how long a hold stands without being renewed.

use locks_core::{LeaseClaim, Renewed};

use super::stores::{Stores, exclusive, renewal, with};

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
