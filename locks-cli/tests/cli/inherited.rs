//! FAULTS 39: signals that are blocked or ignored when the command starts.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::kit::{Place, Process, errors, words};

/// `locks` with these arguments, started by `env` with such options.
fn through_env(place: &Place, options: &[&str], arguments: &[&str]) -> Command {
    let mut env = Command::new("env");
    env.args(options).arg(env!("CARGO_BIN_EXE_locks")).args(arguments);
    env.current_dir(place.dir()).env("LOCKS_URL", place.url()).stdin(Stdio::null());
    env
}

#[test]
fn f39_whatever_is_blocked_or_ignored_the_end_of_the_command_is_noticed() {
    let place = Place::new();
    for options in [
        &["--block-signal=CHLD"][..],
        &["--block-signal=TERM"],
        &["--block-signal"],
        &["--ignore-signal=CHLD"],
        &["--ignore-signal"],
        &["--ignore-signal", "--block-signal"],
    ] {
        for (script, status) in [("exit 7", 7), ("kill -KILL $$", 137)] {
            let run = ["run", "a", "--", "sh", "-c", script];
            let mut process = Process::start(&mut through_env(&place, options, &run));
            assert_eq!(process.until_ended().code(), Some(status), "{options:?}");
        }
    }
}

#[test]
fn f39_the_command_finds_signals_as_it_would_without() {
    let place = Place::new();
    let look = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    for options in [
        &["--block-signal=CHLD,TERM,USR1,TSTP"][..],
        &["--block-signal"],
        &["--ignore-signal=CHLD,HUP,INT,TTIN"],
        &["--block-signal=RTMIN,INT", "--ignore-signal=QUIT,CHLD"],
        &[],
    ] {
        let bare = Command::new("env").args(options).args(look).output().unwrap();
        let line = ["run", "a", "--"].iter().chain(&look).copied().collect::<Vec<_>>();
        let locked = through_env(&place, options, &line).output().unwrap();
        assert_eq!(words(&locked), words(&bare), "{options:?}: {}", errors(&locked));
    }
}

#[test]
fn f39_a_signal_that_was_blocked_ends_the_wait_and_is_passed_on() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let wait = ["run", "a", "--", "touch", "ran"];
    let mut waiter = Process::start(&mut through_env(&place, &["--block-signal"], &wait));
    place.until_waiting(waiter.pid());
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.until_ended().code(), Some(143));
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    let listen =
        "trap 'echo >heard' USR1; echo >ready; until [ -e heard ]; do sleep 0.02; done; exit 3";
    let run = ["run", "a", "--", "env", "--default-signal", "sh", "-c", listen];
    let mut process = Process::start(&mut through_env(&place, &["--block-signal=CHLD"], &run));
    place.content("ready");
    process.signal(Signal::USR1);
    assert_eq!(process.until_ended().code(), Some(3));
    assert!(!place.has("ran"));
}

#[test]
fn f39_a_server_whose_signals_were_blocked_stops_when_told() {
    let place = Place::new();
    let state = place.path("state").display().to_string();
    let listen = crate::serving::socket(&place);
    let serve = ["serve", "--state", &state, "--listen", &listen];
    let mut command = through_env(&place, &["--block-signal"], &serve);
    let mut serving = crate::serving::Serving::start(&mut command);
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.process.until_ended().code(), Some(0));
}

/// As by `nohup ./check &` in a script, and by a supervisor that waits for signals.
#[test]
fn f39_these_tests_are_the_same_whatever_they_inherit() {
    let mut env = Command::new("env");
    env.args(["--ignore-signal=HUP,INT,QUIT,TERM,CHLD", "--block-signal=TERM,CHLD,TSTP,TTIN"]);
    env.arg(std::env::current_exe().unwrap()).arg("--exact");
    let output = env.args([
        "signals::signals_reach_the_command_and_all_in_its_group",
        "signals::a_command_stops_and_goes_on_with_tstp_and_cont",
        "waiting::f32_a_signal_ends_the_wait_at_once_and_leaves_the_queue",
        "terminal::ctrl_c_in_a_script_ends_the_script_too",
        "terminal::ctrl_z_stops_the_command_and_fg_goes_on_with_it",
        "serve::a_signal_stops_it_and_takes_its_socket_away",
    ]);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}{}", words(&output), errors(&output));
}

/// Row 38. The signal of that limit would end the process, without a word.
#[test]
fn f38_a_limit_on_the_size_of_files_is_an_error_and_what_is_run_finds_the_signal_as_it_was() {
    let place = Place::new();
    let server = format!("net://{}", place.path("served").display());
    for url in [place.url(), &server] {
        let limited = ["-c", "ulimit -f 0; exec \"$0\" run --backend \"$1\" a -- true"];
        let mut sh = Command::new("sh");
        sh.args(limited).args([env!("CARGO_BIN_EXE_locks"), url]).current_dir(place.dir());
        let output = sh.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{url}: {}", errors(&output));
        assert!(errors(&output).contains("File too large"), "{url}: {}", errors(&output));
    }
    let killed = place.output(["run", "a", "--", "sh", "-c", "kill -XFSZ $$"]);
    assert_eq!(killed.status.code(), Some(128 + 25), "{}", errors(&killed));
}
