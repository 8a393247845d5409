use std::time::Duration;

use locks_core::{Engine, LostCause, Mode, Wait};

use super::line::{Line, World};
use super::{SECOND, anonymously};
use crate::arbiter::Notice;
use crate::journal::{Record, Records};
use crate::wire::{Call, Event, How};

/// Whether the engine had nothing left, and nobody else has it.
fn is_gone(engine: Engine) -> bool {
    let (left, weak) = ((engine.live_keys(), engine.known_keys()), engine.downgrade());
    drop(engine);
    left == (0, 0) && weak.upgrade().is_none()
}

#[test]
fn c13_an_arbiter_that_goes_leaves_nothing_of_its_engine() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "plain", |_| {});
    one.ask(&mut world, "plain", |ask| ask.options.reentrant = true);
    one.ask(&mut world, "bounded", |ask| ask.options.hold_at_most = Some(60 * SECOND));
    one.ask(&mut world, "at least", |ask| ask.options.hold_at_least = Some(60 * SECOND));
    one.ask(&mut world, "of two", |ask| ask.options.mode = Mode::Permit { take: 1, of: 2 });
    one.ask(&mut world, "a", |ask| ask.keys = vec!["a".into(), "b".into()]);
    for least in [SECOND, 60 * SECOND] {
        let key = format!("reserved for {least:?}");
        let held = one.ask(&mut world, &key, |ask| ask.options.hold_at_least = Some(least));
        one.end(&mut world, held);
    }
    two.ask(&mut world, "stolen", |_| {});
    two.ask(&mut world, "disowned", |_| {});
    two.say(&mut world, &Call::Disown { request: 2 });
    two.ask(&mut world, "plain", |_| {});
    two.ask(&mut world, "b", |ask| ask.keys = vec!["apart".into(), "b".into()]);
    world.clock.advance(2 * SECOND);
    one.ask(&mut world, "stolen", |ask| ask.options.steal_after = Some(SECOND));
    let before = world.arbiter.engine.clone();
    assert!(before.live_keys() >= 11, "{}", before.live_keys());
    world.restart();
    assert!(is_gone(before));
    let after = world.arbiter.engine.clone();
    assert!(after.live_keys() >= 9, "{}", after.live_keys());
    // By then the first reservation is over, and no alarm has rung.
    world.clock.advance(60 * SECOND);
    drop(world);
    assert!(is_gone(after));
}

/// What a client has been told to be lost, since this was asked last.
fn losses(line: &mut Line, world: &mut World) -> Vec<(u64, LostCause)> {
    line.read(world);
    let lost = line.events.drain(..).filter_map(|event| match event {
        Event::Lost { request, cause } => Some((request, cause)),
        _ => None,
    });
    lost.collect()
}

#[test]
fn c8_whoever_has_no_name_or_has_lost_it_hears_of_a_theft_after_a_restart_too() {
    for restarts in [false, true] {
        let mut world = World::new();
        let (mut victim, mut thief) = (world.local(1), world.local(2));
        let unnamed = victim.ask(&mut world, "unnamed", anonymously);
        let set = victim.ask(&mut world, "a", |ask| {
            anonymously(ask);
            ask.keys = vec!["a".into(), "b".into()];
        });
        let disowned = victim.ask(&mut world, "disowned", |_| {});
        let nested = victim.ask(&mut world, "disowned", |ask| ask.options.reentrant = true);
        let left = victim.ask(&mut world, "left", |_| {});
        let outlives = victim.ask(&mut world, "left", |ask| ask.options.reentrant = true);
        for request in [disowned, nested, outlives] {
            victim.say(&mut world, &Call::Disown { request });
        }
        victim.end(&mut world, left);
        if restarts {
            world.restart();
            victim.resume(&mut world);
            let held = vec![unnamed, set, disowned, nested, outlives];
            victim.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
            thief.resume(&mut world);
        }
        world.advance(2 * SECOND);
        let mut lost = Vec::new();
        for key in ["unnamed", "b", "disowned", "left"] {
            let stolen = thief.ask(&mut world, key, |ask| ask.options.steal_after = Some(SECOND));
            assert!(thief.granted(&mut world, stolen).is_some(), "{key}");
            lost.extend(losses(&mut victim, &mut world));
        }
        let expected = [unnamed, set, disowned, nested, outlives];
        assert_eq!(lost, expected.map(|request| (request, LostCause::Stolen)), "{restarts}");
    }
}

#[test]
fn c8_a_crowd_that_is_lost_at_once_is_told_of_in_order_and_before_who_comes_next() {
    const CROWD: u32 = 3000;
    let mut world = World::new();
    let (mut one, mut two, mut rival) = (world.local(1), world.local(2), world.local(3));
    for number in 0..CROWD {
        for (line, name) in [(&mut one, "one"), (&mut two, "two")] {
            // The later it was asked for, the sooner it is over.
            let left = Duration::from_millis(u64::from(CROWD - number));
            let key = format!("{name} {number}");
            line.ask(&mut world, &key, |ask| {
                ask.options.hold_at_most = Some(left);
                if number % 3 == 0 {
                    ask.keys = vec![key.clone(), format!("{key} too")];
                }
            });
            if number % 5 == 0 {
                line.ask(&mut world, &key, |ask| ask.options.reentrant = true);
            }
        }
    }
    // A few that stay, and have the same tokens.
    let stays = ["a", "b", "c"].map(|key| one.ask(&mut world, key, |_| {}));
    let wants = ["one 7", "two 9", "one 2999"].map(|key| rival.ask(&mut world, key, |_| {}));
    let granted = |line: &Line| {
        let granted = line.events.iter().filter(|event| matches!(event, Event::Granted { .. }));
        granted.count() as u64
    };
    let (ones, twos) = (granted(&one) - stays.len() as u64, granted(&two));
    assert!(ones == twos && ones == u64::from(CROWD + CROWD / 5));
    let before = world.disk.len();
    world.advance(60 * SECOND);
    let too_long = |request| (request, LostCause::HeldTooLong);
    assert_eq!(losses(&mut one, &mut world), (1..=ones).map(too_long).collect::<Vec<_>>());
    assert_eq!(losses(&mut two, &mut world), (1..=twos).map(too_long).collect::<Vec<_>>());
    let mut records = Records::new(&world.disk[before..]);
    let mut written = Vec::new();
    while let Some(record) = records.next().unwrap() {
        written.push(match record {
            Record::Ended { realm, request, cause, .. } => (realm, request, cause),
            Record::Grant(grant) => (grant.realm, grant.request, None),
            // The rival's, with its first grant.
            Record::Session(_) => continue,
            other => panic!("{other:?}"),
        });
    }
    let ended = |line: &Line, most| {
        let realm = line.opened.realm;
        (1..=most).map(move |request| (realm, request, Some(LostCause::HeldTooLong)))
    };
    let grants = written.split_off((ones + twos) as usize);
    assert!(written.into_iter().eq(ended(&one, ones).chain(ended(&two, twos))));
    assert_eq!(grants.len(), wants.len());
    assert!(wants.into_iter().all(|request| rival.granted(&mut world, request).is_some()));
    world.restart();
}

#[test]
fn c8_a_guard_of_two_keys_in_two_holds_is_lost_once() {
    let mut world = World::new();
    let (mut victim, mut thief) = (world.local(1), world.local(2));
    let [a, b] = ["a", "b"].map(|key| victim.ask(&mut world, key, |_| {}));
    let both = victim.ask(&mut world, "a", |ask| {
        ask.keys = vec!["a".into(), "b".into()];
        ask.options.reentrant = true;
    });
    assert!(victim.granted(&mut world, both).is_some());
    world.advance(2 * SECOND);
    let mut lost_with = |key| {
        thief.ask(&mut world, key, |ask| ask.options.steal_after = Some(SECOND));
        losses(&mut victim, &mut world)
    };
    assert_eq!(lost_with("a"), [(a, LostCause::Stolen), (both, LostCause::Stolen)]);
    assert_eq!(lost_with("b"), [(b, LostCause::Stolen)]);
}

#[test]
fn n4_what_is_left_of_a_guard_that_was_lost_by_another_key_outlives_a_restart() {
    let mut world = World::new();
    let (mut victim, mut thief) = (world.local(1), world.local(2));
    victim.ask(&mut world, "a", |_| {});
    let both = victim.ask(&mut world, "a", |ask| {
        ask.keys = vec!["a".into(), "c".into()];
        ask.options.reentrant = true;
        ask.options.hold_at_least = Some(60 * SECOND);
    });
    assert!(victim.granted(&mut world, both).is_some());
    world.advance(2 * SECOND);
    let stolen = thief.ask(&mut world, "a", |ask| ask.options.steal_after = Some(SECOND));
    assert!(thief.granted(&mut world, stolen).is_some());
    victim.ask(&mut world, "c", |ask| ask.options.reentrant = true);
    world.restart();
}

/// It may be stopped for as long as it likes, also in the middle of a frame (N1).
#[test]
fn n1_a_process_that_keeps_its_session_is_not_closed_for_half_a_frame() {
    let mut world = World::new();
    let (mut local, mut leased) = (world.local(1), world.leased());
    local.ask(&mut world, "k", |_| {});
    leased.ask(&mut world, "l", |_| {});
    for line in [&local, &leased] {
        line.say_half(&mut world);
    }
    world.notices.clear();
    for _ in 0..3 {
        world.advance(7 * SECOND);
    }
    assert_eq!(world.notices, [Notice::Close(leased.id)]);
    world.advance(Duration::from_secs(3600));
    let mut rival = world.local(2);
    let refused = rival.ask(&mut world, "k", |ask| ask.options.wait = Some(Wait::Try));
    assert_eq!(rival.granted(&mut world, refused), None, "its process lives");
    world.arbiter.process_ended(local.opened.realm);
    let next = rival.ask(&mut world, "k", |_| {});
    assert!(rival.granted(&mut world, next).is_some());
}

/// Else its next server says `Lost` of a release that this one has applied (C4).
#[test]
fn n11_a_server_is_not_idle_while_a_client_may_not_know_what_became_of_its_release() {
    let mut world = World::new();
    let mut line = world.leased();
    let held = line.ask(&mut world, "k", |_| {});
    assert!(!world.arbiter.is_idle());
    line.say_in_vain(&mut world, &[Call::End { request: held }, Call::Ping]);
    assert!(!world.arbiter.is_idle(), "the word may be lost with the server");
    world.restart();
    assert_eq!(line.resume(&mut world), How::Restored);
    line.say(&mut world, &Call::Holding { held: vec![], pending: vec![], more: false });
    line.say_in_vain(&mut world, &[Call::Ping]);
    assert!(!world.arbiter.is_idle(), "nor did this one's word arrive");
    world.arbiter.disconnect(line.id);
    assert!(!world.arbiter.is_idle(), "it may come back");
    assert_eq!(line.resume(&mut world), How::Resumed);
    assert!(!world.arbiter.is_idle(), "what is repeated does not tell what became of it");
    line.say(&mut world, &Call::Ping);
    world.arbiter.ask_for_word();
    line.read(&mut world);
    assert!(!world.arbiter.is_idle());
    line.say(&mut world, &Call::Ping);
    assert!(world.arbiter.is_idle(), "it has heard what was said behind it");
    // Nothing is asked twice, or for nothing.
    let events = line.events.len();
    world.arbiter.ask_for_word();
    line.read(&mut world);
    assert_eq!(line.events.len(), events);
}

#[test]
fn n11_a_server_is_not_idle_while_a_session_that_is_written_down_is_without_a_connection() {
    let mut world = World::new();
    let mut line = world.local(1);
    let held = line.ask(&mut world, "k", |_| {});
    line.say_in_vain(&mut world, &[Call::End { request: held }]);
    assert!(world.arbiter.is_idle(), "what its socket has, it has");
    line.say(&mut world, &Call::Ping);
    world.arbiter.disconnect(line.id);
    assert!(!world.arbiter.is_idle());
    assert_eq!(line.resume(&mut world), How::Resumed);
    assert!(world.arbiter.is_idle());
    world.arbiter.disconnect(line.id);
    world.arbiter.process_ended(line.opened.realm);
    assert!(world.arbiter.is_idle());
    // One that has held nothing has nothing to lose.
    let other = world.local(2);
    world.arbiter.disconnect(other.id);
    assert!(world.arbiter.is_idle());
}

/// What the sockets have not got yet dies with the server.
#[test]
fn n11_a_server_is_not_idle_while_it_has_something_to_say() {
    let mut world = World::new();
    let mut line = world.local(1);
    let held = line.ask(&mut world, "k", |_| {});
    line.end(&mut world, held);
    assert!(world.arbiter.is_idle());
    line.say_unread(&mut world, &Call::Ping);
    assert!(!world.arbiter.is_idle());
    line.read(&mut world);
    assert!(world.arbiter.is_idle());
}
