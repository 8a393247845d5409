//! C1: what is granted beside what, to two clients.

use std::sync::{Arc, Barrier};

use locks_core::{Claimed, EntryState};

use super::stores::{Stores, exclusive, shared, with};
use crate::running::Running;

pub(super) fn c1_claims_of_two_clients_exclude_each_other(stores: &Stores) {
    for (one, other) in [(&stores.ours, &stores.theirs), (&stores.theirs, &stores.ours)] {
        let claim = exclusive("k");
        one.granted(&claim);
        other.refused(&exclusive("k"));
        one.refused(&exclusive("k"));
        other.passes("another");
        one.release(&claim);
        other.passes("k");
    }
}

pub(super) fn c1_a_shared_claim_is_refused_beside_an_exclusive_hold(stores: &Stores) {
    if !stores.can().shared {
        return;
    }
    let writer = exclusive("k");
    stores.ours.granted(&writer);
    stores.theirs.refused(&shared("k"));
    stores.ours.refused(&shared("k"));
    stores.ours.release(&writer);
    stores.theirs.granted(&shared("k"));
}

/// Until the last of them has ended, whoever has it.
pub(super) fn c1_an_exclusive_claim_is_refused_beside_shared_holds(stores: &Stores) {
    if !stores.can().shared {
        return;
    }
    let readers = [0, 1, 2].map(|turn| (stores.turns(turn), shared("k")));
    for (client, claim) in &readers {
        client.granted(claim);
    }
    for (client, claim) in &readers {
        stores.ours.refused(&exclusive("k"));
        stores.theirs.refused(&exclusive("k"));
        client.release(claim);
    }
    stores.theirs.passes("k");
}

pub(super) fn c1_shared_claims_are_granted_together(stores: &Stores) {
    if !stores.can().shared {
        return;
    }
    let readers = [0, 1, 2, 3].map(|turn| (stores.turns(turn), shared("k")));
    for (client, claim) in &readers {
        client.granted(claim);
    }
    for (client, claim) in &readers {
        client.keeps(claim);
    }
}

/// Threads of both clients claim at once: one has it at a time, and somebody does.
pub(super) fn c1_of_racing_claims_one_is_granted(stores: &Stores) {
    let start = Arc::new(Barrier::new(4));
    let threads = [0, 1, 2, 3].map(|number| {
        let (stores, start) = (stores.clone(), start.clone());
        Running::start("a claimant", stores.fixture().patience() * 4, move || {
            let mut granted = 0;
            for round in 0..20 {
                start.wait();
                let claim = exclusive(&format!("k{round}"));
                let outcome = stores.turns(number).claim(&claim);
                granted += u32::from(matches!(outcome, Claimed::Granted(_)));
            }
            granted
        })
    });
    let granted = threads.into_iter().map(|thread| thread.finish()).sum::<u32>();
    assert_eq!(granted, 20, "each of 20 keys is granted once");
}

pub(super) fn c1_keys_are_compared_byte_for_byte(stores: &Stores) {
    for (turn, key) in crate::keys::ALIKE.into_iter().enumerate() {
        stores.turns(turn).granted(&exclusive(key));
    }
    for (turn, key) in crate::keys::ALIKE.into_iter().enumerate() {
        stores.turns(turn + 1).refused(&exclusive(key));
    }
}

pub(super) fn c1_a_refusal_names_what_is_in_the_way(stores: &Stores) {
    let holder = with(exclusive("k"), |claim| claim.note = "a note".to_owned());
    let token = stores.ours.granted(&holder);
    for client in [&stores.theirs, &stores.ours] {
        let refusal = client.refused(&exclusive("k"));
        let [entry] = refusal.in_the_way.as_slice() else { panic!("one is: {refusal:?}") };
        assert_eq!((entry.key.as_str(), entry.id, entry.token), ("k", holder.id, token));
        assert_eq!((entry.mode, entry.state), (holder.mode, EntryState::Held));
        assert_eq!(entry.note, "a note", "the note is given back as it is");
        assert!(entry.ends_in <= holder.lease, "{entry:?}");
    }
}

/// Refused without a place it is in nobody's way afterwards, and may be ended all the same.
pub(super) fn c5_a_refused_claim_leaves_nothing(stores: &Stores) {
    let (holder, refused) = (exclusive("k"), exclusive("k"));
    stores.ours.granted(&holder);
    stores.theirs.refused(&refused);
    if let Some(entries) = stores.ours.entries("k") {
        assert_eq!(entries.len(), 1, "{entries:?}");
    }
    stores.ours.release(&holder);
    stores.theirs.gone(&refused);
    stores.ours.passes("k");
    assert!(!stores.theirs.remove(&refused), "it had nothing");
    if let Some(entries) = stores.ours.entries("k") {
        assert!(entries.is_empty(), "{entries:?}");
    }
}
