use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, ManualClock, Mode, Options, OwnerId, ProcessInfo, Token, Wait};

use crate::arbiter::{Arbiter, ArbiterSetup, ConnId, Limits, Peer};
use crate::channel::{Arrived, Channel};
use crate::journal::{Ledger, Records, SessionKind};
use crate::pidfd::Process;
use crate::wire::{
    Acquire, Call, ClientHello, Event, FrameReader, Greeting, How, Open, Opened, Resume,
    ServerHello, VERSIONS, put_frame, split_frame,
};

/// A server and three clients. The bytes say what they do: ask for keys and give them up, in all
/// ways, lose their connections, and wait; and the server is killed and started again.
///
/// # Panics
/// If two clients hold what excludes each other, a client is told what it does not expect, or the
/// journal cannot be read.
pub fn arbiter(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let clock = ManualClock::new();
    let mut world = FuzzedServer {
        arbiter: start(&clock, Ledger::default(), Token::new(0), 1),
        clock,
        disk: Vec::new(),
        lives: 1,
    };
    let mut clients = [1, 2, 3].map(|pid| FuzzedClient::new(&mut world, pid));
    while let Some(what) = bytes.next() {
        let mut next = || bytes.next().unwrap_or(0);
        let client = &mut clients[usize::from(what % 3)];
        match what / 3 % 12 {
            0..=4 => client.ask(&mut world, &mut next),
            5 | 6 => client.end(&mut world, u64::from(next())),
            7 => {
                world.clock.advance(Duration::from_millis(u64::from(next()) * 20));
                world.arbiter.run();
            }
            8 => {
                world.arbiter.disconnect(client.id);
                client.connect(&mut world);
            }
            9 => world.restart(&mut clients),
            10 => client.call(&mut world, &mut next),
            _ => {
                let raw = (0..next() % 64).map(|_| next()).collect::<Vec<_>>();
                client.say_anything(&mut world, &raw);
            }
        }
        world.disk.append(world.arbiter.journal());
        for client in &mut clients {
            client.read(&mut world);
        }
        exclude_each_other(&clients);
    }
    world.restart(&mut clients);
    exclude_each_other(&clients);
}

struct FuzzedServer {
    arbiter: Arbiter,
    clock: ManualClock,
    disk: Vec<u8>,
    lives: u8,
}

fn start(clock: &ManualClock, ledger: Ledger, floor: Token, life: u8) -> Arbiter {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let mut state = u64::from(life);
    let random = Box::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
    });
    Arbiter::new(ArbiterSetup {
        limits: Limits::default(),
        server: [life; 16],
        process: "fuzzed".into(),
        clock: clock.clone(),
        boot_clock: clock,
        random,
        ledger,
        floor,
        promise: Box::new(|_, _, _| Ok(())),
        silent_for: None,
    })
    .expect("a journal that can be read can be gone on from")
}

impl FuzzedServer {
    fn restart(&mut self, clients: &mut [FuzzedClient]) {
        self.disk.append(self.arbiter.journal());
        let (floor, _) = self.arbiter.promised();
        let (mut records, mut ledger) = (Records::new(&self.disk), Ledger::default());
        while let Some(record) = records.next().expect("the journal can be read") {
            ledger.apply(record).expect("the journal makes sense");
        }
        self.lives = self.lives.wrapping_add(1);
        self.arbiter = start(&self.clock, ledger, floor, self.lives);
        clients.iter_mut().for_each(|client| client.connect(self));
    }

    fn exchange(&mut self, id: ConnId, greeting: &impl Greeting) -> Vec<u8> {
        let (mut bytes, mut answer) = (Vec::new(), Vec::new());
        put_frame(&mut bytes, |body| greeting.encode(body));
        self.arbiter.receive(id, &bytes);
        self.disk.append(self.arbiter.journal());
        self.arbiter.take_output(id, &mut answer);
        answer
    }
}

struct FuzzedClient {
    id: ConnId,
    kept: SessionKind,
    session: Option<(Opened, [u8; 16])>,
    channel: Channel,
    reader: FrameReader,
    next: u64,
    /// What was asked for and is not answered, and what is held.
    pending: BTreeMap<u64, (Vec<String>, Mode)>,
    held: BTreeMap<u64, (Vec<String>, Mode)>,
}

impl FuzzedClient {
    fn new(world: &mut FuzzedServer, pid: u32) -> Self {
        let mut client = Self {
            id: ConnId(0),
            kept: SessionKind::ByProcess(Process { pid, started: 7, ..Process::default() }),
            session: None,
            channel: Channel::default(),
            reader: FrameReader::new(1 << 20),
            next: 0,
            pending: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        client.connect(world);
        client
    }

    fn connect(&mut self, world: &mut FuzzedServer) {
        self.id = world.arbiter.connect(Peer::new(self.kept, None));
        self.reader = FrameReader::new(1 << 20);
        let hello = ClientHello { version: VERSIONS.newest, nonce: [9; 32] };
        let answer = world.exchange(self.id, &hello);
        let server = ServerHello::decode(&answer[4..]).expect("a hello").server;
        let received = self.channel.applied();
        let resume = self.session.as_ref().map(|(opened, server)| {
            let Opened { realm, secret, .. } = *opened;
            Resume { realm, secret, server: *server, received }
        });
        let open = Open { resume, party: ProcessInfo::default(), lease: None };
        let answer = world.exchange(self.id, &open);
        self.reader.push(&answer);
        let opened = self.reader.next().expect("a frame").expect("an answer");
        let opened = Opened::decode(opened).expect("that the session is open");
        let (how, applied) = (opened.how, opened.applied);
        self.session = Some((opened, server));
        if how == How::Resumed {
            let mut bytes = Vec::new();
            self.channel.repeat(applied, &mut bytes).expect("what was sent");
            world.arbiter.receive(self.id, &bytes);
        } else {
            self.channel = Channel::default();
            self.pending.clear();
        }
        match how {
            How::Restored => {
                let held = self.held.keys().copied().collect();
                self.say(world, &Call::Holding { held, pending: Vec::new(), more: false });
            }
            How::New => self.held.clear(),
            How::Resumed => {}
        }
        self.read(world);
    }

    fn say(&mut self, world: &mut FuzzedServer, call: &Call) {
        let (mut message, mut bytes) = (Vec::new(), Vec::new());
        call.encode(&mut message);
        self.channel.send(&message, world.clock.now(), Some(&mut bytes));
        world.arbiter.receive(self.id, &bytes);
    }

    fn ask(&mut self, world: &mut FuzzedServer, next: &mut dyn FnMut() -> u8) {
        let (which, how, who, times) = (next(), next(), next(), next());
        self.next += 1;
        let mut keys = ["a", "b", "c"].iter().enumerate();
        let mut keys = keys
            .by_ref()
            .filter(|(bit, _)| which & (1 << bit) != 0)
            .map(|(_, key)| (*key).to_owned())
            .collect::<Vec<_>>();
        if keys.is_empty() {
            keys.push("d".into());
        }
        let mut options = Options::default();
        let time =
            |bit: u8| (times & (1 << bit) != 0).then(|| Duration::from_millis(u64::from(how) * 8));
        options.mode = match how % 4 {
            0 | 1 => Mode::Exclusive,
            2 => Mode::Shared,
            _ => Mode::Permit { take: 1 + u32::from(times >> 4 & 1), of: 2 },
        };
        options.wait = match how / 4 % 3 {
            0 => Some(Wait::Forever),
            1 => Some(Wait::Try),
            _ => Some(Wait::AtMost(Duration::from_millis(300))),
        };
        options.reentrant = how & 64 != 0;
        options.fair = [None, Some(true), Some(false)][usize::from(times >> 6) % 3];
        (options.steal_after, options.hold_at_least, options.hold_at_most) =
            (time(0), time(1), time(2));
        let owner = OwnerId::from_parts(0, who % 6, u64::from(who / 6 % 2));
        let acquire = Acquire {
            request: self.next,
            keys: keys.clone(),
            options,
            owner,
            within: owner.into_iter().collect(),
            opens_scope: who & 128 != 0,
            site: 0,
            waited: time(3).unwrap_or_default(),
            label: None,
            shared: None,
        };
        self.pending.insert(self.next, (keys, options.mode));
        self.say(world, &Call::Acquire(Box::new(acquire)));
    }

    fn end(&mut self, world: &mut FuzzedServer, which: u64) {
        let request = which % (self.next + 1);
        self.pending.remove(&request);
        self.held.remove(&request);
        self.say(world, &Call::End { request });
    }

    fn call(&mut self, world: &mut FuzzedServer, next: &mut dyn FnMut() -> u8) {
        let (what, which) = (next(), u64::from(next()));
        let (call, request) = (1_000_000 + which, which % (self.next + 1));
        self.say(
            world,
            &match what % 6 {
                0 => Call::Refresh { call, request },
                1 => Call::Disown { request },
                2 => Call::Inspect { call, query: locks_core::Query::All },
                3 => Call::Evict { call, key: "a".into(), token: Token::new(which) },
                4 => Call::Status { call },
                _ => Call::Ping,
            },
        );
    }

    /// If it is a call at all, and none that this client would have to know of.
    fn say_anything(&mut self, world: &mut FuzzedServer, raw: &[u8]) {
        match Call::decode(raw) {
            Ok(
                call @ (Call::Inspect { .. }
                | Call::Evict { .. }
                | Call::Name { .. }
                | Call::Publish { .. }
                | Call::Mailbox { .. }
                | Call::Taken { .. }
                | Call::Ping
                | Call::Status { .. }),
            ) => self.say(world, &call),
            Ok(Call::Acquire(mut acquire)) => {
                self.next += 1;
                (acquire.request, acquire.site) = (self.next, 0);
                self.pending.insert(self.next, (acquire.keys.clone(), acquire.options.mode));
                self.say(world, &Call::Acquire(acquire));
            }
            _ => {}
        }
    }

    fn read(&mut self, world: &mut FuzzedServer) {
        let mut bytes = Vec::new();
        world.arbiter.take_output(self.id, &mut bytes);
        self.reader.push(&bytes);
        while let Some(body) = self.reader.next().expect("frames") {
            let (number, ack, message) = split_frame(body).expect("numbered frames");
            self.channel.acknowledged(ack).expect("what was sent");
            if number == 0 || self.channel.arrived(number).expect("all frames") == Arrived::Repeated
            {
                continue;
            }
            match Event::decode(message).expect("an event") {
                // Unless it was given up meanwhile.
                Event::Granted { request, .. } => {
                    if let Some(asked) = self.pending.remove(&request) {
                        self.held.insert(request, asked);
                    }
                }
                Event::Refused { call, .. } => {
                    self.pending.remove(&call);
                }
                Event::Lost { request, .. } => {
                    self.held.remove(&request);
                }
                _ => {}
            }
        }
    }
}

/// C1, C16.
fn exclude_each_other(clients: &[FuzzedClient]) {
    let holds = |index: usize| clients[index].held.values();
    for (index, other) in [(0, 1), (0, 2), (1, 2)] {
        for (keys, mode) in holds(index) {
            for (others, other) in holds(other) {
                let compatible = *mode == *other && *mode != Mode::Exclusive;
                let meet = keys.iter().any(|key| others.contains(key));
                assert!(compatible || !meet, "{keys:?} {mode}, and {others:?} {other}");
            }
        }
    }
}
