//! Sessions over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::line::{Line, unix};
use super::{Scratch, until};
use locks_core::Query;

use crate::secret::Secret;
use crate::server::Server;
use crate::server::timer::Timer;
use crate::wire::{Call, Event, How};

#[test]
fn a_lock_goes_from_client_to_client() {
    let scratch = Scratch::new();
    let server = scratch.serve(|_| {});
    assert_eq!(server.addresses(), [format!("unix://{}", scratch.socket().display())]);
    let (mut one, mut other) = (Line::local(&scratch.socket()), Line::local(&scratch.socket()));
    let first = one.acquire("k").unwrap();
    let request = other.ask("k", true);
    other.confirm().unwrap();
    one.say(&Call::End { request: 1 });
    assert!(other.granted(request).unwrap() > first);
    assert!(!one.opened.renews);
}

#[test]
fn n2_many_frames_at_once_are_all_answered() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    let mut line = Line::local(&scratch.socket());
    let requests: Vec<_> = (0..5000).map(|number| line.ask(&format!("k{number}"), true)).collect();
    for request in requests {
        line.granted(request).unwrap();
    }
}

#[test]
fn n6_who_reads_late_gets_everything() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    let (mut other, mut late) = (Line::local(&scratch.socket()), Line::local(&scratch.socket()));
    for number in 0..200 {
        other.ask(&format!("a key with a rather long name, number {number}"), true);
    }
    other.confirm().unwrap();
    // More than the socket takes, less than is kept.
    for call in 0..60 {
        late.say(&Call::Inspect { call, query: Query::All });
    }
    other.confirm().unwrap();
    for wanted in 0..60 {
        let listed = late.wait(|event| match event {
            Event::Listed { call, infos, more } if *call == wanted => Some((infos.len(), *more)),
            _ => None,
        });
        assert_eq!(listed.unwrap(), (200, false));
    }
    late.confirm().unwrap();
}

#[test]
fn n1_a_cut_connection_of_a_living_process_is_resumed() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    let (mut one, mut other) = (Line::local(&scratch.socket()), Line::local(&scratch.socket()));
    one.acquire("k").unwrap();
    assert_eq!(one.resume(unix(&scratch.socket())), How::Resumed);
    one.confirm().unwrap();
    assert!(other.is_contended("k"));
}

#[test]
fn n1_a_session_not_resumed_ends_with_its_time() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|limits| {
        limits.shortest_lease = Duration::from_millis(50);
        limits.lease = Duration::from_millis(300);
    });
    let (mut one, mut other) = (Line::local(&scratch.socket()), Line::local(&scratch.socket()));
    one.acquire("k").unwrap();
    let cut = Instant::now();
    drop(one);
    let request = other.ask("k", true);
    other.granted(request).unwrap();
    let took = cut.elapsed();
    assert!(took >= Duration::from_millis(300), "ended after {took:?}");
}

#[test]
fn n4_a_successor_has_the_sessions_and_their_locks() {
    let scratch = Scratch::new();
    let server = scratch.serve(|_| {});
    let mut one = Line::local(&scratch.socket());
    let first = one.acquire("k").unwrap();
    server.stop();
    assert!(!scratch.socket().exists(), "who stops takes the socket along");
    one.wait(|event| matches!(event, Event::Closing).then_some(())).unwrap();
    assert!(one.is_closed());

    let server = scratch.serve(|_| {});
    let mut other = Line::local(&scratch.socket());
    assert!(other.is_contended("k"));
    assert_eq!(one.resume(unix(&scratch.socket())), How::Restored);
    one.say(&Call::Holding { held: vec![1], pending: vec![], more: false });
    one.say(&Call::End { request: 1 });
    one.confirm().unwrap();
    assert!(other.acquire("k").unwrap() > first);
    drop(server);
    assert!(other.is_closed());
}

#[test]
fn n1_over_tcp_a_session_is_kept_by_its_lease() {
    let scratch = Scratch::new();
    let secret = Secret::generate().unwrap();
    let same = || Secret::parse(&secret.to_text()).unwrap();
    let limits = crate::Limits { shortest_lease: Duration::from_millis(50), ..Default::default() };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let builder = Server::builder().tcp(any).clients(same());
    let server = builder.unix(scratch.socket()).state(scratch.path("state")).limits(limits);
    let server = server.start().unwrap();
    let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
    assert!(!address.ends_with(":0"), "the port is the real one: {address}");

    let lease = Duration::from_millis(400);
    let mut one = Line::tcp(&*address, same(), Some(lease)).unwrap();
    assert!(one.opened.renews);
    one.acquire("k").unwrap();
    let mut local = Line::local(&scratch.socket());
    let request = local.ask("k", true);
    let renewed = Instant::now();
    one.confirm().unwrap();
    // It says nothing any more; that its connection is open does not matter.
    local.granted(request).unwrap();
    assert!(renewed.elapsed() >= lease, "after {:?}", renewed.elapsed());
    drop(one);
}

#[test]
fn n1_the_end_of_a_process_ends_its_session_at_once_though_its_socket_stays_open() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    // A child of the child keeps the connection, as after a fork.
    let script = format!(
        "import socket, os, sys\n\
         s = socket.socket(socket.AF_UNIX)\n\
         s.connect({:?})\n\
         s.sendall(bytes.fromhex(sys.argv[1]))\n\
         s.recv(4096)\n\
         s.sendall(bytes.fromhex(sys.argv[2]))\n\
         got = s.recv(4096)\n\
         while len(got) < int(sys.argv[3]): got += s.recv(4096)\n\
         r, w = os.pipe()\n\
         if os.fork() == 0:\n\
         \x20   os.close(w)\n\
         \x20   os.write(1, b'held')\n\
         \x20   os.read(0, 1)\n\
         \x20   os._exit(0)\n\
         os.read(r, 1)\n",
        scratch.socket()
    );
    let mut template = Line::local(&scratch.socket());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (hello, open, opened) = super::line::greetings(&template);
    let mut rest = open;
    rest.extend(template.frame(&super::line::acquire(1, "k", locks_core::Wait::Try)));
    let mut child = std::process::Command::new("python3")
        .args(["-c", &script, &hex(&hello), &hex(&rest), &(opened + 4 + 16 + 1).to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    let mut other = Line::local(&scratch.socket());
    assert!(other.is_contended("k"));
    let request = other.ask("k", true);
    child.kill().unwrap();
    let killed = Instant::now();
    other.granted(request).unwrap();
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    // The other child still has the connection; it ends with its standard input.
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// So that another build may go on from it (N11).
#[test]
fn n11_a_server_that_is_idle_leaves_nothing_but_the_header_in_its_journal() {
    let scratch = Scratch::new();
    let server = scratch.serve(|_| {});
    let mut line = Line::local(&scratch.socket());
    let token = line.acquire("k").unwrap();
    line.say(&Call::End { request: 1 });
    line.confirm().unwrap();
    let header = crate::journal::HEADER;
    let length = || std::fs::metadata(scratch.path("state/journal")).unwrap().len();
    until("nothing else is left", || length() == header as u64);
    // The client goes on all the same, over a restart too.
    assert!(line.acquire("k").unwrap() > token);
    assert!(length() > header as u64);
    server.stop();
    assert!(length() > header as u64, "it is held");
}

/// A client over TCP may not know yet what became of its release, although the server has heard it:
/// then the journal has its session until that is known.
#[test]
fn n11_over_tcp_nothing_else_is_left_once_the_client_has_heard_of_its_release() {
    let scratch = Scratch::new();
    let secret = Secret::generate().unwrap();
    let same = || Secret::parse(&secret.to_text()).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let builder = Server::builder().tcp(any).clients(same()).state(scratch.path("state"));
    let server = builder.start().unwrap();
    let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
    let mut line = Line::tcp(&*address, same(), None).unwrap();
    line.acquire("k").unwrap();
    line.say(&Call::End { request: 1 });
    let header = crate::journal::HEADER as u64;
    let length = || std::fs::metadata(scratch.path("state/journal")).unwrap().len();
    until("nothing else is left", || {
        line.confirm().unwrap();
        // It looks once a second, and finds a client that says something all the time to be in the
        // middle of it.
        thread::sleep(Timer::LONGEST * 3 / 2);
        length() == header
    });
}
