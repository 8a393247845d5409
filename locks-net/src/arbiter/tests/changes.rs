//! What a hold has become since it was granted, over a restart.

use locks_core::{Mode, Reserve, Wait};

use super::SECOND;
use super::line::World;
use crate::wire::{Call, How};

/// Restarts the server, from its journal or from a snapshot, half of the time.
fn restart(world: &mut World, compact: bool) {
    if compact {
        world.compact();
    }
    world.restart();
}

#[test]
fn n4_a_hold_that_was_downgraded_is_shared_after_a_restart() {
    for compact in [false, true] {
        let mut world = World::new();
        let (mut one, mut two) = (world.local(1), world.local(2));
        let held = one.ask(&mut world, "k", |_| {});
        let waits = two.ask(&mut world, "k", |ask| ask.options.mode = Mode::Shared);
        one.say(&mut world, &Call::Share { call: 90, request: held });
        assert!(two.granted(&mut world, waits).is_some());
        restart(&mut world, compact);
        for (line, request) in [(&mut one, held), (&mut two, waits)] {
            assert_eq!(line.resume(&mut world), How::Restored, "{compact}");
            let held = vec![request];
            line.say(&mut world, &Call::Holding { held, pending: vec![], more: false });
        }
        let mut three = world.local(3);
        let reads = three.ask(&mut world, "k", |ask| ask.options.mode = Mode::Shared);
        assert!(three.granted(&mut world, reads).is_some(), "{compact}");
        three.end(&mut world, reads);
        let writes = three.ask(&mut world, "k", |_| {});
        one.end(&mut world, held);
        assert_eq!(three.granted(&mut world, writes), None, "the other reader is still there");
        two.end(&mut world, waits);
        assert!(three.granted(&mut world, writes).is_some());
    }
}

#[test]
fn c14_what_was_done_before_a_restart_is_reserved_after_it_and_nothing_else() {
    for (done, compact) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = World::new();
        let mut one = world.local(1);
        let held = one.ask(&mut world, "k", |ask| {
            ask.options.hold_at_least = Some(60 * SECOND);
            ask.options.reserve = Reserve::IfDone;
        });
        if done {
            one.say(&mut world, &Call::Done { request: held });
        }
        restart(&mut world, compact);
        assert_eq!(one.resume(&mut world), How::Restored);
        one.say(&mut world, &Call::Holding { held: vec![held], pending: vec![], more: false });
        let mut two = world.local(2);
        let thief = two.ask(&mut world, "k", |ask| {
            ask.options.steal_after = Some(SECOND);
            ask.options.wait = Some(Wait::Try);
        });
        world.advance(2 * SECOND);
        assert_eq!(two.granted(&mut world, thief), None, "it is not stolen before its time");
        one.end(&mut world, held);
        restart(&mut world, compact);
        assert_eq!(two.resume(&mut world), How::New, "it has held nothing yet");
        let next = two.ask(&mut world, "k", |ask| ask.options.wait = Some(Wait::Try));
        assert_eq!(two.granted(&mut world, next).is_none(), done, "{done}, {compact}");
        world.advance(60 * SECOND);
        let late = two.ask(&mut world, "k", |_| {});
        assert_eq!(two.granted(&mut world, late).is_some(), done, "behind one's own, if not");
    }
}

#[test]
fn c14_what_was_done_before_a_restart_and_lost_after_it_is_not_reserved() {
    for compact in [true, false] {
        let mut world = World::new();
        let mut one = world.local(1);
        let held = one.ask(&mut world, "k", |ask| {
            ask.options.hold_at_least = Some(60 * SECOND);
            ask.options.hold_at_most = Some(10 * SECOND);
            ask.options.reserve = Reserve::IfDone;
        });
        one.say(&mut world, &Call::Done { request: held });
        restart(&mut world, compact);
        assert_eq!(one.resume(&mut world), How::Restored);
        one.say(&mut world, &Call::Holding { held: vec![held], pending: vec![], more: false });
        let mut two = world.local(2);
        let next = two.ask(&mut world, "k", |_| {});
        assert_eq!(two.granted(&mut world, next), None, "{compact}: it is held");
        world.advance(11 * SECOND);
        assert!(two.granted(&mut world, next).is_some(), "{compact}: it was lost");
    }
}
