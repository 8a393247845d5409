//! What an outage may last (N7): the server is away, at each phase of renewal, and whoever holds a
//! lock keeps it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, ManualClock, Moment, Options, OwnerChain, ProcessInfo, Wait};

use crate::arbiter::{Arbiter, ArbiterSetup, ConnId, Limits, Notice, Peer};
use crate::client::{ClientSession, Hello, Reach, SessionSetup};
use crate::journal::{Ledger, SessionKind};
use crate::secret::Secured;
use crate::wire::Acquire;

/// From one end to the other.
const WAY: Duration = Duration::from_millis(2);

const STEP: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// Nothing arrives, and what was on its way, or began meanwhile, never does.
    BlackHole,
    /// The server is killed, and started again: connections end, and nobody listens.
    Killed,
    /// It is stopped: connections are made, and say nothing.
    Stopped,
}

/// One connection, seen from both ends.
struct Line {
    begun: Moment,
    up: VecDeque<(Moment, Vec<u8>)>,
    down: VecDeque<(Moment, Vec<u8>)>,
    server: Option<ConnId>,
    /// Nothing arrives any more, and nobody hears of that.
    is_dead: bool,
    /// The client sees its end.
    has_ended: bool,
    /// The client has closed it.
    is_closed: bool,
}

struct Rig {
    clock: ManualClock,
    limits: Limits,
    arbiter: Option<Arbiter>,
    journal: Vec<u8>,
    session: ClientSession,
    reach: Reach,
    lines: Vec<Line>,
    wire: Option<usize>,
    /// Those that are being made: number, line, and what was said if they are connected.
    attempts: Vec<(u64, usize, Option<Hello>)>,
    outage: Option<Outage>,
}

impl Rig {
    fn new(lease: Duration) -> Self {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(100));
        let limits = Limits { lease, ..Limits::default() };
        let session = ClientSession::new(SessionSetup {
            name: "simulated:".into(),
            clock: Arc::new(clock.clone()),
            party: ProcessInfo::default(),
            lease: None,
            connect: Duration::from_secs(2),
            random: Box::new(|bytes| bytes.fill(7)),
        });
        let mut rig = Self {
            clock,
            limits,
            arbiter: None,
            journal: Vec::new(),
            session,
            reach: Reach::default(),
            lines: Vec::new(),
            wire: None,
            attempts: Vec::new(),
            outage: None,
        };
        rig.start_server(1);
        rig
    }

    fn start_server(&mut self, life: u8) {
        let (ledger, _) = Ledger::read(&self.journal).unwrap();
        let made = Arbiter::new(ArbiterSetup {
            limits: self.limits.clone(),
            server: [life; 16],
            process: String::new(),
            clock: Arc::new(self.clock.clone()),
            boot_clock: Arc::new(self.clock.clone()),
            random: Box::new(|bytes| bytes.fill(9)),
            ledger,
            floor: locks_core::Token::new(100),
            promise: Box::new(|_, _, _| Ok(())),
            silent_for: None,
        });
        self.arbiter = Some(made.unwrap());
    }

    fn hold(&mut self) -> u64 {
        let mut options = Options::default();
        options.wait = Some(Wait::Forever);
        let acquire = Acquire {
            request: 0,
            keys: vec!["k".into()],
            options,
            owner: None,
            within: OwnerChain::new(),
            opens_scope: false,
            site: 0,
            waited: Duration::ZERO,
            label: None,
            shared: None,
        };
        let at = self.clock.now();
        let request = self.session.acquire(Box::new(acquire), None, at).unwrap();
        for _ in 0..1000 {
            self.step();
            if let std::task::Poll::Ready(granted) = self.session.poll_acquire(request, None) {
                granted.unwrap();
                return request;
            }
        }
        panic!("it is not granted");
    }

    fn run(&mut self, span: Duration) {
        let end = self.clock.now().after(span);
        while self.clock.now() < end {
            self.step();
        }
    }

    fn begin(&mut self, outage: Outage) {
        self.outage = Some(outage);
        match outage {
            Outage::BlackHole => self.lines.iter_mut().for_each(|line| line.is_dead = true),
            Outage::Killed => {
                self.arbiter = None;
                for line in &mut self.lines {
                    (line.has_ended, line.server) = (true, None);
                    line.down.clear();
                }
            }
            Outage::Stopped => {}
        }
    }

    fn end(&mut self) {
        if self.outage.take() == Some(Outage::Killed) {
            self.start_server(2);
        }
    }

    fn step(&mut self) {
        self.clock.advance(STEP);
        if self.outage.is_none() {
            self.serve();
        }
        self.take_part();
    }

    fn serve(&mut self) {
        let (now, Some(mut arbiter)) = (self.clock.now(), self.arbiter.take()) else { return };
        for line in self.lines.iter_mut().filter(|line| !line.is_dead) {
            if line.server.is_none() && !line.has_ended && line.begun.after(WAY) <= now {
                let peer = Peer::new(SessionKind::ByLease, None);
                line.server = Some(arbiter.connect(peer));
            }
            while line.up.front().is_some_and(|(at, _)| *at <= now) {
                let (Some((_, bytes)), Some(id)) = (line.up.pop_front(), line.server) else {
                    break;
                };
                arbiter.receive(id, &bytes);
            }
            if line.is_closed && line.up.is_empty() {
                line.server.take().into_iter().for_each(|id| arbiter.disconnect(id));
                line.is_dead = true;
            }
        }
        arbiter.run();
        for notice in arbiter.take_notices() {
            let (Notice::Output(id) | Notice::Close(id)) = notice else { continue };
            let mut bytes = Vec::new();
            arbiter.take_output(id, &mut bytes);
            let line = self.lines.iter_mut().find(|line| line.server == Some(id));
            if let Some(line) = line.filter(|_| !bytes.is_empty()) {
                line.down.push_back((now.after(WAY), bytes));
            }
        }
        self.journal.append(arbiter.journal());
        self.arbiter = Some(arbiter);
    }

    /// The client's side, as the link has it.
    fn take_part(&mut self) {
        let now = self.clock.now();
        let mut heard = Vec::new();
        if let Some(wire) = self.wire {
            let line = &mut self.lines[wire];
            while !line.is_dead && line.down.front().is_some_and(|(at, _)| *at <= now) {
                heard.extend(line.down.pop_front().map(|(_, bytes)| bytes));
            }
            for bytes in heard {
                self.session.receive(&bytes).unwrap();
                if self.session.is_open() {
                    self.reach.opened(now);
                }
            }
            if self.lines[wire].has_ended {
                self.lose();
            }
        }
        self.go_on();
        if self.session.tick() {
            self.lose();
        }
        let (silent, beat) = (self.session.silent_since(), self.session.beat());
        match self.wire {
            Some(_) if silent.is_none() => {
                self.attempts.clear();
                self.reach.end_beside();
            }
            Some(_) if self.reach.next_beside(silent, beat).is_some_and(|at| at <= now) => {
                self.dial();
            }
            None if self.session.wants_server() && self.reach.is_due(now) => {
                self.dial();
                self.reach.failed(now, self.session.beat(), 0);
            }
            _ => {}
        }
        let mut out = Vec::new();
        self.session.take_output(&mut out);
        if let Some(wire) = self.wire.filter(|_| !out.is_empty()) {
            self.lines[wire].up.push_back((now.after(WAY), out));
        }
        self.session.take_wakers().run();
    }

    fn dial(&mut self) {
        if self.arbiter.is_none() {
            return self.session.unreachable("nobody listens");
        }
        let begun = self.clock.now();
        let is_dead = self.outage == Some(Outage::BlackHole);
        self.lines.push(Line {
            begun,
            up: VecDeque::new(),
            down: VecDeque::new(),
            server: None,
            is_dead,
            has_ended: false,
            is_closed: false,
        });
        let (number, given_up) = self.reach.begin_beside(begun);
        self.attempts.retain(|(number, ..)| Some(*number) != given_up);
        self.attempts.push((number, self.lines.len() - 1, None));
        assert!(self.attempts.len() <= 4, "N7: four at most");
    }

    fn go_on(&mut self) {
        let now = self.clock.now();
        for place in (0..self.attempts.len()).rev() {
            let (_, at, said) = &self.attempts[place];
            let line = &self.lines[*at];
            let connected = !line.is_dead && line.begun.after(2 * WAY) <= now;
            let answered = line.down.front().is_some_and(|(at, _)| *at <= now);
            match (self.wire, said.is_some()) {
                (None, false) if connected => {
                    let (_, at, _) = self.attempts.remove(place);
                    self.wire = Some(at);
                    self.session.dialed(Secured::default());
                    self.reach.end_beside();
                    self.attempts.clear();
                    return;
                }
                (Some(_), false) if connected => {
                    let hello = self.session.hello(Secured::default());
                    self.lines[*at].up.push_back((now.after(WAY), hello.bytes.clone()));
                    self.attempts[place].2 = Some(hello);
                }
                (old, true)
                    if answered && (old.is_none() || self.session.silent_since().is_some()) =>
                {
                    let (_, at, hello) = self.attempts.remove(place);
                    old.into_iter().for_each(|old| self.lines[old].is_closed = true);
                    self.wire = Some(at);
                    self.session.joined(hello.unwrap());
                    self.reach.end_beside();
                    self.attempts.clear();
                    return;
                }
                _ => {}
            }
        }
    }

    fn lose(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.lines[wire].is_closed = true;
            self.reach.lost(self.clock.now());
            self.session.unreachable("the connection has ended");
            self.session.disconnected();
        }
    }
}

/// So long, of a lease, less five round trips.
fn outage(lease: Duration) -> Duration {
    lease * 7 / 10 - 10 * WAY
}

#[test]
fn n7_an_outage_of_seven_tenths_of_a_lease_costs_nobody_a_lock_at_any_phase() {
    for lease in [2000, 3000, 10_000].map(Duration::from_millis) {
        for kind in [Outage::BlackHole, Outage::Killed, Outage::Stopped] {
            // Over a period of renewal, and some more.
            for phase in 0..25 {
                let mut rig = Rig::new(lease);
                let request = rig.hold();
                rig.run(lease + lease * phase / 200);
                rig.begin(kind);
                rig.run(outage(lease));
                rig.end();
                rig.run(lease);
                let lost = rig.session.poll_lost(request, None);
                assert!(lost.is_pending(), "{kind:?}, lease {lease:?}, phase {phase}: {lost:?}");
                assert!(rig.session.is_open(), "{kind:?}, lease {lease:?}, phase {phase}");
            }
        }
    }
}

/// One after the other, with as little time in between as it takes to get a word through.
#[test]
fn n7_stops_one_after_the_other_cost_nobody_a_lock() {
    let lease = Duration::from_secs(2);
    for kind in [Outage::BlackHole, Outage::Stopped] {
        for phase in 0..25 {
            let mut rig = Rig::new(lease);
            let request = rig.hold();
            rig.run(lease + lease * phase / 200);
            for _ in 0..5 {
                rig.begin(kind);
                rig.run(Duration::from_millis(900));
                rig.end();
                rig.run(Duration::from_millis(300));
            }
            let lost = rig.session.poll_lost(request, None);
            assert!(lost.is_pending(), "{kind:?}, phase {phase}: {lost:?}");
        }
    }
}
