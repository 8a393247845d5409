mod access;
mod changes;
mod endings;
mod figures;
mod handed;
mod limits;
mod line;
mod lists;
mod messages;
mod newcomers;

use std::time::Duration;

use locks_core::{ErrorKind, LostCause, Wait};

use self::line::World;
use super::Notice;
use crate::wire::{Acquire, Call, Event, How, Resume};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn c1_a_lock_goes_from_client_to_client_in_order() {
    let mut world = World::new();
    let (mut one, mut two, mut three) = (world.local(1), world.local(2), world.local(3));
    let first = one.ask(&mut world, "k", |_| {});
    let second = two.ask(&mut world, "k", |_| {});
    world.advance(SECOND);
    let third = three.ask(&mut world, "k", |_| {});
    let token = one.granted(&mut world, first);
    assert!(token.is_some());
    assert_eq!(two.granted(&mut world, second), None);
    one.end(&mut world, first);
    let next = two.granted(&mut world, second);
    assert!(next > token);
    assert_eq!(three.granted(&mut world, third), None);
    world.arbiter.disconnect(two.id);
    world.arbiter.process_ended(two.opened.realm);
    assert!(three.granted(&mut world, third) > next);
    three.say(&mut world, &Call::Bye);
    one.say(&mut world, &Call::Bye);
    assert_eq!(world.arbiter.live_keys(), 0);
}

#[test]
fn c10_a_cycle_of_clients_is_a_deadlock_of_one() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "a", |_| {});
    two.ask(&mut world, "b", |_| {});
    one.ask(&mut world, "b", |_| {});
    two.ask(&mut world, "a", |_| {});
    one.read(&mut world);
    let refused = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::Refused { error, .. } => Some((error.kind(), error.cycle().len())),
            _ => None,
        })
    };
    assert_eq!(refused(&two.events), Some((ErrorKind::Deadlock, 2)));
    assert_eq!(refused(&one.events), None);
}

#[test]
fn c8_the_victim_of_a_theft_hears_of_it_and_the_journal_too() {
    let mut world = World::new();
    let (mut victim, mut thief) = (world.local(1), world.local(2));
    let held = victim.ask(&mut world, "k", |_| {});
    world.advance(2 * SECOND);
    let stolen = thief.ask(&mut world, "k", |ask| {
        ask.options.steal_after = Some(SECOND);
        ask.options.wait = Some(Wait::Try);
    });
    let token = thief.granted(&mut world, stolen);
    assert!(token > victim.granted(&mut world, held));
    victim.read(&mut world);
    let lost = |event: &Event| matches!(event, Event::Lost { request, cause: LostCause::Stolen } if *request == held);
    assert!(victim.events.iter().any(lost));
    world.restart();
    assert_eq!(thief.resume(&mut world), How::Restored);
    thief.say(&mut world, &Call::Holding { held: vec![stolen], pending: vec![], more: false });
    assert_eq!(victim.resume(&mut world), How::Restored);
    victim.events.clear();
    victim.say(&mut world, &Call::Holding { held: vec![held], pending: vec![], more: false });
    assert!(matches!(victim.events[..], [Event::Lost { request, .. }] if request == held));
    let again = victim.ask(&mut world, "k", |_| {});
    assert_eq!(victim.granted(&mut world, again), None);
    thief.end(&mut world, stolen);
    assert!(victim.granted(&mut world, again) > token);
}

#[test]
fn c8_who_was_disowned_hears_of_a_theft_too() {
    let mut world = World::new();
    let (mut victim, mut thief) = (world.local(1), world.local(2));
    let held = victim.ask(&mut world, "k", |_| {});
    victim.say(&mut world, &Call::Disown { request: held });
    world.advance(2 * SECOND);
    let stolen = thief.ask(&mut world, "k", |ask| ask.options.steal_after = Some(SECOND));
    assert!(thief.granted(&mut world, stolen).is_some());
    victim.read(&mut world);
    let lost = |event: &Event| matches!(event, Event::Lost { request, cause: LostCause::Stolen } if *request == held);
    assert!(victim.events.iter().any(lost));
    // Both are not in the journal, or a successor would refuse it.
    world.restart();
}

#[test]
fn c8_a_victim_that_comes_back_after_a_restart_and_the_theft_hears_of_it() {
    // What it does not name it has released, as far as it knows (C4).
    for named in [true, false] {
        let mut world = World::new();
        let (mut victim, mut thief) = (world.local(1), world.local(2));
        let held = victim.ask(&mut world, "k", |_| {});
        world.advance(2 * SECOND);
        world.restart();
        assert_eq!(thief.resume(&mut world), How::New, "it has held nothing yet");
        let stolen = thief.ask(&mut world, "k", |ask| ask.options.steal_after = Some(SECOND));
        assert!(thief.granted(&mut world, stolen).is_some());
        assert_eq!(victim.resume(&mut world), How::Restored);
        victim.events.clear();
        victim.say(
            &mut world,
            &Call::Holding {
                held: if named { vec![held] } else { vec![] },
                pending: vec![],
                more: false,
            },
        );
        let lost = |event: &Event| matches!(event, Event::Lost { request, cause: LostCause::Stolen } if *request == held);
        assert!(victim.events.iter().any(lost), "{named}");
    }
}

/// A server lets a lock be stolen and is killed before it has sent `Lost` or read the `End`; the
/// client does not name the hold to the next server.
#[test]
fn c8_a_victim_that_released_to_a_server_that_was_gone_hears_of_the_theft() {
    for compact in [false, true] {
        let mut world = World::new();
        let (mut victim, mut thief) = (world.local(1), world.local(2));
        let [held, kept, told] =
            ["k", "kept", "told"].map(|key| victim.ask(&mut world, key, |_| {}));
        world.advance(2 * SECOND);
        let [stolen, _] = ["k", "told"]
            .map(|key| thief.ask(&mut world, key, |ask| ask.options.steal_after = Some(SECOND)));
        assert!(thief.granted(&mut world, stolen).is_some());
        victim.end(&mut world, told);
        if compact {
            world.compact();
        }
        for _ in 0..2 {
            world.restart();
            if compact {
                world.compact();
            }
        }
        assert_eq!(victim.resume(&mut world), How::Restored);
        victim.events.clear();
        victim.say(&mut world, &Call::Holding { held: vec![kept], pending: vec![], more: false });
        let mut lost = victim.events.iter().map(|event| match event {
            Event::Lost { request, cause: LostCause::Stolen } => *request,
            event => panic!("{event:?}"),
        });
        assert_eq!(lost.next(), Some(held));
        // What it had given up is in the journal until that is written anew.
        assert_eq!(lost.next(), (!compact).then_some(told));
        assert_eq!(lost.next(), None);
        victim.end(&mut world, kept);
        assert_eq!(world.arbiter.snapshot().len(), {
            world.compact();
            world.restart();
            world.arbiter.snapshot().len()
        });
    }
}

#[test]
fn n4_after_a_restart_holders_keep_their_locks_and_rivals_wait() {
    for compact in [false, true] {
        let mut world = World::new();
        let (mut one, mut two) = (world.local(1), world.leased());
        let a = one.ask(&mut world, "a", |_| {});
        let nested = one.ask(&mut world, "a", |ask| ask.options.reentrant = true);
        let b = two.ask(&mut world, "b", |ask| ask.options.hold_at_least = Some(60 * SECOND));
        let gone = one.ask(&mut world, "gone", |_| {});
        one.end(&mut world, gone);
        assert!(one.granted(&mut world, nested).is_some());
        if compact {
            world.compact();
        }
        world.restart();
        let mut three = world.local(3);
        let c = three.ask(&mut world, "c", |_| {});
        let gone = three.ask(&mut world, "gone", |_| {});
        let wants = three.ask(&mut world, "a", |_| {});
        assert!(three.granted(&mut world, c) > Some(1), "free keys are granted at once");
        assert!(three.granted(&mut world, gone) > Some(1), "what was released is free");
        assert_eq!(one.resume(&mut world), How::Restored);
        let held = vec![a, nested];
        one.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
        one.end(&mut world, a);
        assert_eq!(three.granted(&mut world, wants), None, "the nested guard is still there");
        one.end(&mut world, nested);
        assert!(three.granted(&mut world, wants) > Some(1));
        // The other one does not come back within its lease, and its key stays reserved.
        world.advance(11 * SECOND);
        let rival = three.ask(&mut world, "b", |ask| ask.options.wait = Some(Wait::Try));
        assert_eq!(three.granted(&mut world, rival), None);
        world.advance(60 * SECOND);
        let rival = three.ask(&mut world, "b", |_| {});
        assert!(three.granted(&mut world, rival).is_some());
        assert_eq!(two.resume(&mut world), How::New);
        let _ = b;
    }
}

#[test]
fn n2_what_was_cut_off_is_repeated_and_applied_once() {
    let mut world = World::new();
    let mut one = world.local(1);
    let first = one.ask(&mut world, "k", |_| {});
    world.arbiter.disconnect(one.id);
    assert_eq!(one.resume(&mut world), How::Resumed);
    let token = one.granted(&mut world, first);
    assert!(token.is_some());
    one.end(&mut world, first);
    let second = one.ask(&mut world, "k", |_| {});
    assert!(one.granted(&mut world, second) > token);
}

#[test]
fn n1_a_leased_session_ends_with_its_lease_and_not_with_its_connection() {
    let mut world = World::new();
    let (mut one, mut two) = (world.leased(), world.leased());
    let held = one.ask(&mut world, "k", |_| {});
    let wants = two.ask(&mut world, "k", |_| {});
    world.arbiter.disconnect(one.id);
    for _ in 0..9 {
        world.advance(SECOND);
        two.say(&mut world, &Call::Ping);
    }
    assert_eq!(two.granted(&mut world, wants), None);
    assert_eq!(one.resume(&mut world), How::Resumed);
    for _ in 0..9 {
        world.advance(SECOND);
        two.say(&mut world, &Call::Ping);
    }
    assert_eq!(two.granted(&mut world, wants), None, "it was heard of when it resumed");
    world.advance(SECOND);
    assert!(two.granted(&mut world, wants).is_some());
    assert_eq!(one.resume(&mut world), How::New);
    let _ = held;
}

#[test]
fn n1_a_silent_session_goes_on_for_its_longest_hold_alone() {
    let mut world = World::new();
    let (mut one, mut two) = (world.leased(), world.local(2));
    let short = one.ask(&mut world, "short", |_| {});
    let long = one.ask(&mut world, "long", |ask| ask.options.lease = Some(60 * SECOND));
    let (a, b) = (two.ask(&mut world, "short", |_| {}), two.ask(&mut world, "long", |_| {}));
    world.advance(11 * SECOND);
    assert!(two.granted(&mut world, a).is_some());
    assert_eq!(two.granted(&mut world, b), None);
    world.advance(50 * SECOND);
    assert!(two.granted(&mut world, b).is_some());
    let _ = (short, long);
}

#[test]
fn n4_what_is_nested_in_a_guard_that_has_expired_outlives_a_restart() {
    let mut world = World::new();
    let (mut one, mut two) = (world.leased(), world.local(2));
    let outer = one.ask(&mut world, "k", |_| {});
    let nested = one.ask(&mut world, "k", |ask| {
        ask.options.reentrant = true;
        ask.options.lease = Some(60 * SECOND);
    });
    assert!(one.granted(&mut world, nested).is_some());
    world.advance(11 * SECOND);
    one.read(&mut world);
    let lost = |event: &Event| matches!(event, Event::Lost { request, .. } if *request == outer);
    assert!(one.events.iter().any(lost));
    world.restart();
    assert_eq!(two.resume(&mut world), How::New, "it has held nothing yet");
    let wants = two.ask(&mut world, "k", |_| {});
    assert_eq!(two.granted(&mut world, wants), None, "it is held for a minute");
    world.advance(61 * SECOND);
    assert!(two.granted(&mut world, wants).is_some());
}

#[test]
fn n4_a_nest_whose_bound_has_passed_while_no_server_ran_does_not_keep_the_next_from_starting() {
    let mut world = World::new();
    let (mut one, mut two) = (world.leased(), world.local(2));
    let outer = one.ask(&mut world, "k", |ask| ask.options.hold_at_most = Some(2 * SECOND));
    let nested = one.ask(&mut world, "k", |ask| ask.options.reentrant = true);
    assert!(one.granted(&mut world, nested).is_some());
    world.clock.advance(3 * SECOND);
    world.restart();
    assert_eq!(one.resume(&mut world), How::Restored);
    one.events.clear();
    one.say(&mut world, &Call::Holding { held: vec![outer, nested], pending: vec![], more: false });
    let lost = |of: u64| {
        one.events
            .iter()
            .any(|event| matches!(event, Event::Lost { request, .. } if *request == of))
    };
    assert!(lost(outer) && lost(nested), "{:?}", one.events);
    assert_eq!(two.resume(&mut world), How::New, "it has held nothing yet");
    let wants = two.ask(&mut world, "k", |_| {});
    assert!(two.granted(&mut world, wants).is_some());
    world.restart();
}

#[test]
fn n1_a_local_session_without_its_connection_ends_after_its_lease_unless_resumed() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "k", |_| {});
    let wants = two.ask(&mut world, "k", |_| {});
    world.advance(3600 * SECOND);
    assert_eq!(two.granted(&mut world, wants), None, "silence means nothing here");
    world.arbiter.disconnect(one.id);
    world.advance(9 * SECOND);
    assert_eq!(two.granted(&mut world, wants), None);
    world.advance(SECOND);
    assert!(two.granted(&mut world, wants).is_some());
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Unwatch { .. })));
}

fn anonymously(ask: &mut Acquire) {
    ask.owner = None;
    ask.within.clear();
}

#[test]
fn n1_a_session_that_is_resumed_with_nonsense_ends_without_a_connection() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "k", |_| {});
    let wants = two.ask(&mut world, "k", |_| {});
    let resume = Resume { received: 1000, ..one.resumption() };
    drop(line::Line::open(&mut world, one.kept, Some(resume)));
    world.advance(11 * SECOND);
    assert!(two.granted(&mut world, wants).is_some());
}

/// Its client would wait for an answer that never comes.
#[test]
fn n1_a_call_that_is_not_understood_has_not_arrived() {
    let mut world = World::new();
    let mut one = world.local(1);
    let held = one.ask(&mut world, "k", |_| {});
    assert!(one.granted(&mut world, held).is_some());
    let closed = |world: &World, line: &line::Line| {
        world.notices.iter().any(|notice| matches!(notice, Notice::Close(id) if *id == line.id))
    };
    one.say_nonsense(&mut world);
    world.round();
    assert!(closed(&world, &one));
    // It is repeated there.
    assert_eq!(one.resume(&mut world), How::Resumed);
    assert_eq!(one.opened.applied, 1);
    assert!(closed(&world, &one));
}

#[test]
fn n4_what_is_granted_in_one_moment_is_written_down_from_the_outside_in() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "k", |ask| ask.options.hold_at_most = Some(2 * SECOND));
    let waits = |ask: &mut Acquire| {
        ask.options.reentrant = true;
        ask.options.wait = Some(Wait::AtMost(60 * SECOND));
    };
    let outer = two.ask(&mut world, "k", waits);
    // Its own alarm has rung by then, so that it is looked at before the other one.
    let inner = two.ask(&mut world, "k", |ask| {
        waits(ask);
        ask.options.wait = Some(Wait::AtMost(SECOND));
    });
    world.advance(3 * SECOND);
    let token = two.granted(&mut world, outer);
    assert!(token.is_some() && two.granted(&mut world, inner) == token);
    world.restart();
    assert_eq!(two.resume(&mut world), How::Restored);
    let held = vec![outer, inner];
    two.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
    assert!(!two.events.iter().any(|event| matches!(event, Event::Lost { .. })));
}
