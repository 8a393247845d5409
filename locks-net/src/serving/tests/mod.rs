//! Processes that serve each other.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use locks_core::{ErrorKind, LockError};
use rustix::process::Signal;

use super::MachineDial;
use crate::client::{Dial, Unreached};
use crate::secret::Secured;
use crate::server::tests::Scratch;
use crate::server::tests::child::Other;
use crate::server::tests::line::{Line, connected};
use crate::wire::How;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn machine(scratch: &Scratch) -> MachineDial {
    MachineDial::new(scratch.path("machine"))
}

fn connect(machine: &MachineDial) -> UnixStream {
    connected(machine.dial(soon()).unwrap())
}

fn dial(scratch: &Scratch) -> Line {
    Line::open(connect(&machine(scratch)), Secured::default(), None, None).unwrap()
}

fn failed(unreached: Unreached) -> LockError {
    match unreached {
        Unreached::Failed(error) => error,
        Unreached::NobodyListens(error) => panic!("nobody listens: {error}"),
    }
}

#[test]
fn n3_the_first_serves_and_the_others_connect() {
    let scratch = Scratch::new();
    let (mut one, mut other) = (dial(&scratch), dial(&scratch));
    one.acquire("k").unwrap();
    assert!(other.is_contended("k"));
    let mut child = Other::new("machine", scratch.as_ref(), "");
    child.tell("x");
    assert_eq!(child.said(), "held");
    assert!(other.is_contended("x"));
    child.kill();
    let request = other.ask("x", true);
    other.granted(request).unwrap();
}

#[test]
fn n3_threads_that_come_at_once_find_one_server() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| dial(&scratch).acquire("k").is_ok())).collect();
        let granted = threads.into_iter().map(|thread| thread.join().unwrap());
        // A session whose connection was closed without a word keeps its lock for a while.
        assert_eq!(granted.filter(|granted| *granted).count(), 1);
    });
}

#[test]
fn n3_when_the_server_is_killed_a_newcomer_serves_and_no_lock_is_lost() {
    let scratch = Scratch::new();
    let mut server = Other::new("machine", scratch.as_ref(), "");
    server.tell("of the server");
    assert_eq!(server.said(), "held");
    let mut client = dial(&scratch);
    let token = client.acquire("of a client").unwrap();
    server.kill();
    let killed = Instant::now();
    assert!(client.is_closed());

    let mut newcomer = dial(&scratch);
    let took = killed.elapsed();
    assert!(newcomer.acquire("of the server").unwrap() > token, "who is dead holds nothing");
    assert!(newcomer.is_contended("of a client"));
    assert_eq!(client.resume(connect(&machine(&scratch))), How::Restored);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn n3_a_listener_that_a_forked_child_keeps_open_is_in_nobodys_way() {
    let scratch = Scratch::new();
    let directory = scratch.path("machine");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    // Serves as far as anybody can see, and leaves a child that has the socket when it is killed.
    let script = "import os, socket, sys, fcntl\n\
        d = sys.argv[1]\n\
        lock = open(d + '/server.lock', 'w')\n\
        fcntl.lockf(lock, fcntl.LOCK_EX)\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.bind(d + '/server.sock')\n\
        s.listen(10)\n\
        if os.fork() == 0:\n\
        \x20   os.read(0, 1)\n\
        \x20   os._exit(0)\n\
        os.write(1, b'!ready\\n')\n\
        os.read(os.pipe()[0], 1)\n";
    let mut server = Other::python(script, &[directory.to_str().unwrap()]);
    connect(&machine(&scratch));
    server.kill_leaving_stdin();
    let killed = Instant::now();
    assert!(dial(&scratch).acquire("k").is_ok());
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
}

#[test]
fn n3_who_serves_and_does_not_answer_is_named() {
    let scratch = Scratch::new();
    let directory = scratch.path("machine");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    // Has the lock and never listens.
    let script = "import os, sys, fcntl\n\
        lock = open(sys.argv[1] + '/server.lock', 'w')\n\
        fcntl.lockf(lock, fcntl.LOCK_EX)\n\
        os.write(1, b'!ready\\n')\n\
        os.read(0, 1)\n";
    let server = Other::python(script, &[directory.to_str().unwrap()]);
    let by = Instant::now() + Duration::from_millis(100);
    let error = failed(machine(&scratch).dial(by).unwrap_err());
    assert!(Instant::now() >= by, "it tries until then");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("process {}", server.pid())), "{error}");

    server.signal(Signal::STOP);
    crate::server::tests::until("it is stopped", || {
        let error = failed(machine(&scratch).dial(Instant::now()).unwrap_err());
        error.to_string().contains("which is stopped")
    });
    drop(server);
    assert!(dial(&scratch).acquire("k").is_ok());
}

#[test]
fn who_may_not_serve_only_looks() {
    let scratch = Scratch::new();
    let looks = machine(&scratch).serve(false);
    let Err(Unreached::NobodyListens(missing)) = looks.dial(soon()) else { panic!("it serves") };
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(!scratch.path("machine").exists(), "nothing was made");
    let _served = dial(&scratch);
    connect(&looks);
}

#[test]
fn a_socket_that_was_removed_comes_back_and_no_lock_is_lost() {
    let scratch = Scratch::new();
    let mut one = dial(&scratch);
    one.acquire("k").unwrap();
    fs::remove_file(scratch.path("machine/server.sock")).unwrap();
    let mut other = dial(&scratch);
    assert!(other.is_contended("k"));
    assert!(one.is_closed());
}

#[test]
fn f7_what_is_in_the_sockets_place_and_is_none_is_left_alone() {
    let scratch = Scratch::new();
    let directory = scratch.path("machine");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    fs::write(directory.join("server.sock"), "precious").unwrap();
    let error = failed(machine(&scratch).dial(soon()).unwrap_err());
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(directory.join("server.sock")).unwrap(), "precious");
}

#[test]
fn paths_longer_than_an_address_are_reached() {
    let scratch = Scratch::new();
    let directory = scratch.path(&"long".repeat(40));
    let machine = MachineDial::new(&directory);
    assert!(
        Line::open(connect(&machine), Secured::default(), None, None).unwrap().acquire("k").is_ok()
    );
}
