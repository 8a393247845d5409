//! One client's end of a connection, by hand.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, ManualClock, Options, OwnerId, ProcessInfo, Token, Wait};

use super::super::{Arbiter, ArbiterSetup, ConnId, Limits, Notice, Peer};
use crate::access::{Client, Clients, Fingerprint};
use crate::channel::{Arrived, Channel};
use crate::journal::{Ledger, Records, SessionKind};
use crate::pidfd::Process;
use crate::secret::Proving;
use crate::wire::{
    Acquire, Call, ClientHello, Event, FrameReader, Greeting, How, Open, Opened, Rejected, Resume,
    ServerHello, VERSIONS, decode_answer, put_frame, split_frame,
};

/// A server whose disk and clocks are in the test's hands.
pub(super) struct World {
    pub(super) arbiter: Arbiter,
    pub(super) clock: ManualClock,
    pub(super) disk: Vec<u8>,
    pub(super) notices: Vec<Notice>,
    pub(super) limits: Limits,
    lives: u8,
}

impl World {
    pub(super) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(super) fn limited(limits: Limits) -> Self {
        let clock = ManualClock::new();
        let arbiter = arbiter(&clock, limits.clone(), Ledger::default(), Token::new(0), 1);
        Self { arbiter, clock, disk: Vec::new(), notices: Vec::new(), limits, lives: 1 }
    }

    /// Ends a round as whoever drives does.
    pub(super) fn round(&mut self) {
        self.disk.append(self.arbiter.journal());
        self.notices.extend(self.arbiter.take_notices());
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.arbiter.run();
        self.round();
    }

    /// Kills the server and starts it again; of an unfinished round nothing is left.
    pub(super) fn restart(&mut self) {
        self.notices.clear();
        self.lives += 1;
        let (floor, _) = self.arbiter.promised();
        let mut records = Records::new(&self.disk);
        let mut ledger = Ledger::default();
        while let Some(record) = records.next().unwrap() {
            ledger.apply(record).unwrap();
        }
        assert_eq!(records.offset(), self.disk.len());
        self.arbiter = arbiter(&self.clock, self.limits.clone(), ledger, floor, self.lives);
        self.round();
    }

    /// Puts a snapshot in place of the journal.
    pub(super) fn compact(&mut self) {
        self.disk = self.arbiter.snapshot();
    }

    pub(super) fn local(&mut self, pid: u32) -> Line {
        Line::open(
            self,
            SessionKind::ByProcess(Process { pid, started: 7, ..Process::default() }),
            None,
        )
        .unwrap()
    }

    /// Over TCP, somebody of this name, who may do what `client` says.
    pub(super) fn client(&mut self, name: &str, client: Client) -> Line {
        Line::open_as(self, peer(name, client), None).unwrap()
    }

    pub(super) fn leased(&mut self) -> Line {
        Line::open(self, SessionKind::ByLease, None).unwrap()
    }
}

fn arbiter(clock: &ManualClock, limits: Limits, ledger: Ledger, floor: Token, life: u8) -> Arbiter {
    let mut state = u64::from(life);
    let random = move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 33) as u8;
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Arbiter::new(ArbiterSetup {
        limits,
        server: [life; 16],
        process: "test".into(),
        clock: clock.clone(),
        boot_clock: clock,
        random: Box::new(random),
        ledger,
        floor,
        promise: Box::new(|_, _, _| Ok(())),
        silent_for: None,
    })
    .unwrap()
}

/// How a client of this name comes, over TCP: by a certificate.
pub(super) fn peer(name: &str, client: Client) -> Peer {
    let shown = Fingerprint([1; 32]);
    let clients = Clients::new().client(name, client.certificate(shown)).unwrap();
    let proving = Proving { clients: clients.into(), client: Some(shown), ..Proving::default() };
    Peer::new(SessionKind::ByLease, Some(proving))
}

/// A client.
pub(super) struct Line {
    pub(super) id: ConnId,
    pub(super) kept: SessionKind,
    pub(super) opened: Opened,
    server: [u8; 16],
    channel: Channel,
    reader: FrameReader,
    pub(super) events: Vec<Event>,
    next: u64,
}

impl Line {
    pub(super) fn open(
        world: &mut World,
        kept: SessionKind,
        resume: Option<Resume>,
    ) -> Result<Self, Rejected> {
        Self::open_as(world, Peer::new(kept, None), resume)
    }

    /// One that comes so.
    pub(super) fn open_as(
        world: &mut World,
        peer: Peer,
        resume: Option<Resume>,
    ) -> Result<Self, Rejected> {
        let kept = peer.kept;
        let id = world.arbiter.connect(peer);
        let mut reader = FrameReader::new(1 << 20);
        let mut say = |world: &mut World, write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            put_frame(&mut bytes, write);
            world.arbiter.receive(id, &bytes);
            world.round();
            let mut answer = Vec::new();
            world.arbiter.take_output(id, &mut answer);
            reader.push(&answer);
            reader.next().unwrap().map(<[u8]>::to_vec).unwrap_or_default()
        };
        let hello = ClientHello { version: VERSIONS.newest, nonce: [9; 32] };
        let answer = say(world, &|body| hello.encode(body));
        let server = decode_answer::<ServerHello>(&answer).unwrap()?.server;
        let party = ProcessInfo::default();
        let open = Open { resume, party, lease: None };
        let answer = say(world, &|body| open.encode(body));
        let opened = decode_answer::<Opened>(&answer).unwrap()?;
        let (channel, events) = (Channel::default(), Vec::new());
        Ok(Self { id, kept, opened, server, channel, reader, events, next: 0 })
    }

    /// What brings the session back.
    pub(super) fn resumption(&self) -> Resume {
        Resume {
            realm: self.opened.realm,
            secret: self.opened.secret,
            server: self.server,
            received: self.channel.applied(),
        }
    }

    /// A new connection for the session, after the old one was cut.
    pub(super) fn resume(&mut self, world: &mut World) -> How {
        let fresh = Self::open(world, self.kept, Some(self.resumption())).unwrap();
        let how = fresh.opened.how;
        (self.id, self.opened, self.server) = (fresh.id, fresh.opened, fresh.server);
        self.reader = fresh.reader;
        if how == How::Resumed {
            let mut bytes = Vec::new();
            self.channel.repeat(self.opened.applied, &mut bytes).unwrap();
            world.arbiter.receive(self.id, &bytes);
        } else {
            self.channel = Channel::default();
        }
        self.read(world);
        how
    }

    pub(super) fn say(&mut self, world: &mut World, call: &Call) {
        self.say_unread(world, call);
        self.read(world);
    }

    /// As [`say`](Self::say), and nothing that the server answers arrives.
    pub(super) fn say_in_vain(&mut self, world: &mut World, calls: &[Call]) {
        calls.iter().for_each(|call| self.say_unread(world, call));
        world.round();
        world.arbiter.take_output(self.id, &mut Vec::new());
    }

    /// As [`say`](Self::say), and nothing is read.
    pub(super) fn say_unread(&mut self, world: &mut World, call: &Call) {
        let (mut message, mut bytes) = (Vec::new(), Vec::new());
        call.encode(&mut message);
        self.channel.send(&message, world.clock.now(), Some(&mut bytes));
        world.arbiter.receive(self.id, &bytes);
    }

    /// Says what is no call.
    pub(super) fn say_nonsense(&mut self, world: &mut World) {
        let mut bytes = Vec::new();
        self.channel.send(&[200], world.clock.now(), Some(&mut bytes));
        world.arbiter.receive(self.id, &bytes);
    }

    /// Says the first half of a frame.
    pub(super) fn say_half(&self, world: &mut World) {
        world.arbiter.receive(self.id, &100_u32.to_le_bytes());
        world.arbiter.receive(self.id, &[7; 50]);
        world.round();
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, world: &mut World) {
        world.round();
        let mut bytes = Vec::new();
        world.arbiter.take_output(self.id, &mut bytes);
        self.reader.push(&bytes);
        while let Some(body) = self.reader.next().unwrap() {
            let (number, ack, message) = split_frame(body).unwrap();
            self.channel.acknowledged(ack).unwrap();
            if number > 0 && self.channel.arrived(number).unwrap() == Arrived::New {
                self.events.push(Event::decode(message).unwrap());
            }
        }
    }

    pub(super) fn ask(
        &mut self,
        world: &mut World,
        key: &str,
        change: impl FnOnce(&mut Acquire),
    ) -> u64 {
        self.next += 1;
        let request = self.next;
        let mut options = Options::default();
        options.wait = Some(Wait::Forever);
        let owner = OwnerId::from_parts(0, 1, 5);
        let mut acquire = Acquire {
            request,
            keys: vec![key.to_owned()],
            options,
            owner,
            within: owner.into_iter().collect(),
            opens_scope: false,
            site: 0,
            waited: Duration::ZERO,
            label: None,
            shared: None,
        };
        change(&mut acquire);
        self.say(world, &Call::Acquire(Box::new(acquire)));
        request
    }

    pub(super) fn end(&mut self, world: &mut World, request: u64) {
        self.say(world, &Call::End { request });
    }

    /// The token that a request has been granted since this was asked last.
    pub(super) fn granted(&mut self, world: &mut World, wanted: u64) -> Option<u64> {
        self.read(world);
        self.events.iter().find_map(|event| match event {
            Event::Granted { request, token, .. } if *request == wanted => Some(token.get()),
            _ => None,
        })
    }
}
