//! `locks run --hand-over`: what runs under the lock may enter it.

use rustix::process::Signal;

use crate::kit::{Place, errors, until};
use crate::serving::{Serving, command};

/// A directory for each kind of backend that knows one holder in several processes.
fn places() -> Vec<(Place, Option<Serving>)> {
    let net = Place::new();
    let url = format!("net://{}", net.path("net").display());
    let unix = Place::new();
    let on_socket = Serving::on_socket(&unix);
    let tcp = Place::new();
    assert!(tcp.output(["secret", "--out", "s"]).status.success());
    let listen = ["--listen", "tcp:127.0.0.1:0", "--secret-file", "s"];
    let on_tcp = Serving::start(&mut command(&tcp, &listen));
    let by_tcp = format!("{}?secret_file={}", on_tcp.urls[0], tcp.path("s").display());
    vec![
        (net.with_url(url), None),
        (unix.with_url(on_socket.urls[0].clone()), Some(on_socket)),
        (tcp.with_url(by_tcp), Some(on_tcp)),
    ]
}

const LOCKS: &str = env!("CARGO_BIN_EXE_locks");

fn depth(place: &Place) -> Option<u64> {
    place.listed().first()?["holders"][0]["depth"].as_u64()
}

#[test]
fn c9_a_run_within_enters_by_the_same_token_and_others_wait() {
    for (place, _serving) in places() {
        for inner in
            [&["a"][..], &["-s", "a"], &["-n", "a"], &["b", "a"], &["-w", "1h", "--fair", "a"]]
        {
            let outer = if inner.contains(&"b") {
                &["--hand-over", "a", "b"][..]
            } else {
                &["--hand-over", "a"]
            };
            let within = format!(
                "echo $LOCKS_TOKEN >outer; {LOCKS} run {} -- sh -c 'echo $LOCKS_TOKEN >inner; {LOCKS} run -n a -- true' \
                 && env -u LOCKS_OWNER {LOCKS} run -n a -- true",
                inner.join(" ")
            );
            let output = place.run(outer, &within).end();
            assert_eq!(output.status.code(), Some(75), "{inner:?}: {}", errors(&output));
            // Several keys have a token of their own, as always.
            if !inner.contains(&"b") {
                assert_eq!(place.content("outer"), place.content("inner"), "{inner:?}");
            }
        }
        let output = place.output(["run", "-n", "a", "--", "true"]);
        assert_eq!(output.status.code(), Some(0), "all have ended: {}", errors(&output));
    }
}

/// Within it, what was not handed over is a lock like any other: two of those exclude each other.
#[test]
fn c1_a_run_within_of_another_key_is_nobodys_but_its_own() {
    for (place, _serving) in places() {
        for hand_over in ["", "--hand-over"] {
            let twice = format!(
                "{LOCKS} run {hand_over} b -- sh -c '{LOCKS} run -n {hand_over} b -- true; echo $?' >twice; \
                 env -u LOCKS_OWNER {LOCKS} run {hand_over} c -- \
                 env LOCKS_OWNER=$LOCKS_OWNER {LOCKS} run -n {hand_over} c -- true"
            );
            let output = place.run(&["--hand-over", "a"], &twice).end();
            assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
            let expected = if hand_over.is_empty() { "75\n" } else { "0\n" };
            assert_eq!(place.content("twice"), expected, "it enters only what was handed over");
        }
    }
}

#[test]
fn c9_who_is_killed_leaves_the_guards_of_the_others() {
    for (place, _serving) in places() {
        for parent_is_killed in [true, false] {
            for name in ["pid", "in", "end"] {
                let _ = std::fs::remove_file(place.path(name));
            }
            // It is no child of the one that is killed, and outlives that.
            let within = format!(
                "{LOCKS} run --lease 3s a -- sh -c 'echo $PPID >pid.new; mv pid.new pid; \
                 until [ -e end ]; do sleep 0.02; done' & wait; until [ -e end ]; do sleep 0.02; done"
            );
            let parent = place.run(&["--hand-over", "--lease", "3s", "a"], &within);
            let child = place.pid("pid");
            assert_eq!(depth(&place), Some(2));
            if parent_is_killed {
                parent.signal(Signal::KILL);
            } else {
                rustix::process::kill_process(child, Signal::KILL).unwrap();
            }
            until("its guard is gone", || (depth(&place) == Some(1)).then_some(()));
            let output = place.output(["run", "-n", "a", "--", "true"]);
            assert_eq!(output.status.code(), Some(75), "{parent_is_killed}: {}", errors(&output));
            place.touch("end");
            let output = place.output(["run", "-w", "20s", "a", "--", "true"]);
            assert_eq!(output.status.code(), Some(0), "{parent_is_killed}: {}", errors(&output));
            drop(parent.end());
        }
    }
}

#[test]
fn c15_what_cannot_be_handed_over_is_said() {
    let place = Place::new();
    for (line, expected) in [
        (&["run", "--hand-over", "a", "--", "true"][..], "`--hand-over` needs a server"),
        (&["run", "--hand-over", "--no-fork", "a", "--", "true"], "cannot be used with"),
    ] {
        let output = place.output(line.iter().copied());
        assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
    let url = format!("net://{}", place.path("net").display());
    let place = place.with_url(url);
    let within = format!("{LOCKS} run a b -- true");
    let output = place.run(&["--hand-over", "a"], &within).end();
    assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
    let said = errors(&output);
    assert!(said.contains("`a` was handed over to this command and `b` was not"), "{said}");
    let output = place.locks(["run", "a", "--", "true"]).env("LOCKS_OWNER", "nonsense").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(errors(&output).contains("the variable `LOCKS_OWNER`"), "{}", errors(&output));
}
