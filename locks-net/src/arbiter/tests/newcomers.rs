//! Who goes where there are too many that have not opened a session (N5).

use std::net::IpAddr;

use super::SECOND;
use super::line::{Line, World};
use crate::arbiter::{ConnId, Limits, Notice, Peer};
use crate::journal::SessionKind;

const MOST: usize = 4;

fn world() -> World {
    World::limited(Limits { newcomers: MOST, ..Limits::default() })
}

fn peer(from: &str, is_familiar: bool) -> Peer {
    Peer { is_familiar, ..Peer::remote(from.parse::<IpAddr>().unwrap()) }
}

/// Connections come from these addresses, one after the other; known ones have a `+`. The places of
/// those that go.
fn come(world: &mut World, from: &[&str]) -> Vec<usize> {
    let ids = from.iter().map(|from| {
        let known = from.strip_suffix('+');
        world.arbiter.connect(peer(known.unwrap_or(from), known.is_some()))
    });
    let ids = ids.collect::<Vec<_>>();
    gone(world).iter().map(|gone| ids.iter().position(|id| id == gone).unwrap()).collect()
}

fn gone(world: &mut World) -> Vec<ConnId> {
    world.round();
    let notices = std::mem::take(&mut world.notices).into_iter();
    let closed = notices.filter_map(|notice| match notice {
        Notice::Close(id) => Some(id),
        _ => None,
    });
    closed.collect()
}

#[test]
fn n5_the_busiest_address_makes_room_and_its_oldest_connection_goes() {
    let crowd = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"];
    let gone = come(&mut world(), &[&crowd[..], &["10.0.0.4", "10.0.0.4"]].concat());
    assert_eq!(gone, [1, 4], "and of those that are left, again");
    let flood = ["10.0.0.9"; 20];
    let gone = come(&mut world(), &[&["10.0.0.1"], &flood[..], &["10.0.0.2"]].concat());
    assert_eq!(gone, (1..=18).collect::<Vec<_>>(), "the others stay");
}

#[test]
fn n5_an_address_from_which_somebody_was_let_in_comes_first() {
    let known = ["10.0.0.1+", "10.0.0.1+", "10.0.0.1+"];
    let gone = come(&mut world(), &[&known[..], &["10.0.0.2", "10.0.0.3", "10.0.0.4"]].concat());
    assert_eq!(gone, [3, 4], "strangers go, however few of an address there are");
    let gone = come(&mut world(), &[&known[..], &["10.0.0.2+", "10.0.0.2+", "10.0.0.3"]].concat());
    assert_eq!(gone, [0, 5], "where all are known, the busiest; a stranger does not push them out");
}

#[test]
fn n5_a_network_of_ipv6_is_one_address_and_this_machine_is_known() {
    let networks = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:2::2", "2001:db8:0:3::1"];
    let gone = come(&mut world(), &[&networks[..], &["2001:db8:0:4::1"]].concat());
    assert_eq!(gone, [1]);
    let mut world = world();
    let local = (0..3).map(|_| world.arbiter.connect(Peer::new(SessionKind::ByLease, None)));
    let local = local.collect::<Vec<_>>();
    assert_eq!(come(&mut world, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]), [0, 1]);
    world.arbiter.connect(Peer::new(SessionKind::ByLease, None));
    world.arbiter.connect(Peer::new(SessionKind::ByLease, None));
    assert_eq!(gone_last(&mut world), local[0]);
}

fn gone_last(world: &mut World) -> ConnId {
    gone(world).pop().unwrap()
}

#[test]
fn n6_who_is_asked_for_room_has_had_time_to_say_who_it_is() {
    let mut world = world();
    let known = world.arbiter.connect(peer("10.0.0.1", true));
    let slow = world.arbiter.connect(peer("10.0.0.2", false));
    world.advance(2 * SECOND);
    world.arbiter.connect(peer("10.0.0.3", false));
    for expected in [Some(slow), Some(known), None] {
        world.arbiter.make_room();
        assert_eq!(gone(&mut world).pop(), expected);
    }
    assert!(Line::open(&mut world, SessionKind::ByLease, None).is_ok());
}
