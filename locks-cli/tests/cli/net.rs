//! The command as a client: of a `locks serve`, and of processes that serve each other.

use std::fs;
use std::path::Path;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::kit::{Guest, Place, Process, errors, pid, until, until_dead, words};
use crate::serving::{Serving, command};

/// A directory with a server on a socket, which is the backend.
fn with_server() -> (Place, Serving) {
    let place = Place::new();
    let serving = Serving::on_socket(&place);
    let url = serving.urls[0].clone();
    (place.with_url(url), serving)
}

/// A directory with a server on TCP, which is the backend.
fn with_server_on_tcp(arguments: &[&str]) -> (Place, Serving) {
    let place = Place::new();
    assert!(place.output(["secret", "--out", "s"]).status.success());
    let mut all = vec!["--listen", "tcp:127.0.0.1:0", "--secret-file", "s"];
    all.extend(arguments);
    let serving = Serving::start(&mut command(&place, &all));
    let url = format!("{}?secret_file={}", serving.urls[0], place.path("s").display());
    (place.with_url(url), serving)
}

/// A directory in which processes serve each other.
fn of_processes() -> Place {
    let place = Place::new();
    let url = format!("net://{}", place.path("net").display());
    place.with_url(url)
}

fn holders(place: &Place) -> Vec<Value> {
    place.listed().iter().flat_map(|lock| lock["holders"].as_array().unwrap().clone()).collect()
}

#[test]
fn c12_locks_of_a_server_are_listed_over_sockets_and_tcp() {
    for (place, _serving) in [with_server(), with_server_on_tcp(&[])] {
        let holder = place.hold(&["--label", "nightly", "a", "b"]);
        let listed = place.listed();
        let keys = listed.iter().map(|lock| lock["key"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(keys, ["a", "b"]);
        let of_a = &listed[0]["holders"][0];
        assert_eq!(of_a["pid"], holder.id(), "{of_a}");
        assert_eq!((&of_a["label"], &of_a["process"]), (&"nightly".into(), &"sh".into()), "{of_a}");
        let table = words(&place.output(["ls"]));
        assert!(table.lines().nth(1).is_some_and(|line| line.contains(" nightly sh  ")), "{table}");
        assert_eq!(of_a["mode"], "exclusive");
        let waiter = place.run(&["a"], "true");
        place.until_waiting(waiter.pid());
        place.touch("end");
        assert_eq!(holder.end().status.code(), Some(0));
        assert_eq!(waiter.end().status.code(), Some(0));
        until("nothing is held", || place.listed().is_empty().then_some(()));
    }
}

#[test]
fn c2_a_conflict_at_a_server_is_one_with_the_same_status() {
    let (place, _serving) = with_server();
    let holder = place.hold(&["a"]);
    let output = place.output(["run", "-n", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    assert_eq!(holders(&place)[0]["label"], "sh", "by its command, where nothing else is said");
    let table = words(&place.output(["ls"]));
    assert!(table.lines().nth(1).is_some_and(|line| line.contains("  sh  ")), "{table}");
    assert!(errors(&output).contains(&format!("process {}", holder.id())), "{}", errors(&output));
}

#[test]
fn n1_the_locks_of_a_killed_run_are_free_at_once() {
    let (place, _serving) = with_server();
    // A lease would be ten seconds.
    let began = std::time::Instant::now();
    let holder = place.hold(&["a"]);
    holder.signal(Signal::KILL);
    let output = place.output(["run", "-w", "30s", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(began.elapsed().as_secs() < 9, "it took {:?}", began.elapsed());
}

#[test]
fn f32_a_release_by_others_kills_the_command_at_once() {
    for (place, _serving) in [with_server(), with_server_on_tcp(&[])] {
        let holder = place.hold(&["a"]);
        let child = pid(place.content("held").trim());
        let output = place.output(["release", "a"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let output = holder.end();
        assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
        assert!(errors(&output).contains("was lost"), "{}", errors(&output));
        until_dead(child);
        let output = place.output(["release", "a"]);
        assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    }
}

#[test]
fn n4_a_run_keeps_its_lock_over_a_server_that_is_killed_and_started_anew() {
    let (place, mut serving) = with_server();
    let holder = place.hold(&["a"]);
    let token = holders(&place)[0]["token"].clone();
    let waiter = place.run(&["a"], "touch waited");
    place.until_waiting(waiter.pid());
    for _ in 0..3 {
        serving.process.signal(Signal::KILL);
        serving.process.until_ended();
        serving = Serving::on_socket(&place);
        assert_eq!(holders(&place)[0]["token"], token);
        place.until_waiting(waiter.pid());
    }
    let output = place.output(["run", "-n", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    assert!(!place.has("waited"));
    place.touch("end");
    let output = holder.end();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(waiter.end().status.code(), Some(0));
}

#[test]
fn n4_a_stopped_server_keeps_locks_for_the_next_one() {
    let (place, mut serving) = with_server();
    let holder = place.hold(&["a"]);
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.process.until_ended().code(), Some(0));
    drop(serving);
    let _next = Serving::on_socket(&place);
    assert_eq!(holders(&place).len(), 1);
    place.touch("end");
    let output = holder.end();
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
}

#[test]
fn c8_the_command_is_ended_when_the_server_is_gone_for_longer_than_the_lease() {
    let (place, serving) = with_server_on_tcp(&["--lease", "2s"]);
    let holder = place.hold(&["a"]);
    let child = pid(place.content("held").trim());
    drop(serving);
    let output = holder.end();
    assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
    assert!(errors(&output).contains("lost"), "{}", errors(&output));
    until_dead(child);
}

#[test]
fn f32_a_command_is_asked_to_end_before_its_lease_is_over() {
    let (place, serving) = with_server_on_tcp(&["--lease", "8s"]);
    let polite = "trap 'echo >asked; exit 0' TERM; echo >ready; while :; do sleep 0.02; done";
    let process = place.run(&["--kill-after", "4s", "a"], polite);
    place.content("ready");
    drop(serving);
    let output = process.end();
    assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
    assert!(place.has("asked"), "it was killed at once: {}", errors(&output));
    let said = "locks: `a`: the lock is about to be lost, since its lease cannot be renewed; `sh` was ended\n";
    assert!(errors(&output).ends_with(said), "{}", errors(&output));
}

#[test]
fn f32_and_a_script_hears_of_it_too() {
    let (place, serving) = with_server_on_tcp(&["--lease", "8s"]);
    let script = "trap 'echo >asked; exit 7' TERM; locks hold --kill-after 4s a || exit; echo >ready; \
                  while :; do sleep 0.02; done";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).current_dir(place.dir()).env("LOCKS_URL", place.url());
    let mut process = Process::start(shell.env("PATH", crate::kit::path_with_locks()));
    place.content("ready");
    drop(serving);
    assert_eq!(process.until_ended().code(), Some(7));
    assert!(place.has("asked"));
}

#[test]
fn f32_a_lease_too_short_for_that_is_refused() {
    let (place, _serving) = with_server_on_tcp(&["--lease", "4s"]);
    let output = place.output(["run", "--kill-after", "3s", "a", "--", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(errors(&output).contains("more than half of the lease"), "{}", errors(&output));
    assert!(!place.has("ran") && holders(&place).is_empty());
}

#[test]
fn n9_a_user_who_is_let_in_releases_no_locks_of_others() {
    let place = Place::new();
    let listen = crate::serving::socket(&place);
    let allow = ["--listen", &listen, "--allow-user", "65534"];
    let serving = Serving::start(&mut command(&place, &allow));
    let url = format!("{}?user={}", serving.urls[0], rustix::process::geteuid().as_raw());
    let place = place.with_url(url);
    let guest = Guest::new(&place, false);
    let by_guest = |arguments: &[&str]| guest.locks(&place, "022", arguments).output().unwrap();
    let holder = place.hold(&["a"]);
    if guest.is_another() {
        let output = by_guest(&["release", "a"]);
        assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
        assert!(errors(&output).contains("this user may not release `a`"), "{}", errors(&output));
        assert_eq!(holders(&place).len(), 1);
        // It locks as all others do, and what it has can be released by those who run the server.
        let output = by_guest(&["run", "-n", "a", "--", "true"]);
        assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
        let mut theirs = guest.locks(&place, "022", &["run", "b", "--", "sleep", "600"]);
        let mut theirs = Process::start(&mut theirs);
        until("it is held", || (holders(&place).len() == 2).then_some(()));
        assert_eq!(place.output(["release", "b"]).status.code(), Some(0));
        assert_eq!(theirs.until_ended().code(), Some(124));
    }
    assert_eq!(place.output(["release", "a"]).status.code(), Some(0));
    assert_eq!(holder.end().status.code(), Some(124));
}

#[test]
fn ping_says_who_serves() {
    let (place, serving) = with_server();
    let output = place.output(["ping"]);
    let text = words(&output);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(text.contains(" answered in ") && text.contains("by an arbiter"), "{text}");
    let served = format!("served by  locks (pid {}), version ", serving.process.id());
    assert!(text.contains(&served), "{text}");
    let object: Value = serde_json::from_str(&words(&place.output(["ping", "--json"]))).unwrap();
    assert_eq!(object["server"]["pid"], serving.process.id(), "{object}");
    assert!(object["answered_ms"].is_f64() && object["server"]["sessions"].is_u64(), "{object}");
    let by_tcp = with_server_on_tcp(&[]);
    let text = words(&by_tcp.0.output(["ping"]));
    assert!(text.contains("by lease") && !text.contains("secret"), "{text}");
}

#[test]
fn whoever_does_not_answer_is_named() {
    let place = Place::new();
    let url = format!("unix://{}?connect=200ms", dir(&place, "none.sock"));
    let place = place.with_url(url);
    for line in [&["ping"][..], &["ls"], &["release", "a"], &["run", "a", "--", "true"]] {
        let output = place.output(line.iter().copied());
        assert_eq!(output.status.code(), Some(125), "{line:?}");
        assert!(errors(&output).contains("none.sock"), "{}", errors(&output));
    }
}

#[test]
fn n5_a_wrong_secret_is_refused() {
    let (place, serving) = with_server_on_tcp(&[]);
    let url = serving.urls[0].clone();
    let mut command = place.locks(["ping", "--backend", &url]);
    let output = command.env("LOCKS_SECRET", "ab".repeat(32)).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(!errors(&output).contains("abab"), "{}", errors(&output));
    let mut command = place.locks(["ping", "--backend", &url]);
    let output = command.env("LOCKS_SECRET", place.content("s").trim()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn clean_is_for_files() {
    let (place, _serving) = with_server();
    let output = place.output(["clean"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(errors(&output).contains("`unix:` has no lock files"), "{}", errors(&output));
}

#[test]
fn n3_ls_and_ping_never_begin_to_serve() {
    let place = of_processes();
    for line in [&["ls"][..], &["ping"], &["ls", "--json"], &["release", "a"]] {
        let output = place.output(line.iter().copied());
        assert_eq!(output.status.code(), Some(125), "{line:?}: {}", words(&output));
        assert!(errors(&output).contains("net://"), "{}", errors(&output));
    }
    assert!(!place.path("net").exists(), "nothing was made");
}

#[test]
fn c14_what_is_reserved_while_nobody_serves_is_seen_and_released_by_serving_for_a_moment() {
    let place = of_processes();
    let output = place.output(["run", "--hold-at-least", "1h", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    for line in [&["ls"][..], &["release", "a"]] {
        let said = errors(&place.output(line.iter().copied()));
        assert!(
            said.contains("as in `locks run look -- locks ls` with the same backend"),
            "{said}"
        );
    }
    let serving = |arguments: &[&str]| {
        let line = [&["run", "look", "--", "locks"], arguments].concat();
        let output = place.locks(line).env("PATH", crate::kit::path_with_locks()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        words(&output)
    };
    let listed = serving(&["ls", "a"]);
    assert!(listed.contains("a    reserved "), "{listed}");
    serving(&["release", "a"]);
    let output = place.output(["run", "-n", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn n3_runs_serve_each_other_and_one_goes_on_for_the_other() {
    let place = of_processes();
    let first = place.hold(&["a"]);
    let ping: Value = serde_json::from_str(&words(&place.output(["ping", "--json"]))).unwrap();
    assert_eq!(ping["server"]["pid"], first.id());
    let second = place.run(&["b"], "echo >has-b; until [ -e end ]; do sleep 0.02; done");
    place.content("has-b");
    let waiter = place.run(&["a"], "touch waited");
    until_waits_for(&place, "a", &waiter);
    first.signal(Signal::KILL);
    drop(first);
    // Its lock is free, that of the second is kept, and somebody serves.
    assert_eq!(waiter.end().status.code(), Some(0));
    assert!(place.has("waited"));
    let output = place.output(["run", "-n", "b", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    place.touch("end");
    let output = second.end();
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
}

#[test]
fn f33_a_stopped_serving_process_is_named_with_its_state() {
    let place = of_processes();
    let serving = place.hold(&["a"]);
    serving.signal(Signal::STOP);
    until("it is stopped", || (crate::kit::state(serving.pid()) == 'T').then_some(()));
    let url = format!("{}?connect=300ms", place.url());
    let output = place.output(["run", "--backend", &url, "b", "--", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
    let said = errors(&output);
    assert!(said.contains(&serving.id().to_string()) && said.contains("stopped"), "{said}");
    serving.signal(Signal::CONT);
    let output = place.output(["run", "b", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    place.touch("end");
    assert_eq!(serving.end().status.code(), Some(0));
}

#[test]
fn c4_the_command_inherits_nothing_of_the_server() {
    let place = of_processes();
    let process = place.run(&["a"], "ls -l /proc/$$/fd >fds.new; mv fds.new fds");
    let found = place.content("fds");
    assert!(!found.contains("socket") && !found.contains("server.lock"), "{found}");
    assert_eq!(process.end().status.code(), Some(0));
    assert!(Path::new(&dir(&place, "net")).is_dir());
    // And when a command outlives its `locks run`, nobody takes its sockets for a server.
    let left = place.run(&["a"], "setsid sleep 600 & echo $! >left.new; mv left.new left; wait");
    let left_behind = pid(place.content("left").trim());
    left.signal(Signal::KILL);
    let output = place.output(["run", "-w", "20s", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let _ = kill_process(left_behind, Signal::KILL);
    let _ = fs::remove_file(place.path("left"));
}

fn dir(place: &Place, name: &str) -> String {
    place.path(name).display().to_string()
}

fn until_waits_for(place: &Place, key: &str, process: &Process) {
    until("it waits", || {
        let listed = place.listed();
        let lock = listed.iter().find(|lock| lock["key"] == key)?;
        let waiters = lock["waiters"].as_array()?;
        waiters.iter().any(|waiter| waiter["pid"] == process.id()).then_some(())
    });
}

#[test]
fn a_lock_at_a_server_on_a_socket_survives_a_stopped_holder() {
    let (place, _serving) = with_server();
    let holder = place.hold(&["a"]);
    holder.signal(Signal::STOP);
    let output = place.output(["run", "-w", "300ms", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    let output = place.output(["run", "--steal-after", "1ms", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    holder.signal(Signal::CONT);
    assert_eq!(holder.end().status.code(), Some(124));
}
