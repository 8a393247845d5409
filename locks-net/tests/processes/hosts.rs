//! Rows 7, 16 and 37: two hosts, which are network namespaces, and a line between them that is
//! slow, loses packets, and is cut. What is carried by it, and when, is `../hosts.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::directory::until;
use crate::means;
use crate::peer::{Peer, now};
use crate::place::{Place, Serving, Way};
use crate::program::program_by;

/// Ends with all that is on them when this is dropped.
struct Hosts {
    line: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Processes in the namespaces.
    inhabitants: [String; 2],
}

/// Where the server is.
const NEAR: usize = 0;
const FAR: usize = 1;

const LEASE: Duration = Duration::from_secs(4);

impl Hosts {
    /// `None` where they cannot be had, and may be left out.
    fn new() -> Option<Self> {
        let mut tries = Command::new("unshare");
        tries.args([
            "--net",
            "sh",
            "-c",
            "test -w /dev/net/tun && nsenter --version && python3 --version",
        ]);
        let mend = "run as root with CAP_NET_ADMIN, where /dev/net/tun is there, and install `nsenter` (util-linux) and \
                    python3";
        if !means::can_run(&mut tries, mend) {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hosts.py");
        let mut line = Command::new("python3");
        line.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut line = line.spawn().unwrap();
        let input = line.stdin.take().unwrap();
        let mut output = BufReader::new(line.stdout.take().unwrap());
        let mut said = String::new();
        output.read_line(&mut said).unwrap();
        let (near, far) = said.trim().split_once(' ').expect("the hosts are there");
        let inhabitants = [near.to_owned(), far.to_owned()];
        Some(Self { line, input, output, inhabitants })
    }

    /// What is `name` on that host.
    fn program(&self, name: &str, host: usize) -> Command {
        program_by(name, &["nsenter", "--target", &self.inhabitants[host], "--net"])
    }

    fn peer(&self, place: &Place, host: usize) -> Peer {
        Peer::start_as(self.program("peer", host), &place.told())
    }

    /// A server on the near one.
    fn serve(&self) -> (Place, Serving) {
        let place = Place::with_limits(Way::Tcp, &format!("lease={}", LEASE.as_millis()));
        place.listen_at("10.77.0.1:0");
        let mut serving = place.standby_as(self.program("server", NEAR));
        place.let_serve(&mut serving);
        (place, serving)
    }

    /// 100 ms there and back, and each twentieth packet is lost, in either direction.
    fn slow(&mut self) {
        self.tell("slow 50 20");
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").and_then(|()| self.input.flush()).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "ok", "{what}");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.line.kill();
        let _ = self.line.wait();
    }
}

#[test]
fn row_7_two_hosts_exclude_each_other_over_a_line_that_is_slow_and_loses_packets() {
    let Some(mut hosts) = Hosts::new() else { return };
    let (place, _serving) = hosts.serve();
    let (mut near, mut far) = (hosts.peer(&place, NEAR), hosts.peer(&place, FAR));
    hosts.slow();
    let mut last = 0;
    let mut take_turns = |first: &mut Peer, second: &mut Peer| {
        let held = first.take("k", "");
        second.contended("k", "");
        let waiting = second.begin("k", "");
        waiting.assert_waits();
        first.check(held).expect("C8: it is renewed");
        first.release(held).unwrap();
        let next = waiting.granted();
        assert!(last < held.token && held.token < next.token, "C7");
        last = next.token;
        second.release(next).unwrap();
    };
    for _ in 0..3 {
        take_turns(&mut far, &mut near);
        take_turns(&mut near, &mut far);
    }
    // For longer than it would be kept without renewals.
    let (held, since) = (far.take("k", ""), now());
    let waiting = near.begin("k", "");
    until("a lease is over", || u128::from(now() - since) > LEASE.as_nanos() * 5 / 4);
    far.check(held).expect("C8: it is renewed");
    assert!(!waiting.is_answered(), "C1");
    far.release(held).unwrap();
    let held = waiting.granted();
    near.release(held).unwrap();
}

#[test]
fn row_16_of_two_hosts_that_are_cut_off_the_holder_is_told_before_its_rival_is_granted() {
    let Some(mut hosts) = Hosts::new() else { return };
    let (place, _serving) = hosts.serve();
    let (mut near, mut far) = (hosts.peer(&place, NEAR), hosts.peer(&place, FAR));
    hosts.slow();
    let held = far.take("k", "");
    let others = near.take("other", "");
    let rival = near.begin("k", "");
    let waiter = far.begin("other", "wait=120000");
    until("both wait", || near.status()[3] == 2);
    let watched = far.watch(held);
    hosts.tell("cut");
    let next = rival.granted();
    let last_held = watched.last_held();
    assert!(held.at < last_held, "it was held at first");
    assert!(last_held < next.at, "C8: known too late, by {} ns", last_held - next.at);
    assert!(next.token > held.token, "C7");
    assert!(!waiter.is_answered(), "it waits on");
    // What waits beyond the cut is served once that is healed, and what is granted is not touched.
    hosts.tell("heal");
    until("it is back, and waits", || near.status()[3] == 1);
    near.check(next).expect("C4: the late release of what is lost is nobody's loss");
    near.release(others).unwrap();
    let served = waiter.granted();
    assert!(served.token > others.token, "C7");
    far.contended("k", "");
    near.release(next).unwrap();
    let again = far.take("k", "");
    assert!(again.token > next.token, "C7");
    far.release(again).unwrap();
    far.release(served).unwrap();
}
