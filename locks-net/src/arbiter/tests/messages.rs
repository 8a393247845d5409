//! Messages among clients (N8): who gets them, and that nothing of them grows.

use locks_core::{ErrorKind, ProcessInfo};

use super::SECOND;
use super::line::{Line, World};
use crate::arbiter::Limits;
use crate::arbiter::session::MessageTotals;
use crate::wire::{Call, Event, How, Keep, Note, Publish, Published};

fn note(subject: &str, length: usize) -> Note {
    Note { subject: subject.into(), content: vec![7; length], timeout: None, keep: Keep::Both }
}

pub(super) fn to(receivers: &[&str]) -> Publish {
    let receivers = receivers.iter().map(|name| (*name).to_owned()).collect();
    Publish { note: note("s", 10), to_self: false, receivers }
}

impl Line {
    pub(super) fn mailbox(&mut self, world: &mut World, open: bool) {
        self.say(world, &Call::Mailbox { call: 77, open, count: 0, bytes: 0 });
    }

    pub(super) fn publish(&mut self, world: &mut World, publish: Publish) -> (u32, u32) {
        self.say(world, &Call::Publish { call: 78, publish: Box::new(publish) });
        let told = self.events.iter().rev().find_map(|event| match event {
            Event::Published { call: 78, published: Published { delivered, full } } => {
                Some((*delivered, *full))
            }
            _ => None,
        });
        told.expect("it is answered")
    }

    pub(super) fn messages(&mut self, world: &mut World) -> usize {
        self.read(world);
        let came = std::mem::take(&mut self.events);
        came.iter().filter(|event| matches!(event, Event::Message { .. })).count()
    }
}

fn named(world: &mut World, pid: u32, label: Option<&str>, process: &str) -> Line {
    let line = world.local(pid);
    let session = world.arbiter.sessions.get_mut(&line.opened.realm).unwrap();
    let mut party = ProcessInfo::default();
    (party.label, party.process) = (label.map(str::to_owned), Some(process.into()));
    session.party = party;
    line
}

#[test]
fn n8_a_message_goes_to_all_who_want_any_or_to_those_it_names() {
    let mut world = World::new();
    let mut one = named(&mut world, 1, Some("one"), "app");
    let mut two = named(&mut world, 2, Some("two"), "app");
    let mut three = named(&mut world, 3, None, "app");
    let mut deaf = named(&mut world, 4, Some("two"), "app");
    for line in [&mut one, &mut two, &mut three] {
        line.mailbox(&mut world, true);
    }
    assert_eq!(one.publish(&mut world, to(&[])), (2, 0));
    assert_eq!(deaf.publish(&mut world, to(&["two"])), (1, 0));
    assert_eq!(deaf.publish(&mut world, to(&["app", "nobody"])), (1, 0), "by its program's name");
    assert_eq!(one.publish(&mut world, to(&["one"])), (0, 0), "not to oneself");
    assert_eq!(one.publish(&mut world, Publish { to_self: true, ..to(&["one"]) }), (1, 0));
    assert_eq!(one.publish(&mut world, Publish { to_self: true, ..to(&[]) }), (3, 0));
    assert_eq!((two.messages(&mut world), three.messages(&mut world)), (3, 3));
    assert_eq!(deaf.messages(&mut world), 0);
    two.mailbox(&mut world, false);
    assert_eq!(one.publish(&mut world, to(&["two"])), (0, 0));
}

#[test]
fn n8_whoever_has_no_room_gets_none_until_it_has_taken_some() {
    let limits = Limits {
        messages_per_client: 3,
        message_bytes_per_client: 1000,
        messages: 4,
        message_bytes: 5000,
        ..Limits::default()
    };
    let mut world = World::limited(limits);
    let (mut one, mut two, mut sender) = (world.local(1), world.local(2), world.local(3));
    one.mailbox(&mut world, true);
    let sent = (0..5).map(|_| sender.publish(&mut world, to(&[]))).collect::<Vec<_>>();
    assert_eq!(sent, [(1, 0), (1, 0), (1, 0), (0, 1), (0, 1)], "count, of one client");
    two.mailbox(&mut world, true);
    assert_eq!(sender.publish(&mut world, to(&[])), (1, 1));
    assert_eq!(sender.publish(&mut world, to(&[])), (0, 2), "count, of all");
    assert_eq!((one.messages(&mut world), two.messages(&mut world)), (3, 1));
    let bytes = note("s", 10).size() as u64;
    one.say(&mut world, &Call::Taken { count: 3, bytes: 3 * bytes });
    let large = Publish { note: note("s", 900), ..to(&[]) };
    assert_eq!(sender.publish(&mut world, large), (1, 1), "bytes, of one client");
    // Whatever a client says that it has taken.
    one.say(&mut world, &Call::Taken { count: u32::MAX, bytes: u64::MAX });
    two.say(&mut world, &Call::Taken { count: u32::MAX, bytes: u64::MAX });
    assert_eq!(world.arbiter.mail, MessageTotals::default());
    // Or that it has: nothing is sent to it, and all others hear as before.
    one.say(&mut world, &Call::Mailbox { call: 1, open: true, count: u32::MAX, bytes: u64::MAX });
    assert_eq!(sender.publish(&mut world, to(&[])), (1, 1));
    two.say(&mut world, &Call::Taken { count: 1, bytes });
    assert_eq!(world.arbiter.mail, MessageTotals::default());
    // As much as it says has to leave before it has room again.
    one.say(&mut world, &Call::Taken { count: u32::MAX, bytes: u64::MAX });
    assert_eq!(sender.publish(&mut world, to(&[])), (2, 0));
    one.mailbox(&mut world, false);
    two.mailbox(&mut world, false);
    assert_eq!(world.arbiter.mail, MessageTotals::default());
}

/// What a client says that it has takes up nothing of the server's, and none of what others may
/// have (N6).
#[test]
fn n8_what_clients_say_that_they_have_uses_up_nothing_of_others() {
    let mut world =
        World::limited(Limits { messages: 4, messages_per_client: 3, ..Limits::default() });
    let claim = |world: &mut World, line: &mut Line, count| {
        line.say(world, &Call::Mailbox { call: 1, open: true, count, bytes: 100 });
    };
    let mut theirs = (1..=4).map(|pid| world.local(pid)).collect::<Vec<_>>();
    for line in &mut theirs {
        claim(&mut world, line, 3);
    }
    let (mut one, mut sender) = (world.local(5), world.local(6));
    one.mailbox(&mut world, true);
    assert_eq!(sender.publish(&mut world, to(&[])), (1, 4));
    // What it has taken of that is no longer there, and what has come since is.
    claim(&mut world, &mut theirs[0], 2);
    assert_eq!(sender.publish(&mut world, to(&[])), (2, 3));
    theirs[0].say(&mut world, &Call::Taken { count: 2, bytes: 100 });
    assert_eq!(world.arbiter.mail.count, 3, "two of one, and one of theirs");
    theirs[0].say(&mut world, &Call::Taken { count: 1, bytes: 1000 });
    assert_eq!(world.arbiter.mail.count, 2);
}

#[test]
fn n8_what_is_too_long_is_refused() {
    let mut world = World::limited(Limits { message: 1000, ..Limits::default() });
    let mut line = world.local(1);
    let publish = Box::new(Publish { note: note("s", 1000), ..to(&[]) });
    line.say(&mut world, &Call::Publish { call: 5, publish });
    let refused = line.events.iter().find_map(|event| match event {
        Event::Refused { call: 5, error } => Some(error),
        _ => None,
    });
    let error = refused.expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("takes 1000 at most (`message`)"), "{error}");
}

#[test]
fn n8_the_end_of_a_receiver_leaves_nothing() {
    let mut world = World::new();
    let (mut dies, mut leaves, mut sender) = (world.local(1), world.leased(), world.local(3));
    for line in [&mut dies, &mut leaves] {
        line.mailbox(&mut world, true);
    }
    for _ in 0..10 {
        assert_eq!(sender.publish(&mut world, to(&[])), (2, 0));
    }
    // Not even read.
    world.arbiter.disconnect(dies.id);
    assert_eq!(sender.publish(&mut world, to(&[])), (2, 0), "it may come back");
    world.arbiter.process_ended(dies.opened.realm);
    assert_eq!(sender.publish(&mut world, to(&[])), (1, 0));
    world.arbiter.disconnect(leaves.id);
    world.advance(60 * SECOND);
    assert_eq!(sender.publish(&mut world, to(&[])), (0, 0));
    assert_eq!(world.arbiter.mail, MessageTotals::default());
    assert_eq!(world.arbiter.live_sessions(), 1);
}

#[test]
fn n8_what_is_on_its_way_comes_after_a_cut_and_not_after_a_restart() {
    let mut world = World::new();
    let (mut receiver, mut sender) = (world.local(1), world.local(2));
    receiver.ask(&mut world, "k", |_| {});
    receiver.mailbox(&mut world, true);
    world.arbiter.disconnect(receiver.id);
    sender.publish(&mut world, to(&[]));
    assert_eq!(receiver.resume(&mut world), How::Resumed);
    assert_eq!(receiver.messages(&mut world), 1);
    world.restart();
    assert_eq!(receiver.resume(&mut world), How::Restored);
    assert_eq!(world.arbiter.mail, MessageTotals::default());
}
