//! C6: a claim that takes over what is too old.

use std::time::Duration;

use locks_core::{Claimed, LeaseClaim, LeaseEnd, LeaseRenewal};

use super::stores::{Stores, ending, exclusive, permit, renewal, shared, with};

fn thief(claim: LeaseClaim, age: Duration) -> LeaseClaim {
    with(claim, |claim| claim.steal_after = Some(age))
}

pub(super) fn c6_a_hold_is_stolen_when_due_and_not_before(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let (age, since, victim) = (stores.unit(), stores.now(), exclusive("k"));
    let before = stores.ours.granted(&victim);
    let thief = thief(exclusive("k"), age);
    let token = stores.due(&stores.theirs, &thief, since, age);
    assert!(token > before);
    stores.theirs.keeps(&thief);
    stores.ours.refused(&exclusive("k"));
}

/// The answer tells the thief's client whom to name: the key, the token and the note of each.
pub(super) fn c6_a_theft_names_the_holds_that_it_ends(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let victim = with(exclusive("k"), |claim| claim.note = "of the victim".to_owned());
    let token = stores.ours.granted(&victim);
    stores.advance(stores.late());
    let answer = stores.theirs.claim(&thief(exclusive("k"), Duration::ZERO));
    let Claimed::Stolen { from, .. } = answer else {
        panic!("a theft is answered by `Stolen`, and not by {answer:?}");
    };
    let [robbed] = from.as_slice() else { panic!("one hold was ended, not {from:?}") };
    assert_eq!((&*robbed.key, robbed.token), ("k", token), "{robbed:?}");
    assert_eq!(robbed.note, "of the victim", "{robbed:?}");
}

/// One of two is too young: neither is touched, also when the other is old enough.
pub(super) fn c6_all_in_the_way_are_stolen_or_none(stores: &Stores) {
    if !stores.can().steal || !stores.can().shared {
        return;
    }
    let (age, old, young) = (stores.unit(), shared("k"), shared("k"));
    stores.ours.granted(&old);
    stores.advance(age + stores.late());
    let since = stores.now();
    stores.ours.granted(&young);
    let thief = thief(exclusive("k"), age);
    if let Claimed::Refused(_) = stores.theirs.claim(&thief) {
        stores.ours.keeps(&old);
        stores.ours.keeps(&young);
    } else {
        let passed = stores.now() - since;
        assert!(passed >= age, "one of the two was too young");
    }
    stores.due(&stores.theirs, &thief, since, age);
    stores.ours.gone(&old);
    stores.ours.gone(&young);
}

pub(super) fn c6_what_is_reserved_is_not_stolen(stores: &Stores) {
    if !stores.can().steal || !stores.can().bounds {
        return;
    }
    let (unit, since) = (stores.unit(), stores.now());
    let reserved = with(exclusive("k"), |claim| claim.hold_at_least = Some(unit * 4));
    stores.ours.granted(&reserved);
    stores.ours.release(&reserved);
    let thief = thief(exclusive("k"), Duration::ZERO);
    stores.due(&stores.theirs, &thief, since, unit * 4);
}

/// Nor is the hold itself before its least, however old it has to be.
pub(super) fn c6_a_hold_is_not_stolen_before_its_least(stores: &Stores) {
    if !stores.can().steal || !stores.can().bounds {
        return;
    }
    let (unit, since) = (stores.unit(), stores.now());
    let held = with(exclusive("k"), |claim| claim.hold_at_least = Some(unit * 4));
    stores.ours.granted(&held);
    let thief = thief(exclusive("k"), unit);
    stores.due(&stores.theirs, &thief, since, unit * 4);
    stores.ours.gone(&held);
}

pub(super) fn c6_a_renewal_keeps_the_age_and_a_refresh_does_not(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let age = stores.unit();
    for refresh in [false, true] {
        let victim = exclusive("k");
        let mut since = stores.now();
        stores.ours.granted(&victim);
        stores.advance(age / 2);
        let now = stores.now();
        let renewal = LeaseRenewal::new(victim.keys.clone(), victim.id, victim.lease);
        let mut asked = renewal;
        asked.refresh = refresh;
        stores.ours.renew_all(&[asked]);
        if refresh {
            since = now;
        }
        let thief = thief(exclusive("k"), age);
        stores.due(&stores.theirs, &thief, since, age);
        stores.theirs.release(&thief);
    }
}

/// A reader steals nothing from readers, and nobody from another key.
pub(super) fn c6_a_steal_takes_only_what_is_in_the_way(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let elsewhere = exclusive("other");
    stores.ours.granted(&elsewhere);
    if stores.can().shared {
        let reader = shared("k");
        stores.ours.granted(&reader);
        stores.advance(stores.unit());
        let thief = thief(shared("k"), Duration::ZERO);
        stores.theirs.granted(&thief);
        stores.ours.keeps(&reader);
        stores.theirs.release(&thief);
        stores.ours.release(&reader);
    }
    let victim = exclusive("k");
    stores.ours.granted(&victim);
    stores.advance(stores.unit());
    stores.theirs.granted(&thief(exclusive("k"), Duration::ZERO));
    stores.ours.gone(&victim);
    stores.ours.keeps(&elsewhere);
}

/// It is not there for any step, and none of them touches the thief.
pub(super) fn c6_a_robbed_hold_is_gone(stores: &Stores) {
    if !stores.can().steal {
        return;
    }
    let victim = exclusive("k");
    let token = stores.ours.granted(&victim);
    stores.advance(stores.unit());
    let thief = thief(exclusive("k"), Duration::ZERO);
    assert!(stores.theirs.granted(&thief) > token);
    stores.ours.gone(&victim);
    assert!(!stores.ours.release(&victim), "it was stolen");
    assert!(!stores.ours.end(&ending(&victim, LeaseEnd::Remove)), "it was stolen");
    stores.ours.renew_all(&[renewal(&victim)]);
    stores.theirs.keeps(&thief);
    stores.ours.refused(&exclusive("k"));
}

/// The fewest, and the oldest; all of them due or none.
pub(super) fn c6_a_permit_takes_the_oldest_holds_that_suffice(stores: &Stores) {
    if !stores.can().steal || !stores.can().permits {
        return;
    }
    let age = stores.unit();
    let held = [0, 1, 2].map(|turn| {
        let (claim, since) = (permit("k", 3), stores.now());
        stores.turns(turn).granted(&claim);
        stores.advance(age / 4);
        (claim, since)
    });
    // Two have to go, so the second has to be due.
    let thief = thief(permit("k", 2), age);
    stores.due(&stores.theirs, &thief, held[1].1, age);
    stores.turns(0).gone(&held[0].0);
    stores.turns(1).gone(&held[1].0);
    stores.turns(2).keeps(&held[2].0);
    // Now that both are due the older of them is taken.
    stores.advance(age + stores.late());
    stores.ours.granted(&with(permit("k", 2), |claim| claim.steal_after = Some(age)));
    stores.turns(2).gone(&held[2].0);
    stores.theirs.keeps(&thief);
}
