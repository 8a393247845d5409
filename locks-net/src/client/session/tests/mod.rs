//! A session against a server that is played by hand, frame by frame.

mod ending;
mod inbox;
mod resuming;
mod validity;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use locks_core::{Clock, LockError, ManualClock, Options, OwnerChain, ProcessInfo, Token, Wait};

use super::{ClientSession, SessionSetup};
use crate::channel::{Arrived, Channel};
use crate::secret::Secured;
use crate::wire::{
    Acquire, Call, ClientHello, Event, FrameReader, Greeting, How, MAX_EVENT_FRAME, Open, Opened,
    ServerHello, VERSIONS, put_frame, split_frame,
};

const LEASE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);

/// A session, and the server's end of its connection.
struct Rig {
    clock: ManualClock,
    session: ClientSession,
    reader: FrameReader,
    channel: Channel,
    renews: bool,
    max_frame: u32,
}

impl Rig {
    /// Not connected yet.
    fn new(renews: bool) -> Self {
        let clock = ManualClock::new();
        let setup = SessionSetup {
            name: "unix:///test".into(),
            clock: Arc::new(clock.clone()),
            party: ProcessInfo::default(),
            lease: None,
            connect: CONNECT,
            random: Box::new(|bytes| bytes.fill(7)),
        };
        Self {
            clock,
            session: ClientSession::new(setup),
            reader: FrameReader::new(MAX_EVENT_FRAME),
            channel: Channel::default(),
            renews,
            max_frame: 256 * 1024,
        }
    }

    /// With an open session.
    fn open(renews: bool) -> Self {
        let mut rig = Self::new(renews);
        rig.connect(How::New);
        rig.calls();
        rig
    }

    /// A new connection, with which the session begins or goes on as `how` says. What it was asked
    /// for.
    fn connect(&mut self, how: How) -> Open {
        let open = self.dial();
        self.answer(how);
        open
    }

    /// A connection up to where the client asks to open its session.
    fn dial(&mut self) -> Open {
        self.reader = FrameReader::new(MAX_EVENT_FRAME);
        self.session.dialed(Secured::default());
        let hello = ClientHello::decode(&self.frames().remove(0)).unwrap();
        assert_eq!(hello.version, VERSIONS.newest);
        let server = ServerHello {
            version: VERSIONS.newest,
            server: [1; 16],
            nonce: [2; 32],
            secret: false,
        };
        self.greet(&server);
        Open::decode(&self.frames().remove(0)).unwrap()
    }

    fn answer(&mut self, how: How) {
        if how != How::Resumed {
            self.channel = Channel::default();
        }
        let opened = Opened {
            how,
            realm: 3,
            secret: [4; 16],
            applied: self.channel.applied(),
            max_frame: self.max_frame,
            lease: LEASE,
            renews: self.renews,
        };
        self.greet(&opened);
    }

    fn greet(&mut self, greeting: &impl Greeting) {
        let mut out = Vec::new();
        put_frame(&mut out, |body| greeting.encode(body));
        self.session.receive(&out).unwrap();
    }

    /// The server says so; the client hears it.
    fn tell(&mut self, event: &Event) {
        let bytes = self.say(event);
        self.session.receive(&bytes).unwrap();
    }

    /// The server says so; what of it is on its way.
    fn say(&mut self, event: &Event) -> Vec<u8> {
        let (mut message, mut out) = (Vec::new(), Vec::new());
        event.encode(&mut message);
        self.channel.send(&message, self.clock.now(), Some(&mut out));
        out
    }

    fn grant(&mut self, request: u64) {
        self.tell(&Event::Granted {
            request,
            token: Token::new(request + 100),
            stolen_from: Vec::new(),
        });
    }

    /// The server acknowledges what it has taken.
    fn acknowledge(&mut self) {
        let mut out = Vec::new();
        self.channel.acknowledge(&mut out);
        self.session.receive(&out).unwrap();
    }

    fn cut(&mut self) {
        self.session.disconnected();
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session.take_output(&mut out);
        self.reader.push(&out);
        let mut frames = Vec::new();
        while let Some(body) = self.reader.next().unwrap() {
            frames.push(body.to_vec());
        }
        frames
    }

    /// What the client says that is new, apart from call sites and names.
    fn calls(&mut self) -> Vec<Call> {
        let mut calls = self.all_calls();
        calls.retain(|call| !matches!(call, Call::Site { .. } | Call::Name { .. }));
        calls
    }

    fn all_calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        for frame in self.frames() {
            let (number, ack, message) = split_frame(&frame).unwrap();
            self.channel.acknowledged(ack).unwrap();
            if number > 0 && self.channel.arrived(number).unwrap() == Arrived::New {
                calls.push(Call::decode(message).unwrap());
            }
        }
        calls
    }

    fn ask(&mut self, wait: impl Into<Wait>) -> u64 {
        self.session.acquire(plain(wait), None, self.clock.now()).unwrap()
    }

    /// A hold, fetched.
    fn hold(&mut self) -> u64 {
        let request = self.ask(true);
        self.calls();
        self.grant(request);
        self.fetch(request).unwrap();
        request
    }

    fn fetch(&mut self, request: u64) -> Result<Token, LockError> {
        match self.poll(request) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("{request} is pending"),
        }
    }

    fn poll(&mut self, request: u64) -> Poll<Result<Token, LockError>> {
        self.session.poll_acquire(request, None)
    }

    fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    fn lost(&mut self, request: u64) -> Option<locks_core::LostCause> {
        match self.session.poll_lost(request, None) {
            Poll::Ready(cause) => Some(cause),
            Poll::Pending => None,
        }
    }
}

/// A request for the key `k`.
fn plain(wait: impl Into<Wait>) -> Box<Acquire> {
    let mut options = Options::default();
    options.wait = Some(wait.into());
    Box::new(Acquire {
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
    })
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Rig {
    /// What polling with a waker leaves behind; how often that was woken is asked of the count.
    fn watched(&mut self, poll: impl FnOnce(&mut ClientSession, &mut Context<'_>)) -> Arc<Count> {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        poll(&mut self.session, &mut Context::from_waker(&waker));
        count
    }

    fn wake(&mut self) {
        self.session.take_wakers().run();
    }
}

impl Count {
    fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
