//! `examples/python`, a client that was written from the page on the protocol: it excludes programs
//! in Rust and is excluded by them.

mod hand;
mod resumed;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use locks::net::NetBackend;
use locks::{Backend, LostCause};

use self::hand::Hand;
use crate::kit::{PATIENCE, Place, Process, errors, until};
use crate::serving::{Serving, command, socket};

/// A Python program that carries out commands from its standard input.
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

/// What no server takes is refused before it is said, and by the name of what it is about.
#[test]
fn c15_python_refuses_what_no_server_takes() {
    let place = Place::new();
    let (_hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    let contradictory = "`permits` and `shared` exclude each other";
    for (options, kind, expected) in [
        (&["1", "shared=1", "permits=2"][..], "PermitsMismatch", contradictory),
        (&["1", "permits=0"], "PermitsMismatch", "`take` is at least 1"),
        (&["1", "permits=4294967296"], "LimitExceeded", "`permits` is at most 4294967295"),
        (&["inf"], "LimitExceeded", "`timeout` is a number of seconds, and not inf, and for ever"),
        (&["nan"], "LimitExceeded", "`timeout` is a number of seconds, and not nan"),
        (&["1", "steal_after=-5"], "LimitExceeded", "`steal_after` is a number of seconds, and"),
        (&["1", "hold_at_most=inf"], "LimitExceeded", "`hold_at_most` is a number of seconds"),
        (&["1", "lease=nan"], "LimitExceeded", "`lease` is a number of seconds, and not nan"),
    ] {
        let answer = python.ask(&[&["acquire", "a", "k"], options].concat());
        assert!(answer.starts_with(&format!("{kind} {expected}")), "{options:?}: {answer}");
    }
}

#[test]
fn c8_python_knows_that_what_it_released_is_not_held() {
    let (place, _serving, _rust) = place();
    let mut python = Python::start(place.url());
    python.acquire(&["a", "k", "10"]);
    let answer = python.ask(&["release_and_check", "a"]);
    assert_eq!(answer, "Lost the lock is lost: it was released");
    assert_eq!(python.ask(&["check", "a"]), "ok it was released");
}

/// It does not ask for ever.
#[test]
fn python_gives_up_over_what_the_server_does_not_understand() {
    let (place, _serving, _rust) = place();
    let mut python = Python::start(place.url());
    let answer = python.ask(&["nonsense"]);
    assert!(answer.starts_with("Protocol the lock server closes the connection"), "{answer}");
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
fn n6_python_goes_on_with_more_files_than_select_takes() {
    let (place, _serving, _rust) = place();
    let mut python = Python::start_with(&[place.url(), "", "1100"]);
    python.acquire(&["a", "k", "10"]);
    assert_eq!(python.ask(&["release", "a"]), "ok released");
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
        ("unix:locks.sock", "`unix:` takes an absolute path, as in `unix:///run/locks/locks.sock`"),
        ("unix://host/locks.sock", "`unix:` takes an absolute path"),
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
