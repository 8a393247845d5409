use std::time::Duration;

use locks_core::{ErrorKind, Query, Wait};
use rustix::time::{ClockId, clock_gettime};

use super::super::leases::DIFFERENT_LEASES;
use super::super::{Limits, Notice};
use super::line::{Line, World};
use super::{SECOND, anonymously};
use crate::wire::{Acquire, Call, Event, How};

/// What has been refused to a client.
fn refusals(line: &Line) -> Vec<(u64, ErrorKind)> {
    let refused = line.events.iter().filter_map(|event| match event {
        Event::Refused { call, error } => Some((*call, error.kind())),
        _ => None,
    });
    refused.collect()
}

fn is_closed(world: &World) -> bool {
    world.notices.iter().any(|notice| matches!(notice, Notice::Close(_)))
}

#[test]
fn n6_newcomers_hit_limits_and_holders_do_not() {
    let mut world = World::limited(Limits { sessions: 1, waiters: 1, ..Limits::default() });
    let mut one = world.local(1);
    let held = one.ask(&mut world, "k", |_| {});
    let refused = Line::open(&mut world, one.kept, None).err().unwrap();
    assert!(refused.text.contains("(`sessions`)"), "{}", refused.text);
    let other = one.ask(&mut world, "k", anonymously);
    let third = one.ask(&mut world, "k", anonymously);
    let error = one.events.iter().find_map(|event| match event {
        Event::Refused { call, error } if *call == third => Some(error),
        _ => None,
    });
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::LimitExceeded));
    one.end(&mut world, held);
    assert!(one.granted(&mut world, other).is_some());
    world.arbiter.disconnect(one.id);
    assert_eq!(one.resume(&mut world), How::Resumed, "who resumes is let in");
}

#[test]
fn n6_who_asks_for_a_key_in_use_takes_no_room() {
    let mut world = World::limited(Limits { keys: 1, ..Limits::default() });
    let mut one = world.local(1);
    let held = one.ask(&mut world, "k", |_| {});
    let same = one.ask(&mut world, "k", anonymously);
    let new = one.ask(&mut world, "new", anonymously);
    let refused = one.events.iter().filter_map(|event| match event {
        Event::Refused { call, error } => Some((*call, error.kind())),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(new, ErrorKind::LimitExceeded)]);
    one.end(&mut world, held);
    assert!(one.granted(&mut world, same).is_some());
}

#[test]
fn n6_a_request_for_several_keys_takes_room_for_each() {
    let mut world = World::limited(Limits { keys: 3, ..Limits::default() });
    let mut one = world.local(1);
    let mut ask = |world: &mut World, keys: &[&str]| {
        one.ask(world, "", |ask| ask.keys = keys.iter().copied().map(str::to_owned).collect())
    };
    let two = ask(&mut world, &["a", "b"]);
    let many = ask(&mut world, &["c", "d"]);
    let fits = ask(&mut world, &["c"]);
    let full = ask(&mut world, &["d"]);
    assert_eq!(
        refusals(&one),
        [(many, ErrorKind::LimitExceeded), (full, ErrorKind::LimitExceeded)]
    );
    one.end(&mut world, two);
    // They are not counted each time.
    world.advance(SECOND / 1000);
    let again = one.ask(&mut world, "", |ask| {
        anonymously(ask);
        ask.keys = ["c", "d", "e"].map(str::to_owned).into();
    });
    one.end(&mut world, fits);
    assert!(one.granted(&mut world, again).is_some(), "one of them is there already");
}

#[test]
fn n6_a_request_costs_the_same_however_many_keys_are_held() {
    let mut world = World::new();
    let mut one = world.local(1);
    let mut hold = |world: &mut World, keys: std::ops::Range<u32>| {
        // What this thread has worked, whoever else wants the processor.
        let worked = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let at = worked();
        for key in keys {
            one.ask(world, &key.to_string(), |_| {});
            one.events.clear();
        }
        worked() - at
    };
    let first = (0..5).map(|round| hold(&mut world, round * 100..(round + 1) * 100)).min();
    hold(&mut world, 500..40_000);
    let last =
        (0..5).map(|round| hold(&mut world, 40_000 + round * 100..40_100 + round * 100)).min();
    assert!(last < first.map(|first| 10 * first), "{first:?}, and then {last:?}");
}

#[test]
fn n6_a_list_that_is_too_long_to_be_told_at_once_is_told_bit_by_bit() {
    let mut world = World::limited(Limits { write_buffer: 64 * 1024, ..Limits::default() });
    let mut one = world.local(1);
    for key in 0..9000 {
        one.ask(&mut world, &key.to_string(), |_| {});
    }
    one.events.clear();
    one.say(&mut world, &Call::Inspect { call: 90_000, query: Query::All });
    let parts = |line: &Line| {
        let infos = line.events.iter().filter_map(|event| match event {
            Event::Listed { call: 90_000, infos, more } => Some((infos.len(), *more)),
            _ => None,
        });
        infos.collect::<Vec<_>>()
    };
    let at_once = parts(&one).len();
    assert!(parts(&one).iter().all(|(_, more)| *more), "{:?}", parts(&one));
    one.say(&mut world, &Call::Inspect { call: 90_002, query: Query::All });
    let refused = one.events.iter().find_map(|event| match event {
        Event::Refused { call: 90_002, error } => Some(error.kind()),
        _ => None,
    });
    assert_eq!(refused, Some(ErrorKind::LimitExceeded), "one at a time");
    while parts(&one).last().is_none_or(|(_, more)| *more) {
        let before = parts(&one).len();
        one.say(&mut world, &Call::Ping);
        assert!(parts(&one).len() > before, "what is acknowledged makes room for more");
    }
    assert!(parts(&one).len() > at_once);
    assert_eq!(parts(&one).iter().map(|(count, _)| count).sum::<usize>(), 9000);
    one.events.clear();
    one.say(&mut world, &Call::Inspect { call: 90_001, query: Query::Prefix("899".into()) });
    let [Event::Listed { infos, more: false, .. }] = &one.events[..] else { panic!() };
    assert_eq!(infos.len(), 11);
    assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::Close(_))));
}

#[test]
fn n6_a_session_has_so_many_different_leases_and_any_number_of_the_same() {
    let mut world = World::new();
    let (mut one, mut local) = (world.leased(), world.local(2));
    let own = one.opened.lease;
    let lease = |number: usize| 20 * SECOND + SECOND * number as u32;
    let ask = |world: &mut World, line: &mut Line, key: &str, lease| {
        line.ask(world, key, |ask| {
            anonymously(ask);
            ask.options.lease = Some(lease);
        })
    };
    let first = ask(&mut world, &mut one, "k", lease(0));
    // Those that wait have theirs already.
    let waiting = (1..DIFFERENT_LEASES)
        .map(|number| ask(&mut world, &mut one, "k", lease(number)))
        .collect::<Vec<_>>();
    let too_many = ask(&mut world, &mut one, "free", lease(DIFFERENT_LEASES));
    assert_eq!(refusals(&one), [(too_many, ErrorKind::LimitExceeded)]);
    let Some(Event::Refused { error, .. }) = one.events.last() else { panic!() };
    assert!(error.to_string().contains("at most 64 different leases"), "{error}");
    for lease in [lease(5), own] {
        let same = ask(&mut world, &mut one, &format!("{lease:?}"), lease);
        assert!(one.granted(&mut world, same).is_some(), "{lease:?}");
    }
    for number in 0..=DIFFERENT_LEASES {
        let key = format!("local {number}");
        let not_kept_by_it = ask(&mut world, &mut local, &key, lease(number));
        assert!(local.granted(&mut world, not_kept_by_it).is_some());
    }
    // Given up by one that waits, and granted to all others in turn.
    one.end(&mut world, waiting[0]);
    let there_is_room = ask(&mut world, &mut one, "free", lease(DIFFERENT_LEASES));
    assert!(one.granted(&mut world, there_is_room).is_some());
    one.end(&mut world, first);
    for waits in &waiting[1..] {
        assert!(one.granted(&mut world, *waits).is_some());
        one.end(&mut world, *waits);
    }
    one.events.clear();
    let many = (100..100 + DIFFERENT_LEASES - 2)
        .map(|number| ask(&mut world, &mut one, &format!("{number}"), lease(number)));
    let many = many.collect::<Vec<_>>();
    assert_eq!(refusals(&one), []);
    assert!(many.into_iter().all(|request| one.granted(&mut world, request).is_some()));
    ask(&mut world, &mut one, "last", lease(99));
    assert_eq!(refusals(&one).len(), 1);
}

#[test]
fn n1_a_lease_that_is_only_asked_for_keeps_no_session() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.leased());
    one.ask(&mut world, "k", |_| {});
    two.ask(&mut world, "k", |ask| ask.options.lease = Some(60 * SECOND));
    world.advance(11 * SECOND);
    assert_eq!(two.resume(&mut world), How::New);
}

#[test]
fn n6_who_resumes_names_no_more_than_it_can_have_been_granted() {
    for (named, closed) in [(4, true), (3, false)] {
        let mut world = World::limited(Limits { requests_per_session: 3, ..Limits::default() });
        let mut one = world.local(1);
        let held = one.ask(&mut world, "k", |_| {});
        world.restart();
        assert_eq!(one.resume(&mut world), How::Restored);
        // It may have asked for more than that, and was not answered yet.
        let (first, pending) = (vec![held, held + 1], (100..200).collect());
        one.say(&mut world, &Call::Holding { held: first, pending, more: true });
        let session = &world.arbiter.sessions[&one.opened.realm];
        assert_eq!((session.named.0.len(), session.named.1.len()), (2, 0));
        let (rest, pending) = ((held + 2..held + named).collect(), vec![]);
        one.say(&mut world, &Call::Holding { held: rest, pending, more: false });
        assert_eq!(is_closed(&world), closed);
        let how = one.resume(&mut world);
        assert_eq!(how, if closed { How::Restored } else { How::Resumed });
    }
}

#[test]
fn n6_who_resumes_keeps_what_it_was_granted_under_a_higher_limit() {
    let mut world = World::new();
    let mut one = world.local(1);
    let held = ["a", "b", "c"].map(|key| one.ask(&mut world, key, |_| {}));
    world.limits.requests_per_session = 1;
    world.restart();
    assert_eq!(one.resume(&mut world), How::Restored);
    one.say(&mut world, &Call::Holding { held: held.to_vec(), pending: vec![], more: false });
    assert!(!is_closed(&world));
    assert_eq!(world.arbiter.live_keys(), 3);
}

#[test]
fn n6_where_nobody_else_may_wait_whoever_need_not_is_served() {
    let mut world = World::limited(Limits { waiters: 1, ..Limits::default() });
    let (mut one, mut two, mut three) = (world.local(1), world.local(2), world.local(3));
    let held = one.ask(&mut world, "k", |_| {});
    let waits = two.ask(&mut world, "k", |_| {});
    let nested = one.ask(&mut world, "k", |ask| ask.options.reentrant = true);
    assert!(one.granted(&mut world, nested).is_some());
    let free = three.ask(&mut world, "free", |_| {});
    let set = three.ask(&mut world, "a", |ask| ask.keys = vec!["a".into(), "b".into()]);
    assert!(three.granted(&mut world, free).is_some() && three.granted(&mut world, set).is_some());
    let written = world.disk.len();
    let wait = |wait| move |ask: &mut Acquire| ask.options.wait = Some(wait);
    let no_wait = three.ask(&mut world, "k", wait(Wait::Try));
    let no_time = three.ask(&mut world, "k", wait(Wait::AtMost(Duration::ZERO)));
    let some_time = three.ask(&mut world, "k", wait(Wait::AtMost(SECOND)));
    let for_ever = three.ask(&mut world, "k", |ask| ask.options.wait = None);
    let in_part = three.ask(&mut world, "c", |ask| ask.keys = vec!["c".into(), "k".into()]);
    let refused = [
        (no_wait, ErrorKind::Contended),
        (no_time, ErrorKind::Timeout),
        (some_time, ErrorKind::LimitExceeded),
        (for_ever, ErrorKind::LimitExceeded),
        (in_part, ErrorKind::LimitExceeded),
    ];
    assert_eq!(refusals(&three), refused);
    let Some(Event::Refused { error, .. }) = three.events.last() else { panic!() };
    assert!(error.to_string().starts_with("`k` is in use, "), "{error}");
    assert!(error.to_string().contains("(`waiters`)"), "{error}");
    assert_eq!((world.disk.len(), world.arbiter.live_keys()), (written, 4));
    world.advance(2 * SECOND);
    let stolen = three.ask(&mut world, "k", |ask| ask.options.steal_after = Some(SECOND));
    assert!(three.granted(&mut world, stolen).is_some(), "a theft that is due is no wait");
    assert_eq!(two.granted(&mut world, waits), None);
    three.end(&mut world, stolen);
    assert!(two.granted(&mut world, waits).is_some());
    let _ = held;
}

#[test]
fn n6_who_may_not_wait_takes_nothing_from_others() {
    let mut world = World::limited(Limits { waiters: 0, ..Limits::default() });
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "a", |_| {});
    world.advance(2 * SECOND);
    one.ask(&mut world, "b", |_| {});
    one.events.clear();
    let written = world.disk.len();
    let both = |ask: &mut Acquire| {
        ask.keys = vec!["a".into(), "b".into()];
        ask.options.steal_after = Some(SECOND);
    };
    let early = two.ask(&mut world, "a", both);
    assert_eq!(refusals(&two), [(early, ErrorKind::LimitExceeded)]);
    one.read(&mut world);
    assert!(one.events.is_empty() && world.disk.len() == written, "{:?}", one.events);
    let free = two.ask(&mut world, "c", |ask| {
        both(ask);
        ask.keys = vec!["c".into(), "d".into()];
    });
    assert!(two.granted(&mut world, free).is_some());
}

#[test]
fn n6_what_is_said_of_a_guard_again_and_again_takes_no_more_room_than_is_kept_for_it() {
    let mut world = World::new();
    let mut one = world.local(1);
    let request = one.ask(&mut world, "k", |_| {});
    let written = world.disk.len();
    for call in 1000..3000 {
        one.say(&mut world, &Call::Disown { request });
        one.say(&mut world, &Call::Done { request });
        one.say(&mut world, &Call::Share { call, request });
    }
    let done = one.events.iter().filter(|event| matches!(event, Event::Done { .. }));
    assert_eq!(done.count(), 2000);
    one.end(&mut world, request);
    let more = world.disk.len() - written;
    assert!(more <= super::super::paper::END, "{more}");
    world.restart();
}
