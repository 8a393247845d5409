//! Rows 18 to 20: connections of those who do not speak the protocol, or not for long, or who do
//! not know the secret.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind};
use locks_net::{NetBackend, Secret};

use crate::directory::{Directory, until};
use crate::means::can_run;
use crate::peer::Peer;
use crate::place::{Place, Way, assert_nothing_left, status};
use crate::program::program_after;
use crate::proxy::{self, Proxy, Towards};

const PATIENCE: &str = "patience=700 lease=3000";

/// What the server says until it closes.
fn heard(mut stream: &proxy::Stream) -> Vec<u8> {
    stream.set_patience(Duration::from_secs(10));
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return heard,
            Ok(read) => heard.extend(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return heard,
            Err(error) => panic!("row 18: it stays open: {error}"),
        }
    }
}

/// What greetings these are.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (body, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        kinds.push(body[0]);
        bytes = rest;
    }
    kinds
}

/// A frame with this body.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_le_bytes(), body].concat()
}

/// `ClientHello` of version 1.
fn hello() -> Vec<u8> {
    hello_of(1)
}

fn hello_of(version: u8) -> Vec<u8> {
    frame(&[&[1, version, 0], &[7; 32][..]].concat())
}

/// `Open` of a new session, by somebody without a name.
fn open() -> Vec<u8> {
    frame(&[4, 0, 0])
}

/// A numbered frame with an `Acquire` of `key`.
fn acquire(number: u64, key: &str) -> Vec<u8> {
    let mut body = [number.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    body.push(1);
    body.extend(7_u64.to_le_bytes());
    body.extend(2_u16.to_le_bytes());
    body.extend(1_u32.to_le_bytes());
    body.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
    body.extend(key.as_bytes());
    frame(&body)
}

/// By hand, so that what the other tests send is known to be nearly right.
#[test]
fn row_19_the_protocol_spoken_by_hand_takes_a_lock() {
    let place = Place::with_limits(Way::Unix, "lease=1000");
    let _serving = place.start();
    let client = place.backend();
    let stream = proxy::connect(&place.told()).unwrap();
    (&stream).write_all(&[hello(), open(), acquire(1, "k")].concat()).unwrap();
    until("it has the lock", || {
        client.named("k").wait(false).acquire().is_err_and(|error| error.is_contended())
    });
    drop(stream);
    // Nobody has said good-bye, and the process lives: it is kept for a lease.
    drop(client.named("k").acquire().unwrap());
}

#[test]
fn row_19_garbage_is_refused_and_nothing_of_it_is_done() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, PATIENCE);
        let serving = place.start();
        let mut holder = place.peer();
        let held = holder.take("k", "");
        let before = serving.memory();
        let mut cases: Vec<Vec<u8>> = vec![
            // 4 GiB, and almost: nothing is reserved for them.
            u32::MAX.to_le_bytes().to_vec(),
            [&0x7fff_ffff_u32.to_le_bytes()[..], &[0; 4096]].concat(),
            [&1025_u32.to_le_bytes()[..], &[1; 1025]].concat(),
            frame(&[]),
            frame(&[9]),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            vec![0; 10_000],
            vec![0xff; 10_000],
            // Commands before there is a session.
            open(),
            acquire(1, "stolen"),
            [hello(), acquire(1, "stolen")].concat(),
            [hello(), hello()].concat(),
            // Behind the greetings, too: a gap, a number twice, keys out of order or empty.
            [hello(), open(), acquire(2, "stolen")].concat(),
            [hello(), open(), u32::MAX.to_le_bytes().to_vec()].concat(),
            [hello(), open(), frame(&[0; 3])].concat(),
            [hello(), open(), acquire(1, "")].concat(),
            [hello(), open(), acquire(1, "nul\0nul")].concat(),
        ];
        // Truncated at every place.
        let whole = [hello(), open(), acquire(1, "stolen")].concat();
        let end = whole.len() - acquire(1, "stolen").len();
        cases.extend((0..end).step_by(3).map(|length| whole[..length].to_vec()));
        let mut dice = 7_u64;
        for _ in 0..200 {
            let mut bytes = whole[..end].to_vec();
            for _ in 0..3 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(dice >> 33).unwrap() % bytes.len();
                bytes[at] ^= u8::try_from(dice >> 56).unwrap();
            }
            cases.push(bytes);
        }
        let streams = Vec::from_iter(cases.iter().map(|case| {
            let stream = proxy::connect(&place.told()).unwrap();
            // It may be refused before all of it is sent.
            let _ = (&stream).write_all(case);
            stream
        }));
        holder.refresh(held).expect("row 19: others go on");
        assert_eq!(holder.status()[2], 1, "row 19: something was done: {:?}", holder.status());
        // Whoever says no more is closed as well, and so are those whom chance has let in.
        drop(streams);
        holder.contended("k", "");
        until("there is nobody but the holder", || holder.status()[1] == 1);
        let after = serving.memory();
        assert!(after < before + 8 * 1024, "row 19: {before} KiB before, {after} KiB after");
        holder.release(held).unwrap();
    }
}

/// What cannot be is not waited for.
#[test]
fn row_19_a_length_that_cannot_be_is_refused_at_once() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, "patience=60000");
        let _serving = place.start();
        let start = Instant::now();
        let stream = proxy::connect(&place.told()).unwrap();
        (&stream).write_all(&u32::MAX.to_le_bytes()).unwrap();
        heard(&stream);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(30), "row 19: {way:?}: 4 GiB after {took:?}");
    }
}

#[test]
fn row_18_who_is_slow_or_says_nothing_is_closed_in_time() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, PATIENCE);
        let _serving = place.start();
        let told = place.told();
        let start = Instant::now();
        let silent = Vec::from_iter((0..20).map(|at| {
            let stream = proxy::connect(&told).unwrap();
            (&stream).write_all(&hello()[..at]).unwrap();
            stream
        }));
        // One byte after the other: never silent for long, and never done.
        let slow = proxy::connect(&told).unwrap();
        let trickle = slow.clone();
        let trickling = std::thread::spawn(move || {
            for byte in hello() {
                if (&trickle).write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        for stream in &silent {
            heard(stream);
        }
        heard(&slow);
        let took = start.elapsed();
        assert!(took > Duration::from_millis(600), "row 18: {way:?}: {took:?}");
        assert!(took < Duration::from_secs(20), "row 18: {way:?}: {took:?}");
        trickling.join().unwrap();
        drop(place.backend().named("k").acquire().unwrap());
    }
}

/// Row 49, with peers by hand: who asks for a version that is not spoken hears which are.
#[test]
fn row_49_a_client_of_another_version_hears_which_there_are() {
    let place = Place::with_limits(Way::Unix, PATIENCE);
    let _serving = place.start();
    for (version, older) in [(0, "update the client"), (2, "update the server")] {
        let stream = proxy::connect(&place.told()).unwrap();
        (&stream).write_all(&hello_of(version)).unwrap();
        let answer = heard(&stream);
        assert_eq!((kinds(&answer), &answer[5..10]), (vec![6], &[1, 1, 0, 1, 0][..]), "1 to 1");
        assert!(String::from_utf8_lossy(&answer).ends_with(older), "{answer:?}");
        // With that it is let in.
        let again = proxy::connect(&place.told()).unwrap();
        (&again).write_all(&[hello_of(answer[6]), open(), acquire(1, "k")].concat()).unwrap();
        let client = place.backend();
        until("it has the lock", || {
            client.named("k").wait(false).acquire().is_err_and(|error| error.is_contended())
        });
    }
}

#[test]
fn row_49_a_server_of_another_version_is_refused_with_the_one_that_is_to_be_updated() {
    for (versions, older) in [([0, 0], "update the server"), ([2, 5], "update the program")] {
        let directory = Directory::new();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 39]).unwrap();
            let rejected = [&[6, 1, versions[0], 0, versions[1], 0], &[2, 0][..], b"no"].concat();
            stream.write_all(&frame(&rejected)).unwrap();
            heard(&proxy::Stream::Unix(stream));
        });
        let client = NetBackend::unix(&socket).connect(Duration::from_secs(20));
        let client = client.build().unwrap().into_backend();
        let error = client.named("k").acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
        assert!(error.to_string().ends_with(older), "{error}");
        serving.join().unwrap();
    }
}

#[test]
fn row_20_a_wrong_or_missing_secret_opens_nothing() {
    let place = Place::with_limits(Way::Tcp, "lease=3000");
    let _serving = place.start();
    let mut holder = place.peer();
    let held = holder.take("k", "");
    let address = place.told().address;
    for _ in 0..3 {
        let wrong = NetBackend::tcp(&address, Secret::generate().unwrap());
        let wrong = Backend::new(wrong.connect(Duration::from_secs(2)).build().unwrap());
        let error = wrong.named("other").acquire().expect_err("N5: it is wrong");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(&*place.told().secret().to_text()), "N5: it is told: {text}");
    }
    // Whoever speaks without TLS is told so, without it, and nothing else.
    let bold = proxy::connect(&place.told()).unwrap();
    let _ = (&bold).write_all(&[hello(), open(), acquire(1, "other")].concat());
    let answer = heard(&bold);
    assert_eq!((kinds(&answer), answer[5]), (vec![6], 1), "N11: `Rejected` 1");
    assert!(String::from_utf8_lossy(&answer).contains("speaks TLS"), "{answer:?}");
    assert_eq!(holder.status()[2], 1, "row 20: it was done");
    assert!(Secret::parse("").is_err() && Secret::parse(&"0".repeat(63)).is_err(), "N5");
    // Whoever knows it is not made to wait for those who do not.
    let served = || {
        let start = Instant::now();
        drop(place.backend().named("other").acquire().unwrap());
        start.elapsed()
    };
    let quickest = (0..5).map(|_| served()).min().unwrap();
    assert!(quickest < Duration::from_millis(600), "N5: {quickest:?}");
    holder.release(held).unwrap();
}

/// What somebody has recorded between a client and the server is of no use to him.
#[test]
fn row_20_what_was_recorded_opens_nothing_again() {
    let place = Place::with_limits(Way::Tcp, "lease=3000");
    let _serving = place.start();
    let proxy = Proxy::new(&place);
    let client = Backend::new(proxy.told().client());
    let guard = client.named("recorded").acquire().unwrap();
    guard.release().unwrap();
    let recorded = proxy.passed(Towards::Server);
    assert!(recorded.len() > 150, "{} bytes", recorded.len());
    let direct = place.client();
    let sessions = status(&direct).unwrap().sessions;
    let stream = proxy::connect(&place.told()).unwrap();
    let _ = (&stream).write_all(&recorded);
    heard(&stream);
    let status = status(&direct).unwrap();
    assert_eq!((status.sessions, status.keys), (sessions, 0), "N5: {status:?}");
    // One bit that is changed on the way ends the connection, and costs no lock.
    let guard = client.named("k").acquire().unwrap();
    proxy.cut_all();
    guard.refresh().unwrap();
    guard.release().unwrap();
    drop(client);
    assert_nothing_left(&direct);
}

/// Another user of the machine is not let in, and says so.
#[test]
fn n5_another_user_is_refused() {
    let place = Place::new(Way::Unix);
    let _serving = place.start();
    // So that it gets as far as the socket.
    place.directory().allow(0o711);
    let socket = place.told().socket;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&socket, readable).unwrap();
    let executable = std::env::current_exe().unwrap();
    let mut reaches = Command::new("setpriv");
    reaches.args(["--reuid=65534", "--clear-groups", "test", "-x"]).arg(&executable);
    let mend = "run as root, where other users may enter the directories above the test, and install \
                `setpriv` (util-linux)";
    if !can_run(&mut reaches, mend) {
        return;
    }
    let script = "exec setpriv --reuid=65534 --clear-groups \"$@\"";
    let mut other = Peer::start_as(program_after("peer", script), &place.told());
    let refused = other.begin("k", "").refused();
    assert_eq!(refused.kind, "Unauthorized", "{refused:?}");
    drop(place.backend().named("k").acquire().unwrap());
}
