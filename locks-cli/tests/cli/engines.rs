//! The command as a client of a store with leases: of a Redis server, for all that there are.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::kit::{Place, Process, errors, path_with_locks, within_patience, words};

/// A directory with a Redis server, which is the backend with these further options.
fn with_redis(options: &str) -> (Place, Process) {
    let place = Place::new();
    // The port may be taken between its being found and being used.
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("redis-server");
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        server.arg(place.dir()).stdin(Stdio::null());
        server.stdout(File::create(place.path("redis.log")).unwrap());
        let mut server = Process::start(&mut server);
        let own = format!("process_id:{}\r\n", server.id());
        let is_up = within_patience(|| {
            let has_ended = server.try_wait().unwrap().is_some();
            has_ended.then_some(false).or_else(|| info(port)?.contains(&own).then_some(true))
        });
        if is_up == Some(true) {
            let url = format!("redis://127.0.0.1:{port}/0?fresh=yes{options}");
            return (place.with_url(url), server);
        }
    }
    panic!("no server came up: {}", place.content("redis.log"));
}

/// What the server there says of itself.
fn info(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"INFO server\r\nQUIT\r\n").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

#[test]
fn c12_who_holds_a_lock_at_a_store_shows_with_label_process_and_host() {
    let (place, _server) = with_redis("&label=nightly");
    let holder = place.hold(&["a"]);
    let held = place.listed()[0]["holders"][0].clone();
    assert_eq!((&held["label"], &held["process"]), (&"nightly".into(), &"sh".into()), "{held}");
    assert_eq!(held["pid"], holder.id(), "{held}");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(held["host"], host.trim_end(), "{held}");
    let refused = place.output(["run", "-n", "a", "--", "true"]);
    let expected = format!("locks: `a` is held by `nightly` (process {}), for ", holder.id());
    assert!(errors(&refused).starts_with(&expected), "{}", errors(&refused));
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    std::fs::remove_file(place.path("end")).unwrap();
    let _other = place.hold(&["--label", "now", "b"]);
    let held = place.listed()[0]["holders"][0].clone();
    assert_eq!(held["label"], "now", "what is said for one run goes before the URL: {held}");
}

#[test]
fn f39_a_script_that_asks_a_store_for_its_own_lock_is_told_at_once() {
    let (place, _server) = with_redis("");
    let mut shell = Command::new("sh");
    shell.args(["-c", "locks hold a || exit\nlocks run -w 60s a -- true; echo $?"]);
    shell.current_dir(place.dir()).env("LOCKS_URL", place.url()).env("PATH", path_with_locks());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert_eq!(words(&output), "125\n", "{}", errors(&output));
    assert!(errors(&output).contains("the `locks hold` of this script"), "{}", errors(&output));
}

/// Ends by itself when it is asked to, and says that it was.
const POLITE: &str = "trap 'echo >asked; exit 7' TERM; echo >ready; while :; do sleep 0.02; done";

#[test]
fn f32_a_command_is_asked_to_end_before_a_lease_that_its_store_does_not_renew() {
    let (place, server) = with_redis("&lease=16s");
    let process = place.run(&["--kill-after", "7s", "a"], POLITE);
    place.content("ready");
    server.signal(Signal::STOP);
    let output = process.end();
    assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
    assert!(place.has("asked"), "it was killed at once: {}", errors(&output));
    let said = "locks: `a`: the lock is about to be lost, since its lease cannot be renewed; `sh` was ended\n";
    assert!(errors(&output).ends_with(said), "{}", errors(&output));
}

#[test]
fn f32_and_so_is_a_script_that_holds_it() {
    let (place, server) = with_redis("&lease=16s");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("locks hold --kill-after 7s a || exit; {POLITE}")]);
    shell.current_dir(place.dir()).env("LOCKS_URL", place.url()).env("PATH", path_with_locks());
    let stderr = File::create(place.path("said")).unwrap();
    let mut process = Process::start(shell.stdin(Stdio::null()).stderr(stderr));
    place.content("ready");
    server.signal(Signal::STOP);
    assert_eq!(process.until_ended().code(), Some(7));
    // A loss has the same signal.
    let said = place.content("said");
    assert!(place.has("asked") && said.contains("about to be lost, since its lease"), "{said}");
}

#[test]
fn f32_a_lease_of_a_store_that_is_too_short_for_that_is_refused() {
    let (place, _server) = with_redis("");
    let line = ["run", "--lease", "4s", "--kill-after", "3s", "a", "--", "touch", "ran"];
    let output = place.output(line);
    assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
    assert!(errors(&output).contains("more than half of the lease"), "{}", errors(&output));
    assert!(!place.has("ran") && place.listed().is_empty());
}
