//! What is counted, and what an operator sees (N9, N12).

use std::time::Duration;

use locks_core::{LostCause, Mode, Token, Wait};

use super::SECOND;
use super::line::World;
use crate::arbiter::{Losses, Refusals};
use crate::wire::{Call, Event};

#[test]
fn n12_each_end_of_a_request_is_counted_once_and_as_what_it_was() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    // Released; waited for and granted; refused at once; given up after a second.
    let first = one.ask(&mut world, "k", |_| {});
    let second = two.ask(&mut world, "k", |_| {});
    world.advance(2 * SECOND);
    one.ask(&mut world, "k", |ask| ask.options.wait = Some(Wait::Try));
    one.end(&mut world, first);
    one.ask(&mut world, "k", |ask| ask.options.wait = Some(Wait::AtMost(SECOND)));
    world.advance(SECOND);
    // Stolen, held for too long, released by the operator.
    let stolen = one.ask(&mut world, "k", |ask| {
        (ask.options.wait, ask.options.steal_after) = (Some(Wait::Try), Some(SECOND));
    });
    one.ask(&mut world, "bounded", |ask| ask.options.hold_at_most = Some(SECOND));
    world.advance(SECOND);
    let token = Token::new(one.granted(&mut world, stolen).unwrap());
    assert!(world.arbiter.release_for_operator("k", token).unwrap());
    assert!(!world.arbiter.release_for_operator("k", token).unwrap());
    // Shared, a permit; both end with their process.
    two.ask(&mut world, "s", |ask| ask.options.mode = Mode::Shared);
    two.ask(&mut world, "p", |ask| ask.options.mode = Mode::Permit { take: 1, of: 2 });
    world.arbiter.process_ended(two.opened.realm);

    let figures = world.arbiter.observe(false).figures;
    assert_eq!((figures.exclusive, figures.shared, figures.permits), (4, 1, 1));
    assert_eq!(
        (figures.waits, figures.releases, figures.evictions, figures.sessions),
        (2, 1, 1, 2)
    );
    assert_eq!(figures.refusals, Refusals { contended: 1, timeout: 1, ..Refusals::default() });
    let losses =
        Losses { stolen: 1, held_too_long: 1, evicted: 1, session_ended: 2, ..Losses::default() };
    assert_eq!(figures.losses, losses);
    assert_eq!((figures.waited.total(), figures.waited.sum()), (1, 2 * SECOND));
    assert_eq!(figures.held.total(), figures.releases + figures.losses.total());
    assert_eq!(figures.grants(), figures.held.total(), "nothing is held any more");
    assert_eq!(second, 1, "a client's first request");
}

#[test]
fn n12_a_silent_clients_locks_are_counted_as_expired_and_a_farewell_as_releases() {
    let mut world = World::new();
    let (mut silent, mut polite) = (world.leased(), world.leased());
    silent.ask(&mut world, "a", |_| {});
    polite.ask(&mut world, "b", |_| {});
    polite.say(&mut world, &Call::Bye);
    world.advance(60 * SECOND);
    let figures = world.arbiter.observe(false).figures;
    assert_eq!((figures.releases, figures.losses.expired, figures.losses.total()), (1, 1, 1));
}

#[test]
fn n9_an_operator_sees_who_holds_and_waits_and_takes_away() {
    let mut world = World::new();
    let (mut holder, mut waiter) = (world.local(1), world.local(2));
    let held = holder.ask(&mut world, "k", |_| {});
    let waiting = waiter.ask(&mut world, "k", |_| {});
    world.advance(3 * SECOND);
    world.arbiter.disconnect(waiter.id);

    let seen = world.arbiter.observe(true);
    assert_eq!((seen.holds, seen.connected, seen.status.waiters), (1, 1, 1));
    let [lock] = &seen.locks[..] else { panic!("{:?}", seen.locks) };
    assert_eq!(lock.key, "k");
    assert_eq!(lock.holders[0].age, Some(Duration::from_secs(3)));
    assert_eq!(lock.waiters[0].waited, Duration::from_secs(3));
    let clients = seen.clients.iter();
    let clients =
        clients.map(|client| (client.number, client.connected, client.holds, client.waits));
    let (one, two) = (holder.opened.realm, waiter.opened.realm);
    assert_eq!(clients.collect::<Vec<_>>(), [(one, true, 1, 0), (two, false, 0, 1)]);
    assert!(world.arbiter.observe(false).locks.is_empty());

    let token = Token::new(holder.granted(&mut world, held).unwrap());
    world.arbiter.release_for_operator("k", token).unwrap();
    holder.read(&mut world);
    let lost = |event: &Event| matches!(event, Event::Lost { cause: LostCause::Evicted, .. });
    assert!(holder.events.iter().any(lost));
    // And the next one has it, as the journal will say.
    waiter.resume(&mut world);
    assert!(waiter.granted(&mut world, waiting).is_some());
}
