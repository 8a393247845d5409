//! Signals to `locks run` while its command runs.

use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::kit::{Place, Process, lives, state, until, until_dead};

#[test]
fn signals_reach_the_command_and_all_in_its_group() {
    let place = Place::new();
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("ALRM", Signal::ALARM),
        ("WINCH", Signal::WINCH),
    ] {
        let listen = |who: &str| {
            format!("trap 'echo {name} >{who}.{name}' {name}; echo >{who}-ready.{name};")
        };
        // A shell in the background ignores INT and QUIT, and cannot listen to them.
        let child = if ["INT", "QUIT"].contains(&name) {
            format!("echo >grandchild-ready.{name}; echo {name} >grandchild.{name}")
        } else {
            let wait = format!("until [ -e grandchild.{name} ]; do sleep 0.02; done");
            format!("({} {wait}) &", listen("grandchild"))
        };
        let wait = format!("until [ -e child.{name} ]; do sleep 0.02; done; wait; exit 3");
        let process = place.run(&["a"], &format!("{child}\n{} {wait}", listen("child")));
        place.content(&format!("child-ready.{name}"));
        place.content(&format!("grandchild-ready.{name}"));
        process.signal(signal);
        let ended = process.end().status;
        assert_eq!(ended.code(), Some(3), "{name}");
        assert!(place.content(&format!("grandchild.{name}")).starts_with(name));
    }
}

#[test]
fn a_command_that_ignores_term_gets_it_again_each_time() {
    let place = Place::new();
    let count = "n=0; trap 'n=$((n + 1)); echo >term.$n' TERM; echo >ready; \
                 until [ $n = 3 ]; do sleep 0.02; done; exit 4";
    let mut process = place.run(&["a"], count);
    place.content("ready");
    for time in 1..=3 {
        assert_eq!(process.try_wait().unwrap(), None, "it goes on after TERM");
        process.signal(Signal::TERM);
        place.content(&format!("term.{time}"));
    }
    assert_eq!(process.end().status.code(), Some(4));
}

#[test]
fn f32_the_command_dies_with_locks_run_and_the_lock_is_free() {
    let place = Place::new();
    let ignore = "trap '' TERM HUP INT; echo $$ >pid.new; mv pid.new pid; \
                  while :; do sleep 0.05; done";
    let mut process = place.run(&["a"], ignore);
    let command = place.pid("pid");
    process.signal(Signal::KILL);
    process.until_ended();
    until_dead(command);
    let output = place.output(["run", "--no-wait", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_was_ignored_stays_ignored() {
    let place = Place::new();
    let script = "trap '' HUP INT; exec \"$@\"";
    let run = place.locks([
        "run",
        "a",
        "--",
        "sh",
        "-c",
        "echo >ready; until [ -e end ]; do sleep 0.02; done",
    ]);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    nohup.current_dir(place.dir()).env("LOCKS_URL", place.url()).stdin(Stdio::null());
    let process = Process::start(&mut nohup);
    place.content("ready");
    process.signal(Signal::HUP);
    process.signal(Signal::INT);
    place.touch("end");
    assert_eq!(process.end().status.code(), Some(0));
}

#[test]
fn a_command_stops_and_goes_on_with_tstp_and_cont() {
    let place = Place::new();
    let mut process = place.run(
        &["a"],
        "echo $$ >pid.new; mv pid.new pid; \
                                 until [ -e end ]; do :; done; exit 5",
    );
    let command = place.pid("pid");
    process.signal(Signal::TSTP);
    until("the command is stopped", || (state(command) == 'T').then_some(()));
    // Where no shell minds it, `locks run` goes on: to pass on the CONT.
    process.signal(Signal::CONT);
    until("the command goes on", || (state(command) != 'T').then_some(()));
    place.touch("end");
    assert_eq!(process.until_ended().code(), Some(5));
}

#[test]
fn a_command_that_is_stopped_by_somebody_else_is_left_to_them() {
    let place = Place::new();
    let process = place.hold(&["a"]);
    let command = place.pid("held");
    kill_process(command, Signal::STOP).unwrap();
    until("the command is stopped", || (state(command) == 'T').then_some(()));
    kill_process(command, Signal::CONT).unwrap();
    place.touch("end");
    assert_eq!(process.end().status.code(), Some(0));
}

#[test]
fn the_lock_is_free_when_the_command_has_ended_whatever_it_has_left_behind() {
    let place = Place::new();
    let leave = "sleep 600 >/dev/null 2>&1 & echo $! >left.new; mv left.new left";
    let output = place.run(&["a"], leave).end();
    assert_eq!(output.status.code(), Some(0));
    let left = place.pid("left");
    assert!(lives(left), "it is not waited for, and not ended");
    let free = place.output(["run", "--no-wait", "a", "--", "true"]);
    kill_process(left, Signal::KILL).unwrap();
    assert_eq!(free.status.code(), Some(0));
}
