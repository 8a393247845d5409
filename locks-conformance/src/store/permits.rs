//! C16: several holders by number.

use super::stores::{Stores, exclusive, permit, shared, with};

pub(super) fn c16_each_claim_obeys_its_own_number(stores: &Stores) {
    if !stores.can().permits {
        return;
    }
    // A fleet that goes from three to five: nothing is refused for the number's sake.
    let three = [0, 1, 2].map(|turn| (stores.turns(turn), permit("k", 3)));
    for (client, claim) in &three {
        client.granted(claim);
    }
    stores.ours.refused(&permit("k", 3));
    stores.theirs.refused(&permit("k", 1));
    let five = [0, 1].map(|turn| (stores.turns(turn), permit("k", 5)));
    for (client, claim) in &five {
        client.granted(claim);
    }
    stores.theirs.refused(&permit("k", 5));
    three[0].0.release(&three[0].1);
    stores.theirs.refused(&permit("k", 3));
    stores.theirs.granted(&permit("k", 5));
}

pub(super) fn c16_permits_are_counted_across_clients(stores: &Stores) {
    if !stores.can().permits {
        return;
    }
    let (one, two) = (permit("k", 2), permit("k", 2));
    stores.ours.granted(&one);
    stores.theirs.granted(&two);
    for client in [&stores.ours, &stores.theirs] {
        let refusal = client.refused(&permit("k", 2));
        assert_eq!(refusal.in_the_way.len(), 2, "{refusal:?}");
    }
    stores.theirs.release(&two);
    stores.ours.granted(&permit("k", 2));
    stores.theirs.refused(&permit("k", 2));
}

pub(super) fn c16_a_reserved_permit_counts(stores: &Stores) {
    if !stores.can().permits || !stores.can().bounds {
        return;
    }
    let least = stores.unit() * 1000;
    let reserved = with(permit("k", 2), |claim| claim.hold_at_least = Some(least));
    stores.ours.granted(&reserved);
    stores.ours.release(&reserved);
    stores.theirs.granted(&permit("k", 2));
    stores.ours.refused(&permit("k", 2));
    stores.ours.granted(&permit("k", 3));
}

pub(super) fn c16_locks_and_permits_do_not_mix(stores: &Stores) {
    if !stores.can().permits {
        return;
    }
    let held = permit("k", 2);
    stores.ours.granted(&held);
    stores.theirs.mismatch(&exclusive("k"));
    if stores.can().shared {
        stores.theirs.mismatch(&shared("k"));
    }
    stores.ours.release(&held);
    let lock = exclusive("k");
    stores.theirs.granted(&lock);
    stores.ours.mismatch(&permit("k", 2));
    stores.theirs.release(&lock);
    stores.ours.granted(&permit("k", 2));
}
