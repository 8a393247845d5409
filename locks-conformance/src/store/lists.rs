//! C12: what a store tells.

use locks_core::{EntryState, LeaseRenewal, Mode, Query};

use super::stores::{Stores, exclusive, shared, with};

pub(super) fn c12_holds_and_reservations_are_listed(stores: &Stores) {
    let Some(nothing) = stores.ours.list(&Query::All) else { return };
    assert!(nothing.is_empty(), "{nothing:?}");
    let note = |claim, note: &str| with(claim, |claim| claim.note = note.to_owned());
    let held = note(exclusive("k"), "ours");
    let token = stores.ours.granted(&held);
    let entries = stores.theirs.entries("k").expect("it lists");
    let [entry] = entries.as_slice() else { panic!("one is held: {entries:?}") };
    assert_eq!((entry.key.as_str(), entry.id, entry.token), ("k", held.id, token));
    assert_eq!((entry.mode, entry.state), (Mode::Exclusive, EntryState::Held));
    assert_eq!(entry.note, "ours");
    assert!(entry.ends_in > held.lease / 2 && entry.ends_in <= held.lease, "{entry:?}");
    stores.ours.release(&held);
    assert!(stores.theirs.entries("k").expect("it lists").is_empty());
    if stores.can().shared {
        let readers = [0, 1, 2].map(|turn| stores.turns(turn).granted(&shared("s")));
        let entries = stores.ours.entries("s").expect("it lists");
        let mut tokens = Vec::from_iter(entries.iter().map(|entry| entry.token));
        tokens.sort_unstable();
        assert_eq!(tokens, readers, "{entries:?}");
        assert!(entries.iter().all(|entry| entry.mode == Mode::Shared), "{entries:?}");
    }
    if stores.can().bounds {
        let least = stores.unit() * 1000;
        let reserved = with(exclusive("r"), |claim| claim.hold_at_least = Some(least));
        let token = stores.ours.granted(&reserved);
        stores.ours.release(&reserved);
        let entries = stores.theirs.entries("r").expect("it lists");
        let [entry] = entries.as_slice() else { panic!("no reservation is listed: {entries:?}") };
        assert_eq!((entry.state, entry.token), (EntryState::Reserved, token));
        assert!(entry.ends_in <= least && entry.ends_in > least / 2, "{entry:?}");
    }
}

pub(super) fn c12_a_list_is_what_was_asked_for(stores: &Stores) {
    if stores.ours.list(&Query::All).is_none() {
        return;
    }
    for (turn, key) in ["a", "ab", "abc", "b", "A", "a%", "a_"].into_iter().enumerate() {
        stores.turns(turn).granted(&exclusive(key));
    }
    let asked = |query: Query| {
        let entries = stores.ours.list(&query).expect("it lists");
        let mut keys = Vec::from_iter(entries.into_iter().map(|entry| entry.key));
        keys.sort_unstable();
        keys
    };
    assert_eq!(asked(Query::All), ["A", "a", "a%", "a_", "ab", "abc", "b"]);
    assert_eq!(asked(Query::Prefix("ab".into())), ["ab", "abc"]);
    assert_eq!(asked(Query::Prefix("a_".into())), ["a_"]);
    assert_eq!(asked(Query::Prefix("a%".into())), ["a%"]);
    assert_eq!(asked(Query::Key("a".into())), ["a"]);
    assert!(asked(Query::Key("x".into())).is_empty());
}

pub(super) fn c12_ages_are_those_of_the_holds(stores: &Stores) {
    if !stores.can().ages || stores.ours.list(&Query::All).is_none() {
        return;
    }
    let (unit, since, claim) = (stores.unit(), stores.now(), exclusive("k"));
    let age = || {
        let entries = stores.theirs.entries("k").expect("it lists");
        entries[0].age.expect("it declares ages")
    };
    stores.ours.granted(&claim);
    stores.advance(unit * 2);
    let old = age();
    assert!(old + stores.late() >= unit * 2, "{old:?}");
    assert!(old <= stores.now() - since + stores.late(), "{old:?}");
    stores.ours.keeps(&claim);
    assert!(age() >= old, "a renewal does not make it younger");
    let since = stores.now();
    let mut refresh = LeaseRenewal::new(claim.keys.clone(), claim.id, claim.lease);
    refresh.refresh = true;
    stores.ours.renew_all(&[refresh]);
    let young = age();
    assert!(young <= stores.now() - since + stores.late(), "{young:?} after a refresh");
}
