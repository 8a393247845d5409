//! `locks run --no-fork`: the command takes the place of `locks run`.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::kit::{Place, errors, state, until, until_dead, words};

#[test]
fn the_command_has_the_process_and_the_lock_and_frees_it_by_ending() {
    let place = Place::new();
    let script =
        "echo $$ >held.new; mv held.new held; until [ -e end ]; do sleep 0.02; done; exit 6";
    let process = place.run(&["--no-fork", "a", "b"], script);
    assert_eq!(place.content("held").trim(), process.id().to_string());
    let holder = place.listed()[0]["holders"][0].clone();
    assert_eq!((&holder["pid"], &holder["process"]), (&process.id().into(), &"sh".into()));
    for key in ["a", "b"] {
        let output = place.output(["run", "-n", key, "--", "true"]);
        assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    }
    place.touch("end");
    assert_eq!(process.end().status.code(), Some(6));
    assert_eq!(place.output(["run", "-n", "a", "b", "--", "true"]).status.code(), Some(0));
}

#[test]
fn a_command_that_is_killed_frees_it_too() {
    let place = Place::new();
    let process = place.run(&["--no-fork", "-s", "a"], "echo >held; exec sleep 600");
    place.content("held");
    process.signal(Signal::KILL);
    until_dead(process.pid());
    assert_eq!(place.output(["run", "-n", "a", "--", "true"]).status.code(), Some(0));
}

#[test]
fn the_command_finds_its_keys_and_its_token_and_signals_as_they_were() {
    let place = Place::new();
    let show = "echo \"$LOCKS_KEY|$LOCKS_TOKEN\"; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let output = place.output(["run", "--no-fork", "a", "--", "sh", "-c", show]);
    let bare = std::process::Command::new("sh").args(["-c", show]).output().unwrap();
    let (found, bare) = (words(&output), words(&bare));
    assert!(found.starts_with("a|") && !found.starts_with("a|\n"), "{found}");
    // Without the two signals that the C library has for itself, and sets as it likes in what it
    // starts.
    let masks = |text: &str| {
        let masks = text.lines().skip(1).filter_map(|line| line.split_whitespace().last());
        let masks = masks.map(|mask| u64::from_str_radix(mask, 16).unwrap() & !(3 << 31));
        masks.collect::<Vec<_>>()
    };
    assert_eq!(masks(&found), masks(&bare));
}

#[test]
fn a_conflict_a_wait_and_what_is_no_command_are_as_without() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let output = place.output(["run", "--no-fork", "-n", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(75), "{}", errors(&output));
    let waiter = place.run(&["--no-fork", "a"], "exit 4");
    place.until_waiting(waiter.pid());
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(waiter.end().status.code(), Some(4));
    let output = place.output(["run", "--no-fork", "a", "--", "no-such-command"]);
    assert_eq!(output.status.code(), Some(127), "{}", errors(&output));
    assert_eq!(place.output(["run", "-n", "a", "--", "true"]).status.code(), Some(0));
}

#[test]
fn what_somebody_would_have_to_see_to_is_refused() {
    let place = Place::new();
    let net = format!("net://{}", place.path("net").display());
    for (options, expected) in [
        (&["--hold-at-most", "1m"][..], "`--no-fork` cannot do `--hold-at-most`"),
        (&["--hold-at-least", "1m"], "`--no-fork` cannot do `--hold-at-least`"),
        (&["--lease", "1m"], "`--no-fork` cannot do `--lease`"),
        (&["--backend", &net], "as in `--backend file:`"),
        (&["--backend", "unix:"], "as in `--backend file:`"),
    ] {
        let line = [&["run", "--no-fork"][..], options, &["a", "--", "touch", "ran"]].concat();
        let output = place.output(line);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(125), "{options:?}: {said}");
        assert!(said.contains(expected), "{options:?}: {said}");
    }
    assert!(!place.has("ran"));
}

#[test]
fn keys_are_those_of_the_url() {
    let place = Place::new();
    let url = format!("{}?namespace=n", place.url());
    let show = ["run", "--backend", &url, "--no-fork", "a", "--"];
    let output =
        place.output(show.into_iter().chain([env!("CARGO_BIN_EXE_locks"), "ls", "--json"]));
    assert!(words(&output).contains("\"n/a\""), "{}", words(&output));
}

/// It comes while the lock is granted, or after that and before the command is executed. Stopped
/// meanwhile, so that both are there at once.
#[test]
fn f32_a_signal_that_comes_with_the_lock_is_not_swallowed() {
    for round in 0..20 {
        let place = Place::new();
        let holder = place.hold(&["a"]);
        let waiter = place.run(&["--no-fork", "a"], "exec sleep 600");
        place.until_waiting(waiter.pid());
        waiter.signal(Signal::STOP);
        until("it is stopped", || (state(waiter.pid()) == 'T').then_some(()));
        place.touch("end");
        assert_eq!(holder.end().status.code(), Some(0));
        waiter.signal(Signal::TERM);
        waiter.signal(Signal::CONT);
        let output = waiter.end();
        let ended = (output.status.code(), output.status.signal());
        // By the number where the wait was ended, by the signal where it was too late for that.
        let expected = [(Some(143), None), (None, Some(15))];
        assert!(expected.contains(&ended), "{round}: {ended:?}");
        assert_eq!(place.output(["run", "-n", "a", "--", "true"]).status.code(), Some(0));
    }
}
