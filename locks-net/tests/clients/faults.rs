//! Servers that end and come back, clients that are killed, stopped and forked.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, Guard, LostCause};
use locks_net::NetBackend;
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, secret};
use crate::program::program;

/// How long a test waits for what should happen at once before it calls it a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a holder finds the server.
const SERVER: &str = "LOCKS_NET_HELD_AT";

/// Another process that holds `k`.
struct Holder {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Holder {
    fn start(address: &str) -> Self {
        let mut command = program("holder");
        command.env(SERVER, address).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut holder = Self { child, stdin, stdout };
        holder.hear("held");
        holder
    }

    fn hear(&mut self, what: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it ended before `{what}`");
            if line.trim() == what {
                return;
            }
        }
    }

    /// Asks whether the lock is still held.
    fn ask(&mut self) -> String {
        writeln!(self.stdin, "check").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it has ended");
            if let Some(answer) = line.trim().strip_prefix("answer: ") {
                return answer.to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does.
pub(crate) fn hold() {
    let address = std::env::var(SERVER).unwrap();
    let builder = match address.starts_with('/') {
        true => NetBackend::unix(address),
        false => NetBackend::tcp(address, secret()).lease(Duration::from_secs(1)),
    };
    let backend = builder.build().unwrap().into_backend();
    let guard = backend.named("k").acquire().unwrap();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nheld").unwrap();
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        match guard.check() {
            Ok(()) => writeln!(stdout, "\nanswer: held").unwrap(),
            Err(error) => writeln!(stdout, "\nanswer: {:?}", error.kind()).unwrap(),
        }
    }
}

#[track_caller]
fn until(what: &str, mut met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < PATIENCE, "it never came about that {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn take(backend: &Backend) -> Guard {
    backend.named("k").wait(PATIENCE).acquire().unwrap()
}

#[test]
fn row2_a_killed_holder_of_a_local_session_is_gone_at_once() {
    let place = Place::new();
    let _server = place.serve();
    let mut holder = Holder::start(place.socket().to_str().unwrap());
    let ours = place.client().into_backend();
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
    let start = Instant::now();
    holder.child.kill().unwrap();
    drop(take(&ours));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "its lease is no matter: {:?}",
        start.elapsed()
    );
}

#[test]
fn row3_a_stopped_holder_of_a_local_session_loses_nothing() {
    let place = Place::new();
    let _server = place.serve();
    let mut holder = Holder::start(place.socket().to_str().unwrap());
    holder.signal(Signal::STOP);
    let ours = place.client().into_backend();
    let error = ours.named("k").wait(Duration::from_millis(300)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    holder.signal(Signal::CONT);
    assert_eq!(holder.ask(), "held");
}

#[test]
fn row3_a_holder_that_was_stopped_past_its_lease_hears_of_it_before_it_goes_on() {
    let place = Place::new();
    let (_server, address) = place.serve_tcp();
    let mut holder = Holder::start(&address);
    holder.signal(Signal::STOP);
    let ours = NetBackend::tcp(&address, secret()).build().unwrap().into_backend();
    let guard = take(&ours);
    holder.signal(Signal::CONT);
    assert!(holder.ask().starts_with("Lost"), "the lock has passed on");
    guard.check().unwrap();
}

#[test]
fn row6_renewal_goes_on_while_the_holder_does_nothing() {
    let place = Place::new();
    let (_server, address) = place.serve_tcp();
    let mut holder = Holder::start(&address);
    let ours = NetBackend::tcp(&address, secret()).build().unwrap().into_backend();
    let waited = ours.named("k").wait(Duration::from_secs(3)).acquire().unwrap_err();
    assert_eq!(waited.kind(), ErrorKind::Timeout, "three leases have passed");
    assert_eq!(holder.ask(), "held");
}

#[test]
fn row14_a_server_that_comes_back_finds_its_holders_and_waiters() {
    let place = Place::new();
    let server = place.serve();
    let ours = place.client().into_backend();
    let theirs = place.client().into_backend();
    let guard = take(&ours);
    let (send, granted) = channel();
    let waiting = thread::spawn(move || {
        let guard = take(&theirs);
        send.send(()).unwrap();
        guard.token()
    });
    until("the other one waits", || {
        let infos = ours.list().unwrap();
        infos.iter().any(|info| info.waiters.len() == 1)
    });
    server.stop();
    let _server = place.serve();
    guard.check().unwrap();
    assert_eq!(ours.named("other").acquire().unwrap().release().map_err(|it| it.kind()), Ok(()));
    assert!(granted.try_recv().is_err(), "it was granted while it is held");
    guard.check().unwrap();
    let token = guard.token();
    guard.release().unwrap();
    assert!(waiting.join().unwrap() > token);
}

/// Before and after a restart a holder is called the same (C12).
#[test]
fn row14_a_holder_keeps_its_name() {
    let place = Place::new();
    let server = place.serve();
    let (ours, watcher) = (place.client().into_backend(), place.client().into_backend());
    let named = thread::Builder::new().name("worker".into());
    thread::scope(|scope| {
        let (send, done) = channel::<()>();
        let (holding, held) = channel();
        let working = move || {
            let guard = take(&ours);
            holding.send(()).unwrap();
            done.recv().unwrap_err();
            guard.release().unwrap();
        };
        let worker = named.spawn_scoped(scope, working).unwrap();
        held.recv().unwrap();
        let who = || {
            let holders = watcher.list().ok().and_then(|mut infos| Some(infos.pop()?.holders));
            holders.and_then(|mut holders| holders.pop()?.who)
        };
        assert_eq!(who().as_deref(), Some("thread `worker`"));
        server.stop();
        let _server = place.serve();
        until("it is called so again", || match who().as_deref() {
            Some("thread `worker`") => true,
            None => false,
            Some(other) => panic!("it is called {other}"),
        });
        drop(send);
        worker.join().unwrap();
    });
}

#[test]
fn row14_nothing_is_lost_while_no_server_is_there_to_count() {
    let place = Place::new();
    let server = place.serve();
    let ours = place.client().into_backend();
    let guard = take(&ours);
    server.stop();
    guard.check().unwrap();
    let error = ours.named("other").wait(Duration::from_millis(100)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    guard.check().unwrap();
    let _server = place.serve();
    until("the server is back", || ours.named("other").wait(true).acquire().is_ok());
    guard.check().unwrap();
    guard.release().unwrap();
}

#[test]
fn row14_a_session_that_the_server_has_forgotten_is_lost() {
    let place = Place::new();
    let server = place.serve();
    let ours = place.client().into_backend();
    let guard = take(&ours);
    server.stop();
    drop(server);
    std::fs::remove_dir_all(place.state()).unwrap();
    let _server = place.serve();
    until("the loss is known", || guard.is_lost());
    let lost = ErrorKind::Lost { cause: LostCause::SessionEnded };
    let error = guard.check().unwrap_err();
    assert_eq!((error.kind(), error.key()), (lost, "k"), "C12: it says what is lost");
    assert_eq!(guard.release().unwrap_err().kind(), lost);
    drop(take(&ours));
}

#[test]
fn n7_the_last_handle_says_good_bye() {
    let place = Place::new();
    let _server = place.serve();
    let (ours, watcher) = (place.client(), place.client());
    drop(take(&ours.clone().into_backend()));
    until("both are there", || watcher.status().block().unwrap().sessions == 2);
    drop(ours);
    until("one of them has left", || watcher.status().block().unwrap().sessions == 1);
}

#[test]
fn n7_a_connection_without_use_is_closed_and_one_that_holds_is_not() {
    let place = Place::new();
    let _server = place.serve();
    let (idle, holds, watcher) = (place.client(), place.client(), place.client());
    let guard = take(&holds.clone().into_backend());
    idle.status().block().unwrap();
    let sessions = || watcher.status().block().unwrap().sessions;
    assert_eq!(sessions(), 3);
    until("the idle one has left", || sessions() == 2);
    guard.check().unwrap();
    idle.status().block().unwrap();
    assert_eq!(sessions(), 3, "it comes back when it is used");
}

#[test]
fn c2_nobody_there_is_said_within_the_bound() {
    let place = Place::new();
    let client = NetBackend::unix(place.socket()).connect(Duration::from_millis(200)).build();
    let backend = client.unwrap().into_backend();
    let start = Instant::now();
    let error = backend.named("k").acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < PATIENCE / 4);
    let _server = place.serve();
    drop(take(&backend));
}

#[test]
fn row20_a_wrong_secret_is_refused_at_once() {
    let place = Place::new();
    let (_server, address) = place.serve_tcp();
    let other = locks_net::Secret::generate().unwrap();
    let backend = NetBackend::tcp(&address, other).build().unwrap().into_backend();
    let error = backend.named("k").acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
}

#[test]
fn n5_what_is_no_address_and_nobody_who_proves_anything_is_refused() {
    for (address, secret, why) in [
        ("host", Some(secret()), "`host` is no address with a port"),
        ("::1:7420", Some(secret()), "is no address with a port"),
        ("127.0.0.1:7420", None, "the server has to know who comes"),
    ] {
        let error = NetBackend::tcp(address, secret).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn c4_many_threads_share_one_connection_and_exclude_each_other() {
    let place = Place::new();
    let _server = place.serve();
    let client = place.client();
    let inside = Arc::new(AtomicUsize::new(0));
    let threads = (0..8).map(|_| {
        let (backend, inside) = (client.clone().into_backend(), inside.clone());
        thread::spawn(move || {
            for _ in 0..200 {
                let guard = take(&backend);
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(guard);
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.status().block().unwrap().sessions, 1);
}

/// Wakes by unparking, as an executor of one's own might.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn n7_it_works_from_any_executor() {
    let place = Place::new();
    let _server = place.serve();
    let backend = place.client().into_backend();
    let rival = place.client().into_backend();
    for round in 0..20 {
        let held = take(&rival).into_owned();
        let mut future = pin!(backend.named("k").acquire_async());
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        assert!(future.as_mut().poll(&mut cx).is_pending());
        let releasing = thread::spawn(move || drop(held));
        let start = Instant::now();
        let guard = loop {
            if let Poll::Ready(guard) = future.as_mut().poll(&mut cx) {
                break guard.unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "round {round}: nobody wakes it");
            thread::park_timeout(PATIENCE);
        };
        releasing.join().unwrap();
        drop(guard);
    }
}
