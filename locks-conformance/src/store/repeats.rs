//! C4 and C5: steps that are repeated, come late, or name another.

use std::time::Duration;

use locks_core::AcquisitionId;

use super::stores::{Stores, exclusive, shared, with};

/// An answer may have been lost: the same id is the same acquisition.
pub(super) fn c4_a_repeated_claim_is_granted_with_the_same_token(stores: &Stores) {
    let claim = exclusive("k");
    let token = stores.ours.granted(&claim);
    stores.theirs.refused(&exclusive("k"));
    for _ in 0..3 {
        assert_eq!(stores.ours.granted(&claim), token);
    }
    // Also by another client: the id says who it is.
    assert_eq!(stores.theirs.granted(&claim), token);
    stores.ours.keeps(&claim);
    stores.theirs.refused(&exclusive("k"));
    if stores.can().shared {
        let reader = shared("r");
        let token = stores.ours.granted(&reader);
        stores.theirs.granted(&shared("r"));
        assert_eq!(stores.ours.granted(&reader), token);
    }
}

/// Its own hold is not in its way.
pub(super) fn c4_a_repeated_claim_does_not_steal_from_itself(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let claim = with(exclusive("k"), |claim| claim.steal_after = Some(Duration::ZERO));
    let token = stores.ours.granted(&claim);
    stores.advance(stores.unit());
    assert_eq!(stores.ours.granted(&claim), token);
    stores.ours.keeps(&claim);
}

/// One end ends it, however often it was claimed.
pub(super) fn c4_a_repeated_claim_makes_no_second_hold(stores: &Stores) {
    let mut claims = vec![exclusive("k")];
    claims.extend(stores.can().shared.then(|| shared("s")));
    for claim in claims {
        stores.ours.granted(&claim);
        stores.ours.granted(&claim);
        if let Some(entries) = stores.theirs.entries(&claim.keys[0]) {
            assert_eq!(entries.len(), 1, "{entries:?}");
        }
        assert!(stores.ours.release(&claim));
        stores.theirs.passes(&claim.keys[0]);
    }
}

/// The second time there is nothing to end.
pub(super) fn c4_an_end_is_told_once(stores: &Stores) {
    let claim = exclusive("k");
    stores.ours.granted(&claim);
    assert!(stores.ours.release(&claim), "it was held");
    assert!(!stores.ours.release(&claim), "it ended a second time");
    assert!(!stores.theirs.remove(&claim), "it ended a second time");
    stores.theirs.passes("k");
}

/// What has another id is another's, whatever else is the same.
pub(super) fn c4_an_end_concerns_the_hold_it_names(stores: &Stores) {
    let claim = exclusive("k");
    let token = stores.ours.granted(&claim);
    let mut others =
        vec![exclusive("k"), with(claim.clone(), |claim| claim.keys = vec!["l".into()])];
    // One whose number is the token of the other.
    others.push(with(claim.clone(), |claim| claim.id = AcquisitionId::new(token.get().into())));
    for other in &others {
        assert!(!stores.theirs.release(other), "it has nothing");
        assert!(!stores.theirs.remove(other), "it has nothing");
        stores.ours.keeps(&claim);
    }
    stores.theirs.refused(&exclusive("k"));
    if stores.can().shared {
        let (one, two) = (shared("r"), shared("r"));
        stores.ours.granted(&one);
        stores.theirs.granted(&two);
        assert!(stores.ours.release(&one));
        stores.theirs.keeps(&two);
        stores.ours.refused(&exclusive("r"));
    }
}

pub(super) fn c4_a_late_end_touches_no_successor(stores: &Stores) {
    let (first, second) = (exclusive("k"), exclusive("k"));
    stores.ours.granted(&first);
    stores.ours.release(&first);
    stores.theirs.granted(&second);
    assert!(!stores.ours.release(&first), "it ended a second time");
    assert!(!stores.ours.remove(&first), "it ended a second time");
    stores.theirs.keeps(&second);
    stores.ours.refused(&exclusive("k"));
}

pub(super) fn c4_what_was_never_claimed_is_not_there(stores: &Stores) {
    let claim = exclusive("k");
    stores.ours.gone(&claim);
    assert!(!stores.ours.release(&claim), "there is nothing to end");
    assert!(!stores.ours.remove(&claim), "there is nothing to end");
    stores.theirs.passes("k");
}

/// Given up before anybody knew of it: no hold and no reservation.
pub(super) fn c5_a_removed_acquisition_leaves_nothing(stores: &Stores) {
    let least = stores.can().bounds.then(|| stores.unit() * 1000);
    let claim = with(exclusive("k"), |claim| claim.hold_at_least = least);
    stores.ours.granted(&claim);
    assert!(stores.ours.remove(&claim), "it was held");
    stores.ours.gone(&claim);
    stores.theirs.passes("k");
    if let Some(entries) = stores.ours.entries("k") {
        assert!(entries.is_empty(), "{entries:?}");
    }
}
