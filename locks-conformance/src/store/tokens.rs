//! C7: tokens only grow.

use locks_core::{Token, TokenScope};

use super::stores::{Stores, exclusive, shared, with};

#[track_caller]
fn assert_grows(tokens: &[Token]) {
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

pub(super) fn c7_tokens_grow_across_clients(stores: &Stores) {
    let tokens = Vec::from_iter((0..10).map(|turn| {
        let token = stores.turns(turn).passes("k");
        stores.turns(turn).passes("another");
        token
    }));
    assert_grows(&tokens);
}

/// Released, removed, run out, stolen or evicted, with nothing left of the key in between.
pub(super) fn c7_tokens_grow_whatever_ends_a_hold(stores: &Stores) {
    let (can, lease) = (stores.can(), stores.fixture().lease());
    let mut tokens = vec![stores.ours.passes("k")];
    let removed = exclusive("k");
    tokens.push(stores.theirs.granted(&removed));
    stores.theirs.remove(&removed);
    let left = with(exclusive("k"), |claim| claim.lease = lease);
    tokens.push(stores.ours.granted(&left));
    stores.advance(lease + stores.late());
    tokens.push(stores.theirs.passes("k"));
    if can.steal {
        let robbed = exclusive("k");
        tokens.push(stores.ours.granted(&robbed));
        stores.advance(stores.unit() + stores.late());
        let after = Some(stores.unit());
        let thief = with(exclusive("k"), |claim| claim.steal_after = after);
        tokens.push(stores.theirs.granted(&thief));
        stores.theirs.release(&thief);
    }
    if can.bounds {
        let least = Some(stores.unit());
        let bounded = with(exclusive("k"), |claim| claim.hold_at_least = least);
        tokens.push(stores.ours.granted(&bounded));
        stores.ours.release(&bounded);
        stores.advance(stores.unit() + stores.late());
    }
    tokens.push(stores.theirs.passes("k"));
    assert_grows(&tokens);
}

pub(super) fn c7_sharers_have_tokens_of_their_own(stores: &Stores) {
    if !stores.can().shared {
        return;
    }
    let mut tokens = vec![stores.theirs.passes("k")];
    let readers = [0, 1, 2, 3].map(|turn| (stores.turns(turn), shared("k")));
    tokens.extend(readers.iter().map(|(client, claim)| client.granted(claim)));
    for (client, claim) in &readers {
        client.release(claim);
    }
    tokens.push(stores.ours.passes("k"));
    assert_grows(&tokens);
}

/// They are below 2^61.
pub(super) fn c7_tokens_leave_room(stores: &Stores) {
    let token = stores.ours.passes("k");
    assert!(token.get() < 1 << 61, "{token:?}");
}

pub(super) fn c7_tokens_outlive_the_store_as_declared(stores: &Stores) {
    let before = stores.ours.passes("k");
    let restarted = stores.fixture().restart();
    let outlives = stores.can().tokens != TokenScope::Process;
    assert!(
        restarted.is_some() || !outlives,
        "the store promises tokens that outlive its process: give the fixture a `restart`"
    );
    if let Some(store) = restarted.filter(|_| outlives) {
        assert_grows(&[before, stores.client(store).passes("k")]);
    }
}
