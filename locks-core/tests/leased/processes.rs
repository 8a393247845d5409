//! Processes that exit or fork (F36, F47). The store is this process; others reach it by a socket,
//! and send each step a little later, from a thread of their own.

use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use locks_core::{
    Backend, BackendInfo, Capabilities, Claimed, ErrorKind, Exclusion, LeaseClaim, LeaseEnding,
    LeaseEntry, LeaseRenewal, LeaseStore, Leased, LockError, Op, OwnedGuard, Query, Refusal,
    Renewed, Token, TokenScope, Wake,
};
use parking_lot::Mutex;

use crate::gate::Gate;
use crate::rig::until;

/// Where the other process finds the store, and which key it is to take.
const SOCKET: &str = "LEASED_TEST_SOCKET";
const KEY: &str = "LEASED_TEST_KEY";
const LATE: Duration = Duration::from_millis(5);

/// A client of the store: sends lines, each once the one before is answered.
struct Remote {
    about: BackendInfo,
    lines: mpsc::Sender<(String, Arc<Answer>)>,
}

#[derive(Default)]
struct Answer {
    line: Mutex<String>,
    given: Gate,
}

impl Remote {
    fn connect(path: &str) -> Self {
        let (lines, asked) = mpsc::channel::<(String, Arc<Answer>)>();
        let mut socket = UnixStream::connect(path).expect("the store listens");
        let mut answers = BufReader::new(socket.try_clone().expect("a socket can be cloned"));
        thread::spawn(move || {
            for (line, answer) in asked {
                thread::sleep(LATE);
                writeln!(socket, "{line}").expect("the store reads");
                answers.read_line(&mut answer.line.lock()).expect("the store answers");
                answer.given.open();
            }
        });
        let mut can = Capabilities::plain(Exclusion::Lease, TokenScope::Process);
        can.evict = true;
        Self { about: BackendInfo::new("remote:", can), lines }
    }

    fn ask<T: Send + 'static>(&self, line: String, read: fn(&str) -> T) -> Op<'static, T> {
        let answer = Arc::<Answer>::default();
        self.lines.send((line, answer.clone())).expect("the thread lives as long as this");
        Op::later(async move {
            answer.given.passed().await;
            Ok(read(answer.line.lock().trim()))
        })
    }
}

impl LeaseStore for Remote {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        self.ask(format!("claim {}", claim.keys[0]), |token| {
            Claimed::Granted(Token::new(token.parse().expect("a token")))
        })
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        Op::ready(vec![Renewed::Kept; renewals.len()])
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        self.ask(format!("end {}", ending.keys[0]), |ended| ended == "1")
    }

    fn list<'a>(&'a self, _: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        Op::failed(LockError::unsupported("remote:", "list", ""))
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }
}

/// The store: what is held.
struct Server {
    held: Arc<Mutex<HashMap<String, u64>>>,
    path: PathBuf,
}

impl Server {
    fn new(name: &str) -> Self {
        let name = format!("leased-{name}-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).expect("a new socket");
        let held = Arc::<Mutex<HashMap<String, u64>>>::default();
        let holds = held.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let holds = holds.clone();
                thread::spawn(move || serve(socket, &holds));
            }
        });
        Self { held, path }
    }

    /// This program once more, with nothing but this test.
    fn child(&self, test: &str, key: &str) -> Child {
        let mut child = Command::new(std::env::current_exe().expect("it has a path"));
        child.args(["--exact", test]).env(SOCKET, &self.path).env(KEY, key);
        child.stdout(std::process::Stdio::null()).spawn().expect("it starts")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut socket: UnixStream, held: &Mutex<HashMap<String, u64>>) {
    let lines = BufReader::new(socket.try_clone().expect("a socket can be cloned")).lines();
    for line in lines.map_while(Result::ok) {
        let (step, key) = line.split_once(' ').expect("a step and a key");
        let answer = match step {
            "claim" => {
                held.lock().insert(key.to_owned(), 1);
                1
            }
            _ => u64::from(held.lock().remove(key).is_some()),
        };
        if writeln!(socket, "{answer}").is_err() {
            return;
        }
    }
}

fn remote() -> Option<(Backend, String)> {
    let store = Remote::connect(&std::env::var(SOCKET).ok()?);
    let backend = Leased::builder(store).lease(Duration::from_secs(3600)).build().into_backend();
    Some((backend, std::env::var(KEY).ok()?))
}

#[test]
fn f47_a_process_that_exits_right_after_dropping_its_guard_leaves_the_lock_free() {
    let server = Server::new("exit");
    let mut free = 0;
    for first in (0..100).step_by(4) {
        let keys = [0, 1, 2, 3].map(|of| format!("key-{}", first + of));
        let children =
            keys.each_ref().map(|key| server.child("processes::takes_drops_and_exits", key));
        for (mut child, key) in children.into_iter().zip(keys) {
            assert_eq!(child.wait().expect("it ends").code(), Some(7));
            // At once, and not after a lease, which is an hour.
            free += usize::from(!server.held.lock().contains_key(&key));
        }
    }
    assert!(free >= 99, "{free} of 100 locks are free");
}

/// The other process of the test above; as a test of its own it has nothing to do.
#[test]
fn takes_drops_and_exits() {
    if let Some((backend, key)) = remote() {
        drop(backend.named(key).acquire().expect("it is free"));
        std::process::exit(7);
    }
}

#[test]
fn f36_a_forked_child_has_lost_its_parents_guards_and_is_told_to_open_the_store_again() {
    let server = Server::new("fork");
    let mut child = server.child("processes::forks_with_a_guard", "k");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
    assert!(!server.held.lock().contains_key("k"), "the parent has released it");
}

/// The other process of the test above.
#[test]
fn forks_with_a_guard() {
    let Some((backend, key)) = remote() else { return };
    let guard = backend.named(key.clone()).acquire().expect("it is free").into_owned();
    // SAFETY: no other thread of this process has a lock of the allocator's or of ours for long;
    // the child runs the few calls below and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: should one of the calls hang, the process ends.
        unsafe { libc::alarm(20) };
        let lost = guard.is_lost() && guard.check().is_err() && guard.refresh().is_err();
        let told = |error: LockError| {
            error.kind() == ErrorKind::Unavailable && error.to_string().contains("open it again")
        };
        let other = backend.named("other").wait(false).acquire();
        let refused = other.is_err_and(told)
            && backend.list().is_err_and(told)
            && backend.evict(&key, guard.token()).block().is_err_and(told);
        drop(guard);
        let ends = i32::from(!lost) + 2 * i32::from(!refused);
        // SAFETY: it ends the process, and nothing that was the parent's.
        unsafe { libc::_exit(ends) };
    }
    let mut status = -1;
    // SAFETY: there is room for the status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "1: not lost, 2: not refused, in the high byte");
    guard.check().expect("the parent holds it");
    guard.release().expect("the parent releases it");
    std::process::exit(7);
}

/// A store within the process, also within a child of it, which has what its parent left there.
struct Local {
    about: BackendInfo,
    held: std::sync::Mutex<HashMap<String, (u128, u64)>>,
    renewals: Arc<AtomicU64>,
}

impl Local {
    fn backend(lease: Duration, renewals: &Arc<AtomicU64>) -> Backend {
        let about =
            BackendInfo::new("local:", Capabilities::plain(Exclusion::Lease, TokenScope::Process));
        let store = Self { about, held: std::sync::Mutex::default(), renewals: renewals.clone() };
        Leased::builder(store).lease(lease).build().into_backend()
    }
}

impl LeaseStore for Local {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let mut held = self.held.lock().expect("nothing panics under it");
        if held.contains_key(&claim.keys[0]) {
            return Op::ready(Claimed::Refused(Refusal::new(Vec::new())));
        }
        let token = held.len() as u64 + 1;
        held.insert(claim.keys[0].clone(), (claim.id.get(), token));
        Op::ready(Claimed::Granted(Token::new(token)))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        Op::ready(vec![Renewed::Kept; renewals.len()])
    }

    fn works_in_children(&self) -> bool {
        true
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let mut held = self.held.lock().expect("nothing panics under it");
        Op::ready(held.remove(&ending.keys[0]).is_some())
    }

    fn list<'a>(&'a self, _: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        Op::ready(Vec::new())
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }
}

/// Runs `child` in a forked process, and returns how that has ended: with an alarm, should it hang.
fn forked(child: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child calls what is to be tested, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: should `child` hang, the process ends.
        unsafe { libc::alarm(20) };
        let ok = child();
        // SAFETY: it ends the process, and nothing that was the parent's.
        unsafe { libc::_exit(i32::from(!ok)) };
    }
    let mut status = -1;
    // SAFETY: there is room for the status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

#[test]
fn f36_a_child_drops_its_parents_guards_whatever_the_parents_threads_are_at() {
    let server = Server::new("busy");
    let mut child = server.child("processes::forks_while_it_is_busy", "k");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
}

/// The other process of the test above.
#[test]
fn forks_while_it_is_busy() {
    if std::env::var_os(SOCKET).is_none() {
        return;
    }
    let backend = Local::backend(Duration::from_secs(3600), &Arc::default());
    let take = |number| backend.named(format!("held-{number}")).acquire().expect("it is free");
    let guards = Vec::from_iter((0..100).map(|number| take(number).into_owned()));
    let pending = Box::pin(backend.named("held-0").wait(Duration::from_secs(60)).acquire_async());
    let (mut guards, mut pending) = (Some(guards), Some(pending));
    if let Some(wait) = &mut pending {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(cx).is_pending());
    }
    let over = &AtomicBool::new(false);
    let status = thread::scope(|threads| {
        let backend = &backend;
        for thread in 0..3 {
            threads.spawn(move || {
                for number in (0_u64..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    drop(backend.named(format!("{thread}-{}", number % 997)).acquire());
                }
            });
        }
        // One that hangs does so within some dozens.
        let statuses = (0..300).map(|_| {
            forked(|| {
                let lost = guards.iter().flatten().all(OwnedGuard::is_lost);
                drop((guards.take(), pending.take()));
                lost
            })
        });
        let worst = statuses.max().expect("it has forked");
        over.store(true, Ordering::Relaxed);
        worst
    });
    std::process::exit(if status == 0 { 7 } else { status });
}

/// None of the parent's threads is in the child: what it acquires is renewed by one of its own.
#[test]
fn f36_what_a_child_acquires_by_its_parents_handle_is_renewed_there() {
    let server = Server::new("renews");
    let mut child = server.child("processes::forks_and_renews", "k");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
}

/// The other process of the test above.
#[test]
fn forks_and_renews() {
    if std::env::var_os(SOCKET).is_none() {
        return;
    }
    let renewals = Arc::<AtomicU64>::default();
    let backend = Local::backend(Duration::from_secs(2), &renewals);
    let parents = backend.named("parent's").acquire().expect("it is free").into_owned();
    until("its thread of renewals is there", || renewals.load(Ordering::SeqCst) > 0);
    let status = forked(|| {
        let Ok(own) = backend.named("child's").acquire() else { return false };
        let before = renewals.load(Ordering::SeqCst);
        while renewals.load(Ordering::SeqCst) < before + 2 {
            thread::yield_now();
        }
        let nests = backend.named("parent's").reentrant().wait(false).acquire();
        own.check().is_ok() && parents.is_lost() && nests.is_err_and(|error| error.is_contended())
    });
    parents.check().expect("the parent holds it");
    std::process::exit(if status == 0 { 7 } else { 1 });
}
