//! Row 30: several keys in one request, all or none.

use std::time::Duration;

use locks_core::ErrorKind;

use crate::directory::{Directory, until};
use crate::peer::{Peer, now};
use crate::program::program_after;

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn row_30_the_third_of_five_is_busy() {
    let directory = Directory::new();
    let (backend, [mut holder, mut next]) = (directory.backend(), Peer::start_many(&directory));
    assert!(backend.about().capabilities.several_keys);
    let held = holder.take("c", "");
    for _ in 0..3 {
        let error = backend.all(KEYS).wait(false).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended, "{error}");
        assert_eq!(error.key(), "c", "{error}");
        for key in ["a", "b", "d", "e"] {
            next.assert_free(key);
        }
        let (limit, asked) = (Duration::from_millis(150), now());
        let error = backend.all(KEYS).wait(limit).acquire().unwrap_err();
        let waited = Duration::from_nanos(now() - asked);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(waited >= limit && waited < limit * 10, "one deadline for all: {waited:?}");
        for key in ["a", "b", "d", "e"] {
            next.assert_free(key);
        }
    }
    holder.release(held).unwrap();
    directory.assert_closed(&KEYS);
}

/// One deadline, although each of the keys becomes free within it.
#[test]
fn row_30_one_deadline_for_all() {
    let directory = Directory::new();
    let (backend, [mut one, mut other]) = (directory.backend(), Peer::start_many(&directory));
    let stays = Duration::from_secs(1);
    let first = one.visit("a", stays, "");
    let second = other.take("b", "");
    until("the first is held", || one.has_locked(&directory.file_of("a")));
    let (limit, asked) = (Duration::from_millis(1500), now());
    let error = backend.all(["a", "b"]).wait(limit).acquire().unwrap_err();
    let waited = Duration::from_nanos(now() - asked);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    // Each key for itself would have made it 1 s + 1.5 s.
    assert!(waited >= limit && waited < limit + stays / 2, "{waited:?}");
    first.visited().unwrap();
    other.release(second).unwrap();
}

/// While it waits for the third it has the first two, and nothing of the others.
#[test]
fn c11_earlier_keys_are_held_meanwhile_and_all_are_in_the_end() {
    let directory = Directory::new();
    let [mut holder, mut taker, mut next] = Peer::start_many(&directory);
    let before = KEYS.map(|key| next.assert_free(key)).into_iter().max().unwrap();
    let held = holder.take("c", "");
    let waiting = taker.begin_all(&KEYS, "");
    until("the second is held", || {
        next.begin("b", "no-wait").outcome().map(|held| next.release(held).unwrap()).is_err()
    });
    next.contended("a", "");
    next.assert_free("d");
    next.assert_free("e");
    holder.release(held).unwrap();
    let all = waiting.granted();
    assert!(all.token > before && all.token > held.token, "C7");
    for key in KEYS {
        next.contended(key, "");
    }
    taker.release(all).unwrap();
    for key in KEYS {
        assert!(next.assert_free(key) > all.token, "C7: `{key}`");
    }
}

/// Readers that come while a set of readers has one key and waits for the next were there before
/// it.
#[test]
fn c7_the_token_of_a_set_is_above_those_granted_meanwhile() {
    let directory = Directory::new();
    let [mut holder, mut taker, mut other] = Peer::start_many(&directory);
    for round in 0..4 {
        // Whichever of the two files has the greater tokens.
        for _ in 0..round {
            other.assert_free(["a", "b"][round % 2]);
        }
        let held = holder.take("b", "");
        let waiting = taker.begin_all(&["a", "b"], "shared");
        until("the first is held", || {
            other.begin("a", "no-wait").outcome().map(|held| other.release(held).unwrap()).is_err()
        });
        let meanwhile = [(); 3].map(|()| other.take("a", "shared"));
        holder.release(held).unwrap();
        let set = waiting.granted();
        for reader in meanwhile {
            assert!(set.token > reader.token, "C7: {} after {}", set.token, reader.token);
            other.release(reader).unwrap();
        }
        taker.check(set).unwrap();
        taker.release(set).unwrap();
        let after = [other.assert_free("a"), other.assert_free("b")];
        assert!(after.iter().all(|token| *token > set.token), "C7: {after:?} after {}", set.token);
    }
}

/// Killed while it has some of them.
#[test]
fn row_1_killed_with_some_of_its_keys() {
    let directory = Directory::new();
    let [mut holder, mut taker, mut next] = Peer::start_many(&directory);
    let held = holder.take("c", "");
    let _waiting = taker.begin_all(&KEYS, "");
    until("the second is held", || {
        next.begin("b", "no-wait").outcome().map(|held| next.release(held).unwrap()).is_err()
    });
    taker.send_kill();
    for key in ["a", "b", "d", "e"] {
        next.assert_free(key);
    }
    holder.release(held).unwrap();
    next.assert_free("c");
}

/// The loss of one is the loss of all.
#[test]
fn c11_one_that_is_stolen_takes_the_others_with_it() {
    let directory = Directory::new();
    let [mut victim, mut thief, mut next] = Peer::start_many(&directory);
    let set = victim.begin_all(&["a", "b", "c"], "").granted();
    let stolen = thief.take("b", "steal=30");
    assert!(stolen.token > set.token, "C7");
    until("the victim learns of it", || victim.check(set).is_err());
    assert!(victim.release(set).unwrap_err().is_lost());
    next.assert_free("a");
    next.assert_free("c");
    next.contended("b", "");
    thief.release(stolen).unwrap();
}

/// Each key takes a descriptor: where there are not enough, that is said before any is opened, and
/// the process goes on (row 38).
#[test]
fn row_38_more_keys_than_descriptors() {
    let directory = Directory::new();
    let mut peer = Peer::start_as(program_after("peer", "ulimit -n 1024"), &directory);
    peer.assert_free("k");
    let keys = Vec::from_iter((0..70_000).map(|number| format!("key {number}")));
    let keys = Vec::from_iter(keys.iter().map(String::as_str));
    for (count, options) in [(70_000, "wait=3000"), (70_000, "no-wait"), (1_020, "")] {
        let asked = peer.begin_all(&keys[..count], options);
        let refused = asked.refused();
        assert_eq!(refused.kind, "LimitExceeded", "{refused:?}");
        let says = [format!("{count} keys"), "of 1024".to_owned(), "ulimit -n".to_owned()];
        assert!(says.iter().all(|says| refused.text.contains(says)), "{refused:?}");
    }
    let made = directory.names().into_iter().filter(|name| name.starts_with("key")).count();
    assert_eq!(made, 0, "row 38: nothing is opened for what cannot be had");
    let held = peer.begin_all(&keys[..900], "wait=60000").granted();
    peer.release(held).unwrap();
    peer.assert_free("k");
}
