//! Row 37: servers, holders and clients that do not see each other, in namespaces of process
//! numbers of their own.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::directory::until;
use crate::means;
use crate::peer::Peer;
use crate::place::{Place, Way, assert_nothing_left};
use crate::program::program_in;

/// As a container's, which has its own numbers and its own `/proc`.
const INSIDE: &[&str] = &["--pid", "--fork", "--mount-proc", "--kill-child"];

/// The same with the `/proc` of those outside, where numbers mean other processes.
const BLIND: &[&str] = &["--pid", "--fork", "--kill-child"];

fn can_unshare() -> bool {
    let words = means::unshare(INSIDE);
    means::can_run_in_namespaces(Command::new(&words[0]).args(&words[1..]).arg("true"))
}

fn peer_in(place: &Place, by: &[&str]) -> Peer {
    Peer::start_as(program_in("peer", by), &place.told())
}

/// What `unshare` has started.
fn inner(outer: Pid) -> Pid {
    let pid = outer.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

fn kill(peer: &mut Peer) {
    peer.send_kill();
    peer.reap();
}

#[test]
fn row_37_clients_and_servers_in_namespaces_of_their_own_meet() {
    if !can_unshare() {
        return;
    }
    for way in [Way::Unix, Way::Machine] {
        for (server, client) in [(None, INSIDE), (Some(INSIDE), &[][..]), (None, BLIND)] {
            let place = Place::new(way);
            let name = if way == Way::Machine { "host" } else { "server" };
            let command = program_in(name, server.unwrap_or_default());
            let mut serving = place.standby_as(command);
            place.let_serve(&mut serving);
            let mut first = if client.is_empty() { place.peer() } else { peer_in(&place, client) };
            let mut second = place.peer();
            let held = first.take("k", "");
            let waiting = second.begin("k", "");
            waiting.assert_waits();
            // It is kept by its process: its end is known at once, wherever it was.
            kill(&mut first);
            let held_next = waiting.granted();
            assert!(held_next.token > held.token, "C7");
            second.release(held_next).unwrap();
            assert_nothing_left(&place.client());
        }
    }
}

/// The server and its client's process are inside, and who takes over sees them by other numbers,
/// or not at all.
#[test]
fn row_37_a_take_over_from_another_namespace_grants_nothing_twice() {
    if !can_unshare() {
        return;
    }
    for (way, successor) in [(Way::Unix, &[][..]), (Way::Unix, INSIDE), (Way::Machine, &[][..])] {
        let place = Place::new(way);
        let name = if way == Way::Machine { "host" } else { "server" };
        let mut serving = place.standby_as(program_in(name, INSIDE));
        place.let_serve(&mut serving);
        let [mut holder, mut other] = [peer_in(&place, INSIDE), peer_in(&place, INSIDE)];
        let (held, gone) = (holder.take("k", ""), other.take("gone", ""));
        // As if it were too slow to come back at once.
        let stopped = inner(holder.pid());
        crate::peer::stop(stopped);
        let server = inner(serving.pid());
        serving.kill();
        until("it is gone", || kill_process(server, Signal::CONT).is_err());
        let mut next = place.standby_as(program_in(name, successor));
        place.let_serve(&mut next);
        let mut newcomer = place.peer();
        newcomer.contended("k", "");
        newcomer.contended("gone", "");
        kill_process(stopped, Signal::CONT).unwrap();
        holder.refresh(held).expect("row 37: it has lost nothing");
        newcomer.contended("k", "");
        other.refresh(gone).expect("row 37: it has lost nothing");
        let waiting = newcomer.begin("gone", "");
        kill(&mut other);
        let next_held = waiting.granted();
        assert!(next_held.token > gone.token, "C7");
        newcomer.release(next_held).unwrap();
        holder.release(held).unwrap();
        let last = newcomer.take("k", "");
        assert!(last.token > held.token, "C7");
        newcomer.release(last).unwrap();
        until("it serves", || newcomer.status()[2] == 0);
    }
}
