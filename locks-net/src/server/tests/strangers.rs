//! Clients that do not behave (FAULTS 18 to 21).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use locks_core::{Query, Wait};
use rustix::process::Signal;

use super::child::Other;
use super::line::{Line, Secure, Unopened, acquire, greetings, unix};
use super::{Scratch, until};
use crate::arbiter::Limits;
use crate::secret::{Secret, Secured};
use crate::server::Server;
use crate::wire::{Call, Event, Why};

const PATIENCE: Duration = Duration::from_millis(300);

fn impatient(limits: Limits) -> Limits {
    Limits { patience: PATIENCE, ..limits }
}

/// Opens a line to a server that has so little patience that it may find a greeting of a busy
/// machine slow.
fn in_time(open: impl Fn() -> Result<Line, Unopened>) -> Line {
    let mut opened = None;
    until("a greeting is in time", || {
        opened = match open() {
            Ok(line) => Some(line),
            Err(Unopened::Rejected(rejected)) if rejected.text.contains("took too long") => None,
            // Before it could have been told.
            Err(Unopened::Cut(_)) => None,
            Err(other) => panic!("{other:?}"),
        };
        opened.is_some()
    });
    opened.unwrap()
}

fn local_in_time(scratch: &Scratch) -> Line {
    in_time(|| Line::open(unix(&scratch.socket()), Secured::default(), None, None))
}

/// How long it takes until the connection is closed.
fn closed(mut stream: impl Read) -> Duration {
    let since = Instant::now();
    let mut bytes = [0; 4096];
    while let Ok(1..) = stream.read(&mut bytes) {}
    since.elapsed()
}

/// A server on the socket and at a port with this secret, and that.
fn serve_both(scratch: &Scratch, limits: Limits) -> (Server, String, impl Fn() -> Secret) {
    let same = || Secret::parse(&"5a".repeat(32)).unwrap();
    let builder = Server::builder().unix(scratch.socket()).state(scratch.path("state"));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = builder.limits(limits).tcp(any).clients(same()).start().unwrap();
    let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
    (server, address, same)
}

#[test]
fn f18_who_says_nothing_or_half_a_frame_is_closed_and_others_are_served() {
    let scratch = Scratch::new();
    let (_server, address, secret) = serve_both(&scratch, impatient(Limits::default()));
    let mut other = local_in_time(&scratch);
    let mut slow = in_time(|| Line::tcp(&*address, secret(), None));
    let frame = slow.frame(&acquire(1, "k", Wait::Try));
    let since = Instant::now();
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| {
            closed(unix(&scratch.socket()));
            since.elapsed()
        });
        let mut half = unix(&scratch.socket());
        half.write_all(&[9, 0]).unwrap();
        let half = scope.spawn(|| {
            closed(half);
            since.elapsed()
        });
        // A byte now and then does not help.
        for byte in &frame[..frame.len() - 1] {
            if slow.stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(PATIENCE / 10);
        }
        assert!(slow.is_closed());
        for took in [silent.join().unwrap(), half.join().unwrap()] {
            assert!(took >= PATIENCE && took < PATIENCE + Duration::from_secs(20), "{took:?}");
        }
    });
    assert!(other.acquire("k").is_ok(), "nothing of the half was done");
}

#[test]
fn n12_an_operator_is_told_who_is_refused_what_is_short_and_what_is_released() {
    let scratch = Scratch::new();
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let theirs = Arc::clone(&lines);
    let same = || Secret::parse(&"5a".repeat(32)).unwrap();
    let builder = Server::builder().unix(scratch.socket()).state(scratch.path("state"));
    let builder = builder.limits(Limits { keys: 2, sessions: 2, ..Limits::default() });
    let builder = builder.log(move |line| theirs.lock().unwrap().push(line.clone()));
    let server = builder.tcp("127.0.0.1:0".parse().unwrap()).clients(same()).start().unwrap();
    let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
    let wrong = Secret::generate().unwrap();
    assert!(is_unauthorized(Line::tcp(&*address, wrong, None)));
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    closed(plain);
    let mut line = Line::local(&scratch.socket());
    let token = line.acquire("k").unwrap();
    line.acquire("l").unwrap();
    line.acquire("m").unwrap_err();
    let key = "k".to_owned();
    line.say(&Call::Evict { call: 900, key, token: locks_core::Token::new(token) });
    line.confirm().unwrap();
    let _second = Line::local(&scratch.socket());
    let third = unix(&scratch.socket());
    assert!(Line::open(third, Secured::default(), None, None).is_err());
    server.stop();
    let lines = lines.lock().unwrap();
    let events = Vec::from_iter(lines.iter().map(|line| line.event));
    assert_eq!(
        events,
        ["tls", "started", "proof failed", "refused", "limit", "evicted", "refused", "stopped"],
        "{lines:?}"
    );
}

/// Asks for long lists, and does not read them; another client, which has what is in them.
fn deafen(scratch: &Scratch, deaf: &mut Line, lists: u64) -> Line {
    let mut other = local_in_time(scratch);
    for number in 0..200 {
        other.ask(&format!("a key with a rather long name, number {number}"), false);
    }
    other.confirm().unwrap();
    for call in 1000..1000 + lists {
        // It may be cut off by now.
        let list = deaf.frame(&Call::Inspect { call, query: Query::All });
        let _ = deaf.stream.write_all(&list);
    }
    other.confirm().unwrap();
    other
}

/// Asks for list after list, which come at the server's own pace, until nobody takes a request any
/// more: that is more than all buffers on the way have room for, however large they are.
fn cut_off(deaf: &mut Line) {
    let mut calls = 10_000..;
    until("it is cut off", || {
        let list = deaf.frame(&Call::Inspect { call: calls.next().unwrap(), query: Query::All });
        deaf.stream.write_all(&list).is_err()
    });
}

/// A process of this machine may be stopped for as long as it likes: it keeps its locks (N1).
#[test]
fn f18_who_never_reads_is_cut_off_unless_its_process_keeps_its_session() {
    let scratch = Scratch::new();
    let limits = Limits { write_buffer: 64 * 1024 * 1024, ..Limits::default() };
    let (server, address, secret) = serve_both(&scratch, impatient(limits));
    let mut local = local_in_time(&scratch);
    local.acquire("of the deaf").unwrap();
    let _keys = deafen(&scratch, &mut local, 60);
    let mut remote = in_time(|| Line::tcp(&*address, secret(), None));
    let mut other = deafen(&scratch, &mut remote, 60);
    cut_off(&mut remote);
    // Whoever began to be too slow before has been looked at by now.
    for wanted in 1000..1060 {
        let listed = local.wait(|event| match event {
            Event::Listed { call, more, .. } if *call == wanted => Some(*more),
            _ => None,
        });
        assert!(!listed.unwrap());
    }
    local.confirm().unwrap();
    assert!(other.is_contended("of the deaf"));
    drop(server);
}

#[test]
fn n6_who_lets_too_much_pile_up_is_cut_off() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|limits| limits.write_buffer = 64 * 1024);
    let mut deaf = Line::local(&scratch.socket());
    deaf.acquire("of the deaf").unwrap();
    let mut other = deafen(&scratch, &mut deaf, 60);
    let asked = Instant::now();
    cut_off(&mut deaf);
    assert!(asked.elapsed() < Limits::default().patience, "{:?}", asked.elapsed());
    assert!(other.is_contended("of the deaf"));
}

#[test]
fn f19_garbage_is_refused_and_nothing_of_it_is_done() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    let mut template = Line::local(&scratch.socket());
    let call = template.frame(&acquire(1, "k", Wait::Try));
    let (hello, open, _) = greetings(&template);
    let whole = [&*hello, &*open].concat();
    let garbage: [&[u8]; 6] = [
        &[0xff; 4],
        &[0xff, 0xff, 0xff, 0x7f, 1],
        &[0; 64],
        &open,
        &call,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for garbage in garbage {
        for before in [&[][..], &hello, &whole] {
            let mut stream = unix(&scratch.socket());
            // It may be closed in the middle of that.
            let _ = stream.write_all(before).and_then(|()| stream.write_all(garbage));
            let legal = before == hello && garbage == open || before == whole && garbage == call;
            if !legal {
                let took = closed(stream);
                assert!(took < Duration::from_secs(8), "{garbage:?} after {before:?}: {took:?}");
            }
        }
    }
    let mut other = Line::local(&scratch.socket());
    other.confirm().unwrap();
}

fn with_secret(scratch: &Scratch, limits: Limits) -> (Server, SocketAddr, impl Fn() -> Secret) {
    let secret = Secret::generate().unwrap();
    let same = move || Secret::parse(&secret.to_text()).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let builder = Server::builder().tcp(any).clients(same());
    let server = builder.state(scratch.path("state")).limits(limits).start().unwrap();
    let address = server.addresses()[0].strip_prefix("locks://").unwrap().parse().unwrap();
    (server, address, same)
}

fn is_unauthorized(outcome: Result<Line, Unopened>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(Unopened::Rejected(rejected)) => rejected.why == Why::Unauthorized,
        Err(Unopened::Cut(_)) => true,
    }
}

#[test]
fn f19_nothing_is_done_before_the_proof() {
    let scratch = Scratch::new();
    let (_server, address, same) = with_secret(&scratch, Limits::default());
    let mut line = Line::tcp(address, same(), None).unwrap();
    let (hello, open, _) = greetings(&line);
    let (mut bold, _) = Secure::new(TcpStream::connect(address).unwrap(), same());
    bold.write_all(&[&*hello, &*open, &*open].concat()).unwrap();
    assert!(closed(bold) < Duration::from_secs(5));
    let status = status(&mut line);
    assert_eq!(status.sessions, 1);
}

fn status(line: &mut Line) -> crate::Status {
    line.say(&Call::Status { call: 9 });
    line.wait(|event| match event {
        Event::Status { status, .. } => Some(status.clone()),
        _ => None,
    })
    .unwrap()
}

#[test]
fn f20_a_wrong_secret_is_refused_more_and_more_slowly_and_the_right_one_at_once() {
    let scratch = Scratch::new();
    let (_server, address, same) = with_secret(&scratch, Limits::default());
    let open = |secret| Line::tcp(address, secret, None);
    let mut took = Vec::new();
    for _ in 0..4 {
        let wrong = Secret::generate().unwrap();
        let since = Instant::now();
        assert!(is_unauthorized(open(wrong)));
        took.push(since.elapsed());
    }
    assert!(took[0] >= Duration::from_millis(100), "{took:?}");
    assert!(took[3] >= Duration::from_millis(600), "{took:?}");
    // The quickest of some: a busy machine can take its time with any of them.
    let right = || {
        let since = Instant::now();
        open(same()).unwrap().confirm().unwrap();
        since.elapsed()
    };
    let quickest = (0..5).map(|_| right()).min().unwrap();
    assert!(quickest < Duration::from_millis(600), "{quickest:?}");
}

#[test]
fn n5_other_users_are_let_in_by_name_only() {
    if !rustix::process::geteuid().is_root() {
        // There is no other user to be.
        return;
    }
    let scratch = Scratch::new();
    std::fs::set_permissions(&scratch, PermissionsExt::from_mode(0o711)).unwrap();
    let nobody = 65534;
    for allowed in [nobody + 1, nobody] {
        let builder = Server::builder().unix(scratch.socket()).state(scratch.path("state"));
        let _server = builder.allow_user(allowed).start().unwrap();
        let template = Line::local(&scratch.socket());
        let (hello, ..) = greetings(&template);
        let script = "import os, socket, sys\n\
            os.setuid(int(sys.argv[1]))\n\
            s = socket.socket(socket.AF_UNIX)\n\
            s.connect(sys.argv[2])\n\
            try: s.sendall(bytes.fromhex(sys.argv[3]))\n\
            except BrokenPipeError: pass\n\
            os.write(1, b'!ready\\n!' + s.recv(4096).hex().encode() + b'\\n')\n\
            os.read(0, 1)\n";
        let hello = hello.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let socket = scratch.socket();
        let mut other =
            Other::python(script, &[&nobody.to_string(), socket.to_str().unwrap(), &hello]);
        // The kind of the greeting, behind the length.
        let let_in = &other.said()[8..10] == "02";
        assert_eq!(let_in, allowed == nobody);
    }
}

#[test]
fn f33_a_server_that_was_stopped_reads_before_it_ends_anybody() {
    let scratch = Scratch::new();
    let server = Other::new("tcp", scratch.as_ref(), "");
    let address = std::fs::read_to_string(scratch.path("address")).unwrap();
    let secret = || Secret::read(scratch.path("secret")).unwrap();
    let lease = Duration::from_secs(1);
    let mut line = Line::tcp(&*address, secret(), Some(lease)).unwrap();
    let mut other = Line::tcp(&*address, secret(), Some(lease * 20)).unwrap();
    line.acquire("k").unwrap();
    let heard = Instant::now();
    server.signal(Signal::STOP);
    std::thread::sleep(lease / 2);
    line.say(&Call::Ping);
    // Until the lease is over by what the server has read.
    std::thread::sleep((lease + lease / 4).saturating_sub(heard.elapsed()));
    server.signal(Signal::CONT);
    line.confirm().unwrap();
    assert!(other.is_contended("k"));
}

#[test]
fn f21_newcomers_beyond_the_limit_push_out_the_oldest_and_clients_stay() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|limits| limits.newcomers = 8);
    let mut line = Line::local(&scratch.socket());
    let silent: Vec<UnixStream> = (0..100).map(|_| unix(&scratch.socket())).collect();
    line.confirm().unwrap();
    until("the oldest are closed", || {
        let closed = silent.iter().filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            !matches!((&**stream).read(&mut [0; 512]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        });
        // What was said to them has been read by the round before.
        closed.count() >= 92
    });
    assert!(Line::local(&scratch.socket()).acquire("k").is_ok());
}

#[test]
fn f33_a_server_out_of_descriptors_serves_its_clients_and_recovers() {
    let scratch = Scratch::new();
    let mut server = Other::new("server", scratch.as_ref(), "ulimit -n 40;");
    let mut line = Line::local(&scratch.socket());
    line.acquire("k").unwrap();
    let mut streams: Vec<UnixStream> = (0..100).map(|_| unix(&scratch.socket())).collect();
    line.acquire("during").unwrap();
    // Those who are too many are told so.
    let mut told = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut bytes = [0; 256];
        let read = stream.read(&mut bytes).unwrap_or(0);
        told += usize::from(String::from_utf8_lossy(&bytes[..read]).contains("descriptors"));
    }
    assert!(told > 0);
    line.acquire("after").unwrap();
    drop(streams);
    let again = || Line::open(unix(&scratch.socket()), Secured::default(), None, None).ok();
    until("it recovers", || again().is_some_and(|mut line| line.is_contended("k")));
    server.tell("");
}

#[test]
fn f23_when_the_journal_cannot_grow_nothing_is_granted_and_all_else_goes_on() {
    let scratch = Scratch::new();
    // The limit is counted in units of 512 or 1,024 bytes.
    let mut server = Other::new("server", scratch.as_ref(), "ulimit -f 8;");
    let mut line = Line::local(&scratch.socket());
    let mut granted = 0;
    let refusal = loop {
        match line.acquire(&format!("k{granted}")) {
            Ok(_) => granted += 1,
            Err(error) => break error,
        }
        assert!(granted < 10_000, "the journal goes on and on");
    };
    assert!(granted > 10);
    let text = refusal.to_string();
    assert!(text.contains("write") && text.contains("ulimit -f"), "{text}");
    line.confirm().expect("N6: renewals go on");
    let mut other = Line::local(&scratch.socket());
    other.acquire("another").expect_err("N6: nothing is granted");
    for request in 1..=granted / 2 {
        line.say(&Call::End { request });
        line.confirm().expect("N6: releases go on");
    }
    // What is over has made room.
    other.acquire("another").unwrap();
    server.kill();

    let _successor = scratch.serve(|_| {});
    let mut rival = Line::local(&scratch.socket());
    for number in granted / 2..granted {
        assert!(rival.is_contended(&format!("k{number}")), "k{number} was granted");
    }
    assert!(!rival.is_contended("k0") && !rival.is_contended(&format!("k{granted}")));
    assert!(rival.is_contended("another"));
}
