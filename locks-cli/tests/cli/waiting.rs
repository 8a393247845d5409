//! The wait for the lock: how long, what is said, and how signals end it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::{Place, Process, errors, state, until};

/// A `locks run` that is seen to wait for `a`, which is held; it writes `granted` if it ever gets
/// it.
fn waiter(place: &Place) -> Process {
    let process = place.run(&["a"], "echo >granted");
    place.until_waiting(process.pid());
    process
}

#[test]
fn c2_a_conflict_is_75_and_says_who_has_the_lock() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let output = place.output(["run", "--no-wait", "a", "--", "touch", "ran"]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(75));
    let expected = format!("locks: `a` is held by `sh` (process {}), for ", holder.id());
    assert!(said.starts_with(&expected) && said.contains("(exclusive, token "), "{said}");
    assert!(!place.has("ran"));
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
}

#[test]
fn an_error_steers_no_terminal() {
    let place = Place::new();
    let _holder = place.hold(&["a\x1b[2J"]);
    let output = place.output(["run", "-n", "a\x1b[2J", "--", "true"]);
    let said = errors(&output);
    assert!(said.starts_with(r"locks: `a\u{1b}[2J` is held"), "{said}");
}

#[test]
fn the_status_of_a_conflict_can_be_another_and_nothing_said() {
    let place = Place::new();
    let _holder = place.hold(&["a"]);
    for (code, text) in [(0, "0"), (9, "9"), (255, "255")] {
        let output = place.output(["run", "-n", "-q", "-E", text, "a", "--", "true"]);
        assert_eq!((output.status.code(), errors(&output).as_str()), (Some(code), ""));
    }
}

#[test]
fn c2_a_timeout_is_a_conflict_and_is_not_shorter_than_asked() {
    let place = Place::new();
    let _holder = place.hold(&["a"]);
    let began = Instant::now();
    let output = place.output(["run", "--timeout", "300ms", "a", "--", "true"]);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(output.status.code(), Some(75));
    assert!(
        errors(&output).starts_with("locks: gave up waiting for `a` after"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_waiter_runs_once_the_lock_is_free() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let waiter = waiter(&place);
    assert!(!place.has("granted"));
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(waiter.end().status.code(), Some(0));
    assert!(place.has("granted"));
}

#[test]
fn f32_a_signal_ends_the_wait_at_once_and_leaves_the_queue() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    for (signal, status) in
        [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)]
    {
        let waiter = waiter(&place);
        waiter.signal(signal);
        let output = waiter.end();
        assert_eq!((output.status.code(), errors(&output).as_str()), (Some(status), ""));
        assert_eq!(place.listed()[0]["waiters"].as_array().map(Vec::len), Some(0));
    }
    assert!(!place.has("granted"));
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    let output = place.output(["run", "--no-wait", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "nobody is left in the queue: {}", errors(&output));
}

#[test]
fn signals_that_concern_the_command_do_not_end_the_wait() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let waiter = waiter(&place);
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::WINCH, Signal::CONT] {
        waiter.signal(signal);
    }
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(waiter.end().status.code(), Some(0));
}

/// They are handed out one by one, and the lock may be granted before the last.
#[test]
fn signals_that_came_before_the_lock_do_not_reach_the_command() {
    let place = Place::new();
    for _ in 0..5 {
        let holder = place.hold(&["a"]);
        let waiter = waiter(&place);
        waiter.signal(Signal::STOP);
        until("it is stopped", || (state(waiter.pid()) == 'T').then_some(()));
        for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::WINCH] {
            waiter.signal(signal);
        }
        place.touch("end");
        assert_eq!(holder.end().status.code(), Some(0));
        waiter.signal(Signal::CONT);
        assert_eq!(waiter.end().status.code(), Some(0));
        std::fs::remove_file(place.path("end")).unwrap();
    }
}

#[test]
fn f32_a_signal_that_came_before_the_lock_ends_the_wait_also_with_the_lock() {
    let place = Place::new();
    for _ in 0..5 {
        let holder = place.hold(&["a"]);
        let waiter = waiter(&place);
        waiter.signal(Signal::STOP);
        until("it is stopped", || (state(waiter.pid()) == 'T').then_some(()));
        place.touch("end");
        assert_eq!(holder.end().status.code(), Some(0));
        waiter.signal(Signal::TERM);
        waiter.signal(Signal::CONT);
        assert_eq!(waiter.end().status.code(), Some(143));
        assert!(!place.has("granted"), "the command was started");
        std::fs::remove_file(place.path("end")).unwrap();
        assert_eq!(place.output(["run", "-n", "a", "--", "true"]).status.code(), Some(0));
    }
}

#[test]
fn a_wait_stops_and_goes_on_as_any_job() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let waiter = waiter(&place);
    waiter.signal(Signal::TSTP);
    until("it is stopped", || (state(waiter.pid()) == 'T').then_some(()));
    waiter.signal(Signal::CONT);
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(waiter.end().status.code(), Some(0));
}

#[test]
fn c11_several_keys_are_taken_all_or_none() {
    let place = Place::new();
    let holder = place.hold(&["b"]);
    let output = place.output(["run", "-n", "a", "b", "c", "--", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(75));
    assert!(errors(&output).contains("`b` is held"), "{}", errors(&output));
    for key in ["a", "c"] {
        let output = place.output(["run", "-n", key, "--", "true"]);
        assert_eq!(output.status.code(), Some(0), "{key} was given back");
    }
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(place.output(["run", "-n", "a", "b", "c", "--", "true"]).status.code(), Some(0));
    assert!(!place.has("ran"));
}

#[test]
fn shared_locks_are_shared_and_exclude_the_others() {
    let place = Place::new();
    let _holder = place.hold(&["--shared", "a"]);
    let try_it = |options: &[&str]| {
        let line = ["run", "-n", "-q"].iter().chain(options).chain(&["a", "--", "true"]).copied();
        place.output(line).status.code()
    };
    assert_eq!((try_it(&["--shared"]), try_it(&[])), (Some(0), Some(75)));
}

#[test]
fn c14_a_lock_can_be_kept_after_the_command_has_ended() {
    let place = Place::new();
    // It does not wait for that itself.
    let output = place.output(["run", "--hold-at-least", "1h", "b", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
    let began = Instant::now();
    let output = place.output(["run", "--hold-at-least", "2s", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
    let output = place.output(["run", "--no-wait", "b", "--", "true"]);
    assert_eq!(output.status.code(), Some(75));
    assert!(errors(&output).contains("reserved"), "{}", errors(&output));
    let output = place.output(["run", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2));
}
