//! C11: several keys in one claim.

use std::time::Duration;

use super::stores::{Stores, all, exclusive, with};

pub(super) fn c11_keys_are_granted_together_or_not_at_all(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    let (busy, set) = (exclusive("b"), all(["a", "b", "c"]));
    stores.theirs.granted(&busy);
    let refusal = stores.ours.refused(&set);
    let keys = Vec::from_iter(refusal.in_the_way.iter().map(|entry| entry.key.as_str()));
    assert_eq!(keys, ["b"], "{refusal:?}");
    for key in ["a", "c"] {
        stores.theirs.passes(key);
    }
    stores.ours.gone(&set);
    stores.theirs.release(&busy);
    stores.ours.granted(&set);
    for key in ["a", "b", "c"] {
        stores.theirs.refused(&exclusive(key));
    }
    stores.ours.keeps(&set);
    assert!(stores.ours.release(&set));
    for key in ["a", "b", "c"] {
        stores.theirs.passes(key);
    }
}

/// The keys that are named end, and the others stay.
pub(super) fn c11_a_set_ends_key_by_key_as_asked(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    let set = all(["a", "b", "c"]);
    stores.ours.granted(&set);
    let part = with(set.clone(), |claim| claim.keys = vec!["b".to_owned()]);
    assert!(stores.ours.release(&part));
    stores.theirs.passes("b");
    let rest = with(set.clone(), |claim| claim.keys = vec!["a".to_owned(), "c".to_owned()]);
    stores.ours.keeps(&rest);
    for key in ["a", "c"] {
        stores.theirs.refused(&exclusive(key));
    }
    assert!(stores.ours.release(&rest));
    stores.theirs.granted(&all(["a", "b", "c"]));
}

pub(super) fn c11_a_set_has_one_token_above_those_of_its_keys(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    let mut before = Vec::from_iter((0..5).map(|_| stores.theirs.passes("b")));
    before.push(stores.ours.passes("a"));
    let set = all(["a", "b", "c"]);
    let token = stores.ours.granted(&set);
    assert!(before.iter().all(|before| *before < token), "{token:?} after {before:?}");
    for key in ["a", "b", "c"] {
        if let Some(entries) = stores.theirs.entries(key) {
            assert!(entries.iter().all(|entry| entry.token == token), "{entries:?}");
        }
    }
    stores.ours.release(&set);
    for key in ["a", "b", "c"] {
        let after = stores.theirs.passes(key);
        assert!(after > token, "{after:?} of `{key}` after {token:?} of the set");
    }
}

pub(super) fn c11_a_repeated_set_is_the_same(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    let set = all(["a", "b"]);
    let token = stores.ours.granted(&set);
    assert_eq!(stores.ours.granted(&set), token);
    assert!(stores.ours.release(&set));
    assert!(!stores.ours.release(&set), "it ended a second time");
    stores.theirs.granted(&all(["a", "b"]));
}

/// One of its keys cannot be stolen yet: no hold of any other is touched.
pub(super) fn c11_a_set_steals_from_all_or_none(stores: &Stores) {
    if !stores.can().several_keys || !stores.can().steal {
        return;
    }
    let (age, old, young) = (stores.unit(), exclusive("a"), exclusive("b"));
    stores.theirs.granted(&old);
    stores.advance(age + stores.late());
    let since = stores.now();
    stores.theirs.granted(&young);
    let thief = with(all(["a", "b"]), |claim| claim.steal_after = Some(age));
    let refused = matches!(stores.ours.claim(&thief), locks_core::Claimed::Refused(_));
    match refused {
        true => stores.theirs.keeps(&old),
        false => assert!(stores.now() - since >= age, "one of the two was too young"),
    }
    stores.due(&stores.ours, &thief, since, age);
    stores.theirs.gone(&old);
    stores.theirs.gone(&young);
}

pub(super) fn c11_the_loss_of_one_key_shows_at_the_renewal(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    let set = all(["a", "b"]);
    stores.ours.granted(&set);
    let part = with(set.clone(), |claim| claim.keys = vec!["b".to_owned()]);
    assert!(stores.theirs.remove(&part), "an administrator ends one");
    stores.ours.gone(&set);
    if stores.can().steal {
        let victim = all(["c", "d"]);
        stores.ours.granted(&victim);
        stores.advance(stores.unit());
        let thief = with(exclusive("d"), |claim| claim.steal_after = Some(Duration::ZERO));
        stores.theirs.granted(&thief);
        stores.ours.gone(&victim);
        stores.theirs.keeps(&thief);
    }
}

/// A renewal of all keys that finds one ended costs the others nothing: the next is for them alone.
pub(super) fn c11_a_renewal_beside_the_end_of_one_key_costs_no_other(stores: &Stores) {
    if !stores.can().several_keys {
        return;
    }
    for round in 0..20 {
        let set = all(["a", "b"]);
        stores.ours.granted(&set);
        let part = with(set.clone(), |claim| claim.keys = vec!["a".to_owned()]);
        stores.ours.release_beside_a_renewal(&part, &set, round % 2 == 0);
        let rest = with(set.clone(), |claim| claim.keys = vec!["b".to_owned()]);
        stores.ours.keeps(&rest);
        stores.theirs.refused(&exclusive("b"));
        assert!(stores.ours.release(&rest));
    }
}
