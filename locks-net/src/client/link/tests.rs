use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Instant;

use locks_core::{
    Clock, LostCause, ManualClock, Mode, Op, Options, OwnerChain, ProcessInfo, Query, Token, Wait,
};

use super::*;
use crate::arbiter::Limits;
use crate::client::dial::AtPath;
use crate::client::op::Acquiring;
use crate::client::{NetBackend, Stream, Unreached};
use crate::server::tests::{Scratch, until};
use crate::wire::Acquire;

struct Nowhere;

impl Dial for Nowhere {
    fn nobody(&self, error: &io::Error) -> String {
        error.to_string()
    }

    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn dial(&self, _: Instant) -> Result<Stream, Unreached> {
        Err(Unreached::NobodyListens(io::ErrorKind::NotFound.into()))
    }
}

fn link(dial: impl Dial, clock: &ManualClock) -> Arc<Link> {
    let setup = SessionSetup {
        name: dial.name().to_owned(),
        clock: Arc::new(clock.clone()),
        party: ProcessInfo::default(),
        lease: None,
        connect: Duration::from_secs(2),
        random: Box::new(|bytes| bytes.fill(7)),
    };
    Link::new(Arc::new(dial), setup, 0).unwrap()
}

#[test]
fn c8_the_end_behind_the_last_bytes_is_known_before_anybody_is_told_that_he_holds() {
    let link = link(Nowhere, &ManualClock::new());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    link.lock().wire = Some(Arc::new(LinkSocket::local(ours).unwrap()));
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    link.with_news(|_| {});
    assert!(link.lock().wire.is_none());
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn n1_a_connection_whose_server_has_ended_is_over_though_a_child_of_it_keeps_it_open() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut server = std::process::Command::new("cat");
    let mut server = server.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let wire = LinkSocket::local(ours).unwrap().of_process(server.id());
    let mut buffer = [0; 16];
    assert_eq!(wire.receive(&mut buffer), ReadOutcome::Nothing);
    theirs.write_all(b"last words").unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(wire.receive(&mut buffer), ReadOutcome::Bytes(10));
    assert_eq!(wire.receive(&mut buffer), ReadOutcome::Over);
    assert_eq!(wire.receive_soon(&mut buffer, &mut AdaptiveSpin::default()), ReadOutcome::Over);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn n1_a_socket_that_is_gone_does_not_say_that_its_server_is() {
    let two = Granted::<2>::at_once();
    assert!(two.poll(two.requests[0]).is_ready());
    std::fs::remove_file(two.scratch.socket()).unwrap();
    two.link.lock().lose_line("cut");
    let failures = || two.link.lock().reach.failures();
    // After a connection that has answered, that is how long it waits before it tries.
    two.clock.advance(Duration::from_millis(10));
    until("it was tried", || failures() > 0);
    let lease = Limits::default().lease;
    two.clock.advance(lease / 2);
    until("it was tried again", || failures() > 1);
    two.clock.advance(lease / 2);
    let lost = two.link.look(|session| session.poll_lost(two.requests[0], None));
    assert_eq!(lost, Poll::Ready(LostCause::Expired));
}

/// Requests that a server has granted at once, and that nobody has fetched.
struct Granted<const N: usize> {
    // Before its directory, or it would wait until clients know that it has lost that: for a lease.
    _server: crate::Server,
    scratch: Scratch,
    clock: ManualClock,
    link: Arc<Link>,
    requests: [u64; N],
}

impl<const N: usize> Granted<N> {
    fn at_once() -> Self {
        let scratch = Scratch::new();
        let server = scratch.serve(|_| {});
        let other = NetBackend::unix(scratch.socket()).build().unwrap().into_backend();
        let before = other.named("k").acquire().unwrap();
        let clock = ManualClock::new();
        let link = link(AtPath::new(scratch.socket(), None), &clock);
        let requests = [(); N].map(|()| {
            let shared = Box::new(acquire("k", Mode::Shared));
            link.begin(|session| session.acquire(shared, None, clock.now())).unwrap()
        });
        let granted = Self { _server: server, scratch, clock, link, requests };
        assert_eq!(granted.requests.map(|request| granted.poll(request)), [Poll::Pending; N]);
        until("all wait", || {
            let found = other.inspect(Query::Key("k".into())).block().unwrap();
            found[0].waiters.len() == N
        });
        drop(before);
        until("all are granted", || granted.link.look(|session| session.expects()) == N);
        granted
    }

    fn poll(&self, request: u64) -> Poll<Token> {
        let mut waker = Waker::noop().clone();
        let polled = self.link.poll(|session| session.poll_acquire(request, Some(&mut waker)));
        polled.map(Result::unwrap)
    }

    /// The first one comes, and gives back what it was granted.
    fn first_comes_and_goes(&self) {
        assert!(self.poll(self.requests[0]).is_ready());
        self.link.with(|session| session.end(self.requests[0]));
    }

    fn unsent(&self) -> usize {
        self.link.look(|session| session.unsent())
    }
}

fn acquire(key: &str, mode: Mode) -> Acquire {
    let mut options = Options::default();
    options.mode = mode;
    options.wait = Some(Wait::Forever);
    Acquire {
        request: 0,
        keys: vec![key.to_owned()],
        options,
        owner: None,
        within: OwnerChain::default(),
        opens_scope: false,
        site: 0,
        waited: Duration::ZERO,
        label: None,
        shared: None,
    }
}

#[test]
fn l4_what_is_said_waits_for_those_who_were_woken_with_whoever_says_it() {
    let two = Granted::<2>::at_once();
    two.first_comes_and_goes();
    assert!(two.unsent() > 0);
    assert!(two.poll(two.requests[1]).is_ready());
    assert_eq!(two.unsent(), 0);
    two.link.with(|session| session.end(two.requests[1]));
    assert_eq!(two.unsent(), 0, "nobody else is to come");
}

#[test]
fn l4_what_is_held_back_leaves_soon_though_somebody_does_not_come() {
    let two = Granted::<2>::at_once();
    two.first_comes_and_goes();
    assert!(two.unsent() > 0);
    until("the thread sleeps no longer", || {
        let shared = two.link.lock();
        let asleep = shared.thread.as_ref().map(|sleep| sleep.until);
        asleep.is_some() && asleep <= shared.held_back.map(|held_back| held_back.until)
    });
    two.clock.advance(Duration::from_millis(1));
    until("the thread has sent it", || two.unsent() == 0);
}

#[test]
fn l4_nobody_waits_for_those_who_do_not_want_it_any_more() {
    let two = Granted::<2>::at_once();
    two.first_comes_and_goes();
    two.link.with(|session| session.withdraw(two.requests[1]));
    assert_eq!(two.unsent(), 0);
}

#[test]
fn l4_a_farewell_is_not_held_back() {
    let two = Granted::<2>::at_once();
    two.first_comes_and_goes();
    two.link.close();
    assert_eq!(two.unsent(), 0);
}

#[test]
fn l4_those_who_never_come_are_waited_for_once() {
    let three = Granted::<3>::at_once();
    three.link.with(|session| session.withdraw(three.requests[0]));
    assert!(three.unsent() > 0);
    three.clock.advance(Duration::from_millis(1));
    until("the thread has sent it", || three.unsent() == 0);
    // As far as this clock tells, all of the following happens at once.
    for key in ["ledger", "journal"] {
        let wanted = Box::new(acquire(key, Mode::Exclusive));
        let now = three.clock.now();
        let request = three.link.begin(|session| session.acquire(wanted, None, now)).unwrap();
        assert_eq!(three.unsent(), 0);
        until("it is granted", || three.poll(request).is_ready());
        three.link.with(|session| session.end(request));
        assert_eq!(three.unsent(), 0);
    }
}

#[test]
fn c4_what_a_forked_child_drops_of_its_parents_leaves_the_parents_mutex_alone() {
    let clock = ManualClock::new();
    let link = link(Nowhere, &clock);
    let mut asked = Acquiring::new(link.clone(), Box::new(acquire("k", Mode::Exclusive)), None);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::pin::Pin::new(&mut asked).poll(&mut cx).is_pending());
    link.process.store(u64::MAX, Ordering::Relaxed);
    // As the parent's other thread had it in the moment of the fork.
    let shared = link.lock();
    let dropped = std::thread::spawn(|| drop(asked));
    until("it is dropped", || dropped.is_finished());
    drop(shared);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A server, and a link to it that has asked it something.
struct Asked {
    // Before its directory, as in `Granted`.
    _server: crate::Server,
    scratch: Scratch,
    clock: ManualClock,
    link: Arc<Link>,
    woken: Arc<Woken>,
}

impl Asked {
    fn once() -> Self {
        let scratch = Scratch::new();
        // Nothing comes free by waiting.
        let server = scratch.serve(|limits| limits.lease = Duration::from_secs(3600));
        let clock = ManualClock::new();
        let link = link(AtPath::new(scratch.socket(), None), &clock);
        let woken = Arc::new(Woken::default());
        let asked = Self { _server: server, scratch, clock, link, woken };
        let call = asked.ask();
        until("it is answered", || asked.woken.times() == 1);
        assert!(asked.link.look(|session| session.poll_call(call, None)).is_ready());
        asked
    }

    /// As a task does: it comes again when it is woken, and not before.
    fn ask(&self) -> u64 {
        ask(&self.link, &self.woken)
    }
}

fn ask(link: &Arc<Link>, woken: &Arc<Woken>) -> u64 {
    let call = link.begin(super::super::session::ClientSession::status).unwrap();
    let mut waker = Waker::from(Arc::clone(woken));
    let polled = link.poll(|session| session.poll_call(call, Some(&mut waker)));
    assert!(polled.is_pending());
    call
}

#[test]
fn l3_whoever_asks_while_the_thread_says_good_bye_is_answered() {
    let asked = Asked::once();
    let (link, woken) = (Arc::clone(&asked.link), Arc::clone(&asked.woken));
    let act = move || _ = ask(&link, &woken);
    *asked.link.before_sending.lock().unwrap() = Some(Box::new(act));
    asked.clock.advance(Duration::from_secs(10));
    until("it is answered", || asked.woken.times() == 2);
}

#[test]
fn l2_a_link_is_not_closed_over_what_another_thread_still_has_to_send() {
    let asked = Asked::once();
    let [one, other] = ["one", "other"].map(|key| {
        let wanted = Box::new(acquire(key, Mode::Exclusive));
        let now = asked.clock.now();
        let request = asked.link.begin(|session| session.acquire(wanted, None, now)).unwrap();
        until("it is granted", || {
            asked.link.poll(|session| session.poll_acquire(request, None)).is_ready()
        });
        request
    });
    let link = Arc::clone(&asked.link);
    let act = move || {
        link.with(|session| session.end(other));
        link.look(|session| session.forget_ending(other));
        link.close();
    };
    *asked.link.before_sending.lock().unwrap() = Some(Box::new(act));
    asked.link.with(|session| {
        session.end(one);
        session.forget_ending(one);
    });
    let rival = NetBackend::unix(asked.scratch.socket()).build().unwrap().into_backend();
    for key in ["one", "other"] {
        drop(rival.named(key).wait(Duration::from_secs(20)).acquire().unwrap());
    }
}

struct Faulty;

impl Wake for Faulty {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

#[test]
fn c5_a_waker_that_panics_costs_nobody_else_a_grant() {
    let asked = Asked::once();
    let rival = NetBackend::unix(asked.scratch.socket()).build().unwrap().into_backend();
    let [shared, exclusive] = ["k", "b"].map(|key| rival.named(key).acquire().unwrap());
    let link = Arc::clone(&asked.link);
    let leader = std::thread::spawn(move || {
        let wanted = Box::new(acquire("b", Mode::Exclusive));
        Op::later(Acquiring::new(link, wanted, None)).block()
    });
    until("the blocked thread reads", || asked.link.lock().reader == ReaderRole::PatientLeader);
    let woken = Arc::new(Woken::default());
    let [_, next] =
        [Waker::from(Arc::new(Faulty)), Waker::from(Arc::clone(&woken))].map(|mut waker| {
            let wanted = Box::new(acquire("k", Mode::Shared));
            let now = asked.clock.now();
            let request = asked.link.begin(|session| session.acquire(wanted, None, now)).unwrap();
            let polled = asked.link.poll(|session| session.poll_acquire(request, Some(&mut waker)));
            assert!(polled.is_pending());
            request
        });
    until("all wait", || {
        let infos = rival.inspect(Query::All).block().unwrap();
        infos.iter().map(|info| info.waiters.len()).sum::<usize>() == 3
    });
    drop(shared);
    until("whoever is behind it is woken", || woken.times() == 1);
    assert!(asked.link.look(|session| session.poll_acquire(next, None)).is_ready());
    drop(exclusive);
    assert!(leader.join().unwrap().is_ok());
    asked.ask();
    until("what comes in is read", || asked.woken.times() == 2);
}

/// A waker that wants the link's mutex for whatever is done with it.
struct Nosy(Arc<Link>);

#[expect(unsafe_code, reason = "the one way to know of all that is done with a waker")]
impl Nosy {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(Self::clone, Self::wake, Self::look, Self::wake);

    fn waker(link: &Arc<Link>) -> Waker {
        let nosy = Box::into_raw(Box::new(Self(Arc::clone(link))));
        // SAFETY: it is owned by the waker, as the functions of the table see it.
        unsafe { Waker::new(nosy.cast_const().cast(), &Self::TABLE) }
    }

    fn clone(nosy: *const ()) -> RawWaker {
        // SAFETY: a waker has it, which is not dropped before.
        let nosy = unsafe { &*nosy.cast::<Self>() };
        drop(nosy.0.lock());
        let copy = Box::into_raw(Box::new(Self(Arc::clone(&nosy.0))));
        RawWaker::new(copy.cast_const().cast(), &Self::TABLE)
    }

    fn look(nosy: *const ()) {
        // SAFETY: as in `clone`.
        drop(unsafe { &*nosy.cast::<Self>() }.0.lock());
    }

    fn wake(nosy: *const ()) {
        Self::look(nosy);
        // SAFETY: the waker had it, and is no more.
        drop(unsafe { Box::from_raw(nosy.cast::<Self>().cast_mut()) });
    }
}

/// Polls it by one waker, then by another, and drops it.
fn dropped_later(link: &Arc<Link>, op: impl Future<Output = ()>) {
    let mut op = Box::pin(op);
    for _ in 0..2 {
        _ = op.as_mut().poll(&mut Context::from_waker(&Nosy::waker(link)));
    }
}

/// Nothing of others' code runs under the mutex: neither what clones, replaces, wakes nor drops a
/// waker.
#[test]
fn a_waker_may_want_the_mutex() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let scratch = Scratch::new();
        let _server = scratch.serve(|_| {});
        let net = NetBackend::unix(scratch.socket()).build().unwrap();
        let link = Arc::clone(net.link().unwrap());
        let backend = net.clone().into_backend();
        let held = backend.named("k").acquire().unwrap().into_owned();
        dropped_later(&link, async { _ = backend.named("k").acquire_async().await });
        dropped_later(&link, async { _ = held.lost().await });
        let status = net.status();
        dropped_later(&link, async { _ = status.await });
        let mailbox = net.messages().block().unwrap();
        dropped_later(&link, async { _ = mailbox.next().await });
        let nosy = Nosy::waker(&link);
        let mut left = Context::from_waker(&nosy);
        _ = mailbox.poll_next(&mut left);
        drop(mailbox);
        // Watched to its end, and ended by somebody else.
        let mut watch = Box::pin(held.lost());
        assert!(watch.as_mut().poll(&mut left).is_pending());
        std::mem::forget(watch);
        dropped_later(&link, async { _ = held.release_async().await });
        let lost = backend.named("k").acquire().unwrap();
        let mut watch = Box::pin(lost.lost());
        assert!(watch.as_mut().poll(&mut left).is_pending());
        let mut wait = Box::pin(backend.named("k").acquire_async());
        assert!(wait.as_mut().poll(&mut left).is_pending());
        assert!(backend.evict("k", lost.token()).block().unwrap());
        until("it is told", || watch.as_mut().poll(&mut left).is_ready());
        until("it is granted", || wait.as_mut().poll(&mut left).is_ready());
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("it waits for itself");
}
