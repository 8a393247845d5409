//! One owner of several clients (C9), and what is left of a hold when one of them has gone.

use std::time::Duration;

use locks_core::{ErrorKind, LockInfo, LostCause, Query, SharedOwner, Wait};

use super::SECOND;
use super::line::{Line, World};
use crate::wire::{Acquire, Call, Event, How};

fn owner() -> SharedOwner {
    SharedOwner::from_bytes([7; 16])
}

/// In the name of that owner, by this client's thread.
fn shares(ask: &mut Acquire) {
    (ask.owner, ask.shared) = (None, Some(owner()));
}

fn enters(ask: &mut Acquire) {
    shares(ask);
    ask.options.reentrant = true;
}

fn lost(line: &Line, request: u64) -> Option<LostCause> {
    line.events.iter().find_map(|event| match event {
        Event::Lost { request: lost, cause } if *lost == request => Some(*cause),
        _ => None,
    })
}

fn list(line: &mut Line, world: &mut World) -> Vec<LockInfo> {
    line.events.clear();
    line.say(world, &Call::Inspect { call: 99, query: Query::All });
    let listed = line.events.drain(..).find_map(|event| match event {
        Event::Listed { infos, .. } => Some(infos),
        _ => None,
    });
    listed.expect("it was asked for")
}

#[test]
fn c9_a_hold_that_was_handed_over_is_what_it_was_after_a_restart() {
    for compact in [false, true] {
        let mut world = World::new();
        let (mut parent, mut child) = (world.local(1), world.leased());
        let outer = parent.ask(&mut world, "k", shares);
        let inner = child.ask(&mut world, "k", enters);
        let token = parent.granted(&mut world, outer);
        assert!(token.is_some() && child.granted(&mut world, inner) == token);
        if compact {
            world.compact();
        }
        world.restart();
        for (line, request) in [(&mut parent, outer), (&mut child, inner)] {
            assert_eq!(line.resume(&mut world), How::Restored, "{compact}");
            let held = vec![request];
            line.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
            assert_eq!(lost(line, request), None);
        }
        let mut third = world.local(3);
        let waits = third.ask(&mut world, "k", |_| {});
        let again = third.ask(&mut world, "k", enters);
        assert_eq!(third.granted(&mut world, again), token, "it is the same owner still");
        third.end(&mut world, again);
        parent.end(&mut world, outer);
        assert_eq!(third.granted(&mut world, waits), None, "the child has a guard");
        let infos = list(&mut third, &mut world);
        let holder = &infos[0].holders[0];
        assert_eq!((holder.owner, holder.depth), (Some(owner().id()), 1));
        assert_eq!(holder.owner.unwrap().realm(), child.opened.realm, "it is the child's");
        child.end(&mut world, inner);
        assert!(third.granted(&mut world, waits) > token);
    }
}

/// The lease of one runs out, or its process ends: the other one's guard stays, and outlives a
/// restart.
#[test]
fn c9_the_end_of_a_session_takes_its_own_guards_alone() {
    for child_ends in [true, false] {
        let mut world = World::new();
        let (mut parent, mut child) = (world.local(1), world.leased());
        let outer = parent.ask(&mut world, "k", shares);
        let inner = child.ask(&mut world, "k", enters);
        assert!(child.granted(&mut world, inner).is_some());
        let mut third = world.local(3);
        let waits = third.ask(&mut world, "k", |_| {});
        let (line, request) = if child_ends {
            world.advance(11 * SECOND);
            (&mut parent, outer)
        } else {
            world.arbiter.disconnect(parent.id);
            world.arbiter.process_ended(parent.opened.realm);
            (&mut child, inner)
        };
        line.read(&mut world);
        assert_eq!(lost(line, request), None);
        assert_eq!(third.granted(&mut world, waits), None);
        world.restart();
        assert_eq!(line.resume(&mut world), How::Restored);
        let held = vec![request];
        line.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
        assert_eq!(lost(line, request), None);
        let mut third = world.local(3);
        let waits = third.ask(&mut world, "k", |_| {});
        assert_eq!(third.granted(&mut world, waits), None);
        line.end(&mut world, request);
        assert!(third.granted(&mut world, waits).is_some(), "{child_ends}");
    }
}

#[test]
fn c9_a_theft_is_told_to_all_who_share_the_owner() {
    let mut world = World::new();
    let (mut parent, mut child, mut thief) = (world.local(1), world.local(2), world.local(3));
    let outer = parent.ask(&mut world, "k", shares);
    let inner = child.ask(&mut world, "k", enters);
    world.advance(2 * SECOND);
    let steals = thief.ask(&mut world, "k", |ask| ask.options.steal_after = Some(SECOND));
    assert!(thief.granted(&mut world, steals).is_some());
    for (line, request) in [(&mut parent, outer), (&mut child, inner)] {
        line.read(&mut world);
        assert_eq!(lost(line, request), Some(LostCause::Stolen));
    }
    // A successor would refuse a journal in which one of them goes on.
    world.restart();
    assert_eq!(thief.resume(&mut world), How::Restored);
    let held = vec![steals];
    thief.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
    assert_eq!(lost(&thief, steals), None);
}

/// They are woken in any order, and a nest in the journal begins with its outermost guard.
#[test]
fn n4_grants_of_one_moment_to_two_clients_are_written_down_from_the_outside_in() {
    let mut world = World::new();
    let (mut one, mut two, mut three) = (world.local(1), world.local(2), world.local(3));
    one.ask(&mut world, "k", |ask| ask.options.hold_at_most = Some(2 * SECOND));
    let outer = two.ask(&mut world, "k", |ask| {
        enters(ask);
        ask.options.wait = Some(Wait::AtMost(60 * SECOND));
    });
    // Its own alarm has rung by then, so that it is looked at before the other one.
    let inner = three.ask(&mut world, "k", |ask| {
        enters(ask);
        ask.options.wait = Some(Wait::AtMost(SECOND));
    });
    world.advance(3 * SECOND);
    let token = two.granted(&mut world, outer);
    assert!(token.is_some() && three.granted(&mut world, inner) == token);
    world.restart();
    for (line, request) in [(&mut two, outer), (&mut three, inner)] {
        assert_eq!(line.resume(&mut world), How::Restored);
        let held = vec![request];
        line.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
        assert_eq!(lost(line, request), None);
    }
}

/// Who it is that waits is known after a restart as before: its thread, and not all who share its
/// name.
#[test]
fn c10_a_cycle_through_a_shared_owner_is_found_after_a_restart_too() {
    for restarts in [false, true] {
        let mut world = World::new();
        let (mut one, mut two) = (world.local(1), world.local(2));
        let a = one.ask(&mut world, "a", shares);
        let b = two.ask(&mut world, "b", |_| {});
        if restarts {
            world.restart();
            for (line, request) in [(&mut one, a), (&mut two, b)] {
                assert_eq!(line.resume(&mut world), How::Restored);
                let held = vec![request];
                line.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
            }
        }
        let mut other = world.local(3);
        other.ask(&mut world, "b", shares);
        two.ask(&mut world, "a", |_| {});
        let refused = |line: &Line| {
            line.events.iter().find_map(|event| match event {
                Event::Refused { error, .. } => Some(error.kind()),
                _ => None,
            })
        };
        two.read(&mut world);
        assert_eq!(refused(&two), None, "that another of its name waits is no cycle");
        one.ask(&mut world, "b", |_| {});
        assert_eq!(refused(&one), Some(ErrorKind::Deadlock), "{restarts}");
    }
}

#[test]
fn c12_a_label_outlives_a_restart() {
    for compact in [false, true] {
        let mut world = World::new();
        let mut one = world.local(1);
        let held = one.ask(&mut world, "k", |ask| {
            ask.label = Some("order 17".into());
            ask.options.hold_at_most = Some(Duration::from_secs(600));
        });
        let plain = one.ask(&mut world, "l", |ask| ask.label = Some("order 18".into()));
        if compact {
            world.compact();
        }
        world.restart();
        assert_eq!(one.resume(&mut world), How::Restored);
        let held = vec![held, plain];
        one.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
        let infos = list(&mut one, &mut world);
        let labels = infos.iter().map(|info| info.holders[0].label.as_deref());
        assert_eq!(Vec::from_iter(labels), [Some("order 17"), Some("order 18")]);
    }
}
