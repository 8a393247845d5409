//! Lists leave the others their time, and memory (N6).

use locks_core::{ErrorKind, Query};

use super::SECOND;
use super::line::{Line, World};
use crate::access::Client;
use crate::arbiter::Limits;
use crate::wire::{Call, Event};

impl Line {
    fn wants_list(&mut self, world: &mut World, call: u64, query: Query) {
        self.say(world, &Call::Inspect { call, query });
    }

    /// How many lists it has been told to the end.
    fn lists(&self) -> usize {
        self.events.iter().filter(|it| matches!(it, Event::Listed { more: false, .. })).count()
    }

    fn refused(&self) -> Vec<u64> {
        let refused = self.events.iter().filter_map(|event| match event {
            Event::Refused { call, error } if error.kind() == ErrorKind::LimitExceeded => {
                Some(*call)
            }
            _ => None,
        });
        refused.collect()
    }
}

fn hold(world: &mut World, line: &mut Line, keys: std::ops::Range<u32>) {
    for key in keys {
        line.ask(world, &key.to_string(), |_| {});
    }
    line.events.clear();
}

#[test]
fn n6_who_asks_for_lists_without_end_gets_a_part_of_the_time() {
    let mut world = World::new();
    let (mut holder, mut asks, mut other) = (world.local(1), world.local(2), world.local(3));
    hold(&mut world, &mut holder, 0..2000);
    for call in 1..=200 {
        asks.wants_list(&mut world, call, Query::All);
    }
    let at_once = asks.lists();
    assert!((1..50).contains(&at_once), "{at_once}");
    let wait = 200 - at_once - asks.refused().len();
    assert_eq!(wait, 16, "the others are refused");
    // Meanwhile the others go on.
    let request = other.ask(&mut world, "free", |_| {});
    assert!(other.granted(&mut world, request).is_some());
    other.say(&mut world, &Call::Status { call: 1 });
    assert!(matches!(other.events.last(), Some(Event::Status { .. })));
    other.wants_list(&mut world, 2, Query::Key("free".into()));
    assert_eq!(other.lists(), 0);
    // One of each in turn.
    while other.lists() == 0 {
        let next = world.arbiter.next_deadline().unwrap();
        world.advance(next.since(world.arbiter.now()));
        other.read(&mut world);
    }
    asks.read(&mut world);
    assert!(asks.lists() <= at_once + 2, "{}", asks.lists());
    for _ in 0..20 {
        world.advance(SECOND / 10);
        asks.read(&mut world);
    }
    assert_eq!(asks.lists(), at_once + 16);
    asks.wants_list(&mut world, 201, Query::All);
    assert_eq!(asks.lists(), at_once + 17);
}

#[test]
fn n6_a_client_with_a_namespace_pays_for_no_keys_of_others() {
    let mut world = World::new();
    let mut holder = world.local(1);
    let mut bounded = world.client("bounded", Client::new().namespace("1/"));
    hold(&mut world, &mut holder, 0..2000);
    let mut cost = |line: &mut Line, call: &Call| {
        world.advance(SECOND);
        line.say(&mut world, call);
        world.arbiter.lists.paid_until.since(world.arbiter.now())
    };
    let all = cost(&mut holder, &Call::Inspect { call: 9000, query: Query::All });
    let own = cost(&mut bounded, &Call::Inspect { call: 1, query: Query::All });
    let counts = cost(&mut bounded, &Call::Status { call: 2 });
    let foreign = cost(&mut bounded, &Call::Inspect { call: 3, query: Query::Key("7".into()) });
    assert!(!all.is_zero() && own < all / 10 && counts < all / 10 && foreign < all / 100);
}

#[test]
fn n6_long_lists_that_nobody_takes_in_are_bounded_and_make_way() {
    const WRITE_BUFFER: usize = 16 * 1024;
    let mut world = World::limited(Limits { write_buffer: WRITE_BUFFER, ..Limits::default() });
    let mut holder = world.local(1);
    hold(&mut world, &mut holder, 0..3000);
    let mut asking = (2..10).map(|pid| world.local(pid)).collect::<Vec<_>>();
    for line in &mut asking {
        world.advance(SECOND);
        line.say_unread(&mut world, &Call::Inspect { call: 1, query: Query::All });
    }
    let kept = |world: &World| {
        let lists = world.arbiter.sessions.values().filter_map(|it| it.long_list.as_ref());
        lists.map(super::super::lists::LongList::size).collect::<Vec<_>>()
    };
    let before = kept(&world);
    let longest = *before.iter().max().unwrap();
    assert!(before.iter().sum::<usize>() < 16 * WRITE_BUFFER + longest, "{before:?}");
    assert!(before.len() < asking.len());
    let last = asking.last_mut().unwrap();
    last.read(&mut world);
    assert_eq!(last.lists(), 0);
    // Two at a time, and the last one is left to take in its own.
    for _ in 0..asking.len() / before.len() - 1 {
        world.advance(world.limits.patience);
    }
    let last = asking.last_mut().unwrap();
    for _ in 0..1000 {
        last.say(&mut world, &Call::Ping);
    }
    assert_eq!(last.lists(), 1);
    let told = asking.iter_mut().map(|line| {
        line.read(&mut world);
        line.refused().len()
    });
    assert!(told.sum::<usize>() > 0, "those who made way are told");
}
