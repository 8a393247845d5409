//! `examples/python`, a client that was written from the page on the protocol: it excludes programs
//! in Rust and is excluded by them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use locks::net::NetBackend;
use locks::{Backend, LostCause};

use crate::kit::{PATIENCE, Place, Process, errors, until};
use crate::serving::{Serving, command, socket};

/// A Python program that does what it is told.
struct Python {
    said: ChildStdin,
    answers: Receiver<String>,
    process: Process,
}

impl Python {
    fn start(url: &str) -> Self {
        Self::start_with(&[url])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let here = env!("CARGO_MANIFEST_DIR");
        let mut python = Command::new("python3");
        python.arg(format!("{here}/tests/python/driver.py")).args(arguments);
        python.env("PYTHONPATH", format!("{here}/../examples/python"));
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start(python.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let said = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (answered, answers) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| answered.send(line))
        });
        Self { said, answers, process }
    }

    fn say(&mut self, words: &[&str]) {
        writeln!(self.said, "{}", words.join("\t")).unwrap();
    }

    fn answer(&mut self) -> String {
        // It has a patience of its own.
        self.answers.recv_timeout(2 * PATIENCE).expect("it answers")
    }

    fn ask(&mut self, words: &[&str]) -> String {
        self.say(words);
        self.answer()
    }

    /// The token of what is acquired so.
    fn acquire(&mut self, words: &[&str]) -> u64 {
        let answer = self.ask(&[&["acquire"], words].concat());
        let token = answer.strip_prefix("ok ").and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("{words:?}: {answer}"))
    }
}

fn place() -> (Place, Serving, Backend) {
    let place = Place::new();
    let url = format!("unix://{}", place.path("locks.sock").display());
    let serving = Serving::on_socket(&place);
    let backend = NetBackend::unix(place.path("locks.sock")).label("rust").build().unwrap();
    (place.with_url(url), serving, backend.into_backend())
}

#[test]
fn python_and_rust_exclude_each_other_share_wait_and_steal() {
    let (place, _serving, rust) = place();
    let mut python = Python::start(place.url());

    // It excludes, and is listed.
    let token = python.acquire(&["a", "k", "10"]);
    let error = rust.named("k").wait(false).acquire().unwrap_err();
    assert!(error.is_contended() && error.to_string().contains("python"), "{error}");
    assert_eq!(place.listed()[0]["holders"][0]["label"], "python");
    assert_eq!(python.ask(&["renew", "a"]), "ok renewed");
    assert_eq!(python.ask(&["check", "a"]), "ok held");
    assert_eq!(python.ask(&["release", "a"]), "ok released");

    // And is excluded: at once, after a while, until it is released.
    let guard = rust.named("k").acquire().unwrap();
    assert!(guard.token().get() > token);
    let answer = python.ask(&["acquire", "a", "k", "0"]);
    assert!(answer.starts_with("Contended `k`: Contended, held by rust"), "{answer}");
    assert!(python.ask(&["acquire", "a", "k", "0.05"]).starts_with("Timeout "));
    python.say(&["acquire", "a", "k", "30"]);
    until("it waits", || (!place.listed()[0]["waiters"].as_array()?.is_empty()).then_some(()));
    let before = guard.token().get();
    drop(guard);
    let answer = python.answer();
    assert!(
        answer.strip_prefix("ok ").is_some_and(|it| it.parse::<u64>().unwrap() > before),
        "{answer}"
    );

    // A command is excluded, too.
    let output = place.output(["run", "-n", "k", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));

    // Its lock is stolen, and it hears of that; then it steals.
    let thief =
        rust.named("k").wait(PATIENCE).steal_after(Duration::from_millis(1)).acquire().unwrap();
    assert_eq!(python.ask(&["wait_lost", "a"]), "ok stolen");
    assert_eq!(python.ask(&["renew", "a"]), "Lost the lock is lost: stolen");
    assert_eq!(python.ask(&["release", "a"]), "Lost the lock is lost: stolen");
    python.acquire(&["a", "k", "30", "steal_after=0.001"]);
    let lost = until("the thief is robbed", || thief.check().err());
    assert!(matches!(lost.kind(), locks::ErrorKind::Lost { cause: LostCause::Stolen }));

    // Shared with each other, and with nobody who wants it alone.
    python.acquire(&["s", "s", "10", "shared=1"]);
    let shared = rust.named("s").shared().wait(false).acquire().unwrap();
    rust.named("s").wait(false).acquire().unwrap_err();
    drop(shared);

    // Some of the permits, and no more than there are.
    python.acquire(&["p", "p", "10", "permits=3", "take=2"]);
    let permit = rust.named("p").permits(3).wait(false).acquire().unwrap();
    let error = rust.named("p").permits(3).wait(false).acquire().unwrap_err();
    let modes = Vec::from_iter(error.holders().iter().map(|holder| holder.mode.to_string()));
    assert_eq!(modes, ["2 of 3 permits", "one of 3 permits"], "{error}");
    let answer = python.ask(&["acquire", "q", "p", "0", "permits=3"]);
    assert!(answer.starts_with("Contended `p`: Contended, held by "), "{answer}");
    let answer = python.ask(&["acquire", "q", "p", "0", "permits=3", "take=4"]);
    assert!(answer.starts_with("PermitsMismatch "), "{answer}");
    drop(permit);

    // A thread that asks for what it has would wait for ever.
    assert!(python.ask(&["acquire", "b", "k"]).starts_with("Deadlock "));

    // What it holds is free when it dies.
    python.process.kill().unwrap();
    drop(rust.named("k").wait(PATIENCE).acquire().unwrap());
    drop(rust.named("s").wait(PATIENCE).acquire().unwrap());
}

#[test]
fn python_reads_all_that_is_said_of_holders_and_says_no_nonsense() {
    let (place, _serving, rust) = place();
    let mut python = Python::start(place.url());
    let _labelled = rust.named("l").label("deploy").acquire().unwrap();
    let answer = python.ask(&["acquire", "a", "l", "0"]);
    assert!(answer.starts_with("Contended `l`: Contended, held by deploy"), "{answer}");
    let _nest = [(); 2].map(|()| rust.named("n").reentrant().acquire().unwrap());
    let answer = python.ask(&["acquire", "a", "n", "0"]);
    assert!(answer.starts_with("Contended `n`: Contended, held by rust"), "{answer}");
    let long = "k".repeat(1025);
    for key in ["", &long] {
        let answer = python.ask(&["acquire", "a", key, "0"]);
        assert!(answer.starts_with("InvalidKey "), "{answer}");
    }
    // The child of a holder holds nothing, and takes nothing from it.
    python.acquire(&["a", "k", "10"]);
    assert_eq!(
        python.ask(&["forked", "a"]),
        "ok this process was forked from the one that holds it, and has to acquire it itself"
    );
    assert_eq!(python.ask(&["check", "a"]), "ok held");
    assert_eq!(python.ask(&["release", "a"]), "ok released");
}

/// Row 49: by a server by hand, which speaks versions 2 to 5.
#[test]
fn python_that_shares_no_version_with_a_server_says_what_that_says() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 39]).unwrap();
        let rejected = b"\x06\x01\x02\x00\x05\x00\x11\x00update the client";
        let length = u32::try_from(rejected.len()).unwrap().to_le_bytes();
        stream.write_all(&[&length[..], rejected].concat()).unwrap();
    });
    let mut python = Python::start(&format!("unix://{}", place.path("socket").display()));
    assert_eq!(python.ask(&["acquire", "a", "k", "10"]), "Protocol update the client");
    serving.join().unwrap();
}

#[test]
fn python_keeps_its_lock_over_a_server_that_is_killed() {
    let (place, mut serving, rust) = place();
    let mut python = Python::start(place.url());
    let token = python.acquire(&["a", "k", "10"]);
    serving.process.kill().unwrap();
    serving.process.until_ended();
    let serving = Serving::start(&mut command(&place, &["--listen", &socket(&place)]));
    until("it is back", || {
        let listed = place.listed();
        let holder = &listed.first()?["holders"][0];
        (holder["token"] == token && holder["label"] == "python").then_some(())
    });
    assert!(rust.named("k").wait(false).acquire().unwrap_err().is_contended());
    assert_eq!(python.ask(&["check", "a"]), "ok held");
    assert_eq!(python.ask(&["release", "a"]), "ok released");
    assert!(rust.named("k").wait(PATIENCE).acquire().unwrap().token().get() > token);
    drop(serving);
}

/// A server by hand, whose frames come in the order that a test wants.
struct Hand {
    socket: PathBuf,
    listener: UnixListener,
    stream: UnixStream,
    said: u64,
    /// The newest frame of the client.
    heard: u64,
    lease: Duration,
    renews: bool,
}

impl Hand {
    /// A client that has a session and holds `k` by request `1`, as `a`; the place of its socket.
    fn with_hold(place: &Place) -> (Self, Python) {
        Self::with_hold_for(place, Duration::from_secs(10), false)
    }

    /// The same, with a lease of that length.
    fn with_hold_for(place: &Place, lease: Duration, renews: bool) -> (Self, Python) {
        let (mut hand, mut python) = Self::with_session(place, lease, renews);
        hand.is_asked_by(&mut python, "30");
        hand.granted(5);
        assert_eq!(python.answer(), "ok 5");
        (hand, python)
    }

    /// The client waits for `k`, by request `1`.
    fn with_wait(place: &Place, lease: Duration) -> (Self, Python) {
        let (mut hand, mut python) = Self::with_session(place, lease, false);
        hand.is_asked_by(&mut python, "30");
        (hand, python)
    }

    /// The client has a session, and asks for nothing.
    fn with_session(place: &Place, lease: Duration, renews: bool) -> (Self, Python) {
        let socket = place.path("socket");
        let listener = listen(&socket);
        let mut python = Python::start(&format!("unix://{}", socket.display()));
        let stream = accept(&listener);
        let mut hand = Self { socket, listener, stream, said: 0, heard: 0, lease, renews };
        hand.greet(1, 0);
        assert_eq!(python.ask(&["connection", "there"]), "ok there");
        (hand, python)
    }

    /// The client waits for `k`, by request `1` as `a`, for so long.
    fn is_asked_by(&mut self, python: &mut Python, timeout: &str) {
        python.say(&["acquire", "a", "k", timeout]);
        self.asks();
    }

    /// The client asks for `k`, by request `1`.
    fn asks(&mut self) {
        let acquire = self.call_but_ping();
        assert_eq!((acquire[0], &acquire[1..9]), (ACQUIRE, &1_u64.to_le_bytes()[..]));
    }

    fn granted(&mut self, token: u64) {
        self.say(1, &[&[1], &1_u64.to_le_bytes()[..], &token.to_le_bytes()].concat());
    }

    /// It was granted, and lost before that was known.
    fn granted_and_lost(&mut self, token: u64, cause: u8) {
        let granted = [&[1], &1_u64.to_le_bytes()[..], &token.to_le_bytes()].concat();
        let lost = [&[7], &1_u64.to_le_bytes()[..], &[cause]].concat();
        let frames = [granted, lost].map(|event| {
            self.said += 1;
            let body = [&self.said.to_le_bytes()[..], &1_u64.to_le_bytes(), &event].concat();
            [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
        });
        // At once, so that nobody looks in between.
        self.stream.write_all(&frames.concat()).unwrap();
    }

    /// The client connects again, and its session goes on as `how` says.
    fn reconnect(&mut self, how: u8, applied: u64) {
        self.connect_again();
        self.greet(how, applied);
    }

    /// The same, over a connection that takes nothing more.
    fn reconnect_deaf(&mut self, how: u8, applied: u64) {
        self.connect_again();
        self.meet();
        self.stream.shutdown(Shutdown::Read).unwrap();
        self.open(how, applied);
    }

    fn connect_again(&mut self) {
        // So that it ends for the other side.
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.stream = accept(&self.listener);
    }

    /// Stops serving, and waits until the client has noticed.
    fn leave(&mut self, python: &mut Python) {
        self.vanish();
        assert_eq!(python.ask(&["connection", "gone"]), "ok gone");
    }

    /// Stops serving.
    fn vanish(&mut self) {
        std::fs::remove_file(&self.socket).unwrap();
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// It serves again, and the client's session goes on as `how` says.
    fn come_back(&mut self, how: u8, applied: u64) {
        self.listener = listen(&self.socket);
        self.stream = accept(&self.listener);
        self.greet(how, applied);
    }

    fn greet(&mut self, how: u8, applied: u64) {
        self.meet();
        self.open(how, applied);
    }

    fn meet(&mut self) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let hello = self.frame();
        assert_eq!((hello[0], hello.len()), (1, 35));
        self.put(&[&[2, 1, 0][..], &[7; 16], &[8; 32], &[0]].concat());
        assert_eq!(self.frame()[0], 4);
    }

    fn open(&mut self, how: u8, applied: u64) {
        if how != 2 {
            self.said = 0;
        }
        let lease = u64::try_from(self.lease.as_nanos()).unwrap().to_le_bytes();
        let realm = 9_u32.to_le_bytes();
        let (applied, most) = (applied.to_le_bytes(), 262_144_u32.to_le_bytes());
        let renews = [u8::from(self.renews)];
        self.put(&[&[5, how][..], &realm, &[3; 16], &applied, &most, &lease, &renews].concat());
    }

    fn put(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length[..], body].concat()).unwrap();
    }

    /// An event, which acknowledges so much.
    fn say(&mut self, ack: u64, event: &[u8]) {
        self.said += 1;
        let number = self.said.to_le_bytes();
        self.put(&[&number[..], &ack.to_le_bytes(), event].concat());
    }

    /// What was stolen.
    fn lost(&mut self, ack: u64) {
        self.say(ack, &[&[7], &1_u64.to_le_bytes()[..], &[1]].concat());
    }

    fn acknowledge(&mut self, ack: u64) {
        self.put(&[0_u64.to_le_bytes(), ack.to_le_bytes()].concat());
    }

    fn frame(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    /// The next call of the client, without its numbers.
    fn call(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame();
            if frame[..8] != [0; 8] {
                self.heard = u64::from_le_bytes(frame[..8].try_into().unwrap());
                return frame[16..].to_vec();
            }
        }
    }

    /// The next call of the client that is not there only to be acknowledged.
    fn call_but_ping(&mut self) -> Vec<u8> {
        loop {
            let call = self.call();
            if call[0] != PING {
                return call;
            }
        }
    }

    /// The client has said so, as kinds of calls.
    fn has_said(&mut self, kinds: &[u8]) {
        let said = kinds.iter().map(|_| self.call()[0]).collect::<Vec<_>>();
        assert_eq!(said, kinds);
    }
}

/// A socket of whose clients none is waited for without end.
fn listen(socket: &Path) -> UnixListener {
    let listener = UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn accept(listener: &UnixListener) -> UnixStream {
    until("the client connects", || listener.accept().ok()).0
}

const ACQUIRE: u8 = 1;
const END: u8 = 2;
const REFRESH: u8 = 3;
const HOLDING: u8 = 10;
const PING: u8 = 11;

#[test]
fn c4_python_confirms_no_release_of_what_was_stolen_before() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.lost(1);
    hand.acknowledge(3);
    assert_eq!(python.answer(), "Lost the lock is lost: stolen");
}

#[test]
fn c4_python_confirms_no_release_that_the_server_has_forgotten() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.reconnect(1, 0);
    assert_eq!(python.answer(), "Lost the lock is lost: session ended");
}

/// The server may report a loss right after its greeting. So only the answer to a later ping
/// confirms the release.
#[test]
fn c4_python_confirms_a_release_by_what_it_says_after_it_has_come_back() {
    // What the server is known to have applied, and all that it hears of the release.
    for (how, applied, first) in [(2, 3, vec![]), (2, 1, vec![END, PING]), (3, 0, vec![HOLDING])] {
        for is_stolen in [true, false] {
            let (place, case) = (Place::new(), (how, applied, is_stolen));
            let (mut hand, mut python) = Hand::with_hold(&place);
            python.say(&["release", "a"]);
            hand.has_said(&[END, PING]);
            hand.reconnect(how, applied);
            hand.has_said(&first);
            hand.has_said(&[PING]);
            let (before, after) = if how == 3 { (1, 2) } else { (3, 4) };
            if is_stolen {
                hand.lost(before);
            }
            hand.acknowledge(after);
            let answer = if is_stolen { "Lost the lock is lost: stolen" } else { "ok released" };
            assert_eq!(python.answer(), answer, "{case:?}");
        }
    }
}

#[test]
fn c8_python_queues_again_for_what_was_lost_before_it_had_it() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.granted_and_lost(5, 1);
    hand.has_said(&[END]);
    hand.asks();
    hand.granted(6);
    assert_eq!(python.answer(), "ok 6");
    assert_eq!(python.ask(&["check", "a"]), "ok held");
}

/// The next one would be over as soon.
#[test]
fn c14_python_has_what_was_held_for_too_long_before_it_had_it_as_lost() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.granted_and_lost(5, 2);
    assert_eq!(python.answer(), "ok 5");
    assert_eq!(python.ask(&["check", "a"]), "ok held too long");
    hand.has_said(&[END]);
}

/// Otherwise the server would keep it for as long as the session goes on.
#[test]
fn c8_python_ends_what_it_has_lost_by_its_clock_when_it_comes_back() {
    for renews in [false, true] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_hold_for(&place, Duration::from_secs(1), renews);
        hand.vanish();
        assert_eq!(python.ask(&["wait_lost", "a"]), "ok lease ran out");
        hand.come_back(2, hand.heard);
        assert_eq!(hand.call_but_ping(), [&[END][..], &1_u64.to_le_bytes()].concat());
    }
}

/// However little the server may take to be reached.
#[test]
fn n7_python_waits_on_when_the_connection_was_lost() {
    for timeout in ["", "30"] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
        assert_eq!(python.ask(&["connect", "0"]), "ok 0.0");
        hand.is_asked_by(&mut python, timeout);
        hand.reconnect(2, 1);
        hand.granted(5);
        assert_eq!(python.answer(), "ok 5", "{timeout:?}");
    }
}

/// A request is given up at its own deadline; without one, after a lease. Unless the client ends it
/// then, the server grants it, and renews it for as long as the session lasts.
#[test]
fn n7_python_ends_what_it_gave_up_while_nobody_served() {
    for (timeout, lease) in [("0.1", PATIENCE), ("", Duration::from_millis(500))] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_session(&place, lease, false);
        hand.is_asked_by(&mut python, timeout);
        hand.vanish();
        let answer = python.answer();
        assert!(answer.starts_with("Unavailable "), "{timeout:?}: {answer}");
        hand.come_back(2, 1);
        hand.has_said(&[END]);
    }
}

#[test]
fn n7_python_ends_what_is_granted_to_nobody() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    hand.is_asked_by(&mut python, "0.1");
    let answer = python.answer();
    assert!(answer.starts_with("Unavailable "), "{answer}");
    hand.has_said(&[END]);
    hand.granted(5);
    hand.has_said(&[END]);
    // But not what it holds, if the answer is repeated.
    hand.reconnect(1, 0);
    python.say(&["acquire", "a", "k", "30"]);
    hand.has_said(&[ACQUIRE]);
    for _ in 0..2 {
        hand.say(1, &[&[1], &2_u64.to_le_bytes()[..], &6_u64.to_le_bytes()].concat());
    }
    assert_eq!(python.answer(), "ok 6");
    python.say(&["renew", "a"]);
    hand.has_said(&[REFRESH]);
}

/// What is left then is what the server may take, or its word would come too late.
#[test]
fn c2_python_asks_when_it_is_back_and_waits_for_what_is_left() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    hand.leave(&mut python);
    python.say(&["acquire", "a", "k", "20"]);
    hand.come_back(2, 0);
    let acquire = hand.call();
    assert_eq!(acquire[0], ACQUIRE);
    let left = Duration::from_nanos(u64::from_le_bytes(acquire[18..26].try_into().unwrap()));
    assert!(left < Duration::from_secs(20) && left > Duration::ZERO, "{left:?}");
    hand.granted(5);
    assert_eq!(python.answer(), "ok 5");
}

/// It waits no more than one that tries.
#[test]
fn c2_python_takes_a_wait_that_was_over_before_for_none() {
    let (place, _serving, rust) = place();
    let mut python = Python::start(place.url());
    let _guard = rust.named("k").acquire().unwrap();
    let answer = python.ask(&["acquire", "a", "k", "-1"]);
    assert!(answer.contains("held by rust"), "{answer}");
}

#[test]
fn n2_python_says_a_renewal_that_was_wanted_while_nobody_served() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    hand.leave(&mut python);
    python.say(&["renew", "a"]);
    hand.come_back(2, 1);
    let renewal = hand.call();
    assert_eq!(renewal[0], REFRESH);
    hand.say(2, &[&[3], &renewal[1..9]].concat());
    assert_eq!(python.answer(), "ok renewed");
}

/// With more than one frame to be repeated.
#[test]
fn n2_python_repeats_after_a_connection_that_broke_while_it_repeated() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.reconnect_deaf(2, 1);
    hand.reconnect(2, 1);
    hand.has_said(&[END, PING]);
    hand.acknowledge(3);
    hand.has_said(&[PING]);
    hand.acknowledge(4);
    assert_eq!(python.answer(), "ok released");
}

#[test]
fn n4_python_asks_again_after_a_connection_that_broke_when_it_was_restored() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.reconnect_deaf(3, 0);
    hand.reconnect(2, 0);
    hand.has_said(&[HOLDING]);
    hand.asks();
    hand.granted(5);
    assert_eq!(python.answer(), "ok 5");
    python.say(&["renew", "a"]);
    hand.has_said(&[REFRESH]);
    hand.reconnect_deaf(3, 0);
    hand.reconnect(2, 0);
    hand.has_said(&[HOLDING, REFRESH]);
}

#[test]
fn n6_python_goes_on_with_more_files_than_select_takes() {
    let (place, _serving, _rust) = place();
    let mut python = Python::start_with(&[place.url(), "", "1100"]);
    python.acquire(&["a", "k", "10"]);
    assert_eq!(python.ask(&["release", "a"]), "ok released");
}

#[test]
fn n7_python_connects_again_after_nonsense() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    // Too short for its numbers; and a holder in no mode.
    let nobody = [&[2][..], &9_u64.to_le_bytes(), &[1, 0, 1, 0, b'k', 1, 0, 0, 0, 0, 0]].concat();
    hand.put(&[0]);
    hand.reconnect(2, 1);
    hand.say(1, &nobody);
    hand.reconnect(2, 1);
    hand.lost(1);
    assert_eq!(python.ask(&["wait_lost", "a"]), "ok stolen");
}

#[test]
fn python_that_is_closed_says_so_at_once() {
    let place = Place::new();
    let (_hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    assert_eq!(python.ask(&["close"]), "ok closed");
    assert_eq!(python.ask(&["acquire", "a", "k"]), "Unavailable this client was closed");
}

/// With a lease of two seconds, which it renews.
#[test]
fn python_over_tls_excludes_a_command_and_hears_of_a_steal() {
    let place = Place::new();
    assert!(place.output(["secret", "--out", "s"]).status.success());
    let listen = ["--listen", "tcp:127.0.0.1:0", "--secret-file", "s"];
    let serving = Serving::start(&mut command(&place, &listen));
    let secret = place.path("s");
    let url = format!("{}?secret_file={}", serving.urls[0], secret.display());
    let place = place.with_url(url.clone());
    let mut other = Python::start(&url);
    other.acquire(&["a", "other", "10"]);
    let mut python = Python::start_with(&[&serving.urls[0], secret.to_str().unwrap()]);
    python.acquire(&["a", "k", "10"]);
    let output = place.output(["run", "-n", "k", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    assert_eq!(python.ask(&["renew", "a"]), "ok renewed");
    let output = place.output(["run", "--steal-after", "1ms", "k", "--", "true"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(python.ask(&["wait_lost", "a"]), "ok stolen");
    python.acquire(&["a", "k", "30"]);
    assert_eq!(python.ask(&["release", "a"]), "ok released");
    assert!(place.output(["run", "-n", "k", "--", "true"]).status.success());
}

#[test]
fn python_says_what_is_wrong_with_a_url_or_a_secret() {
    let place = Place::new();
    let secret = place.path("s");
    std::fs::write(&secret, "a7".repeat(32)).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    let secret = format!("locks://host?secret_file={}", secret.display());
    for (url, expected) in [
        ("", "a URL of a lock server is `unix:`, `unix:///path` or `locks://host:port`"),
        ("redis://host", "a URL of a lock server is"),
        ("locks://host:port", "a URL of a lock server is"),
        ("locks://host", "`locks:` needs the server's secret"),
        ("locks://host?pin=1", "this client knows no option `pin` of `locks:`, only `secret_file`"),
        (&secret, "close it to others with `chmod 6"),
    ] {
        let mut python = Command::new("python3");
        python.args(["-c", "import sys, locks_client; locks_client.place_of(sys.argv[1])", url]);
        python.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python"));
        python.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("LOCKS_SECRET");
        let said = errors(&python.output().unwrap());
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("ValueError: ") && last.contains(expected), "{url}: {said}");
    }
}
