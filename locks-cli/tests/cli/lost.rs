//! FAULTS 32: the lock goes to somebody else while the command runs.

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Place, Process, errors, lives, until, until_dead};

/// A command that ignores TERM, with a child that does too; the numbers of both are in files.
const STUBBORN: &str = "trap '' TERM INT HUP
    sh -c 'echo $$ >grandchild.new; mv grandchild.new grandchild; while :; do sleep 0.05; done' &
    echo $$ >child.new; mv child.new child
    while :; do sleep 0.05; done";

/// A command that looks, first thing, whether the processes named in these files still run.
const WITNESS: &str = "for who in child grandchild; do
        case $(sed -n 's/.*) \\(.\\).*/\\1/p' /proc/$(cat $who)/stat 2>/dev/null) in
            ''|Z|X) ;;
            *) echo $who >>overlap ;;
        esac
    done
    echo >witnessed";

struct Victim {
    process: Process,
    child: Pid,
    grandchild: Pid,
}

impl Victim {
    fn start(place: &Place, options: &[&str], script: &str) -> Self {
        let process = place.run(options, script);
        Self { process, child: place.pid("child"), grandchild: place.pid("grandchild") }
    }

    /// It was ended because of its lock, and so were the processes of its group.
    fn has_lost(self) -> String {
        let output = self.process.end();
        assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
        until_dead(self.child);
        until_dead(self.grandchild);
        errors(&output)
    }
}

#[test]
fn f32_the_group_is_gone_before_a_lock_with_an_end_passes_on() {
    let place = Place::new();
    let victim =
        Victim::start(&place, &["--hold-at-most", "5s", "--kill-after", "1s", "a"], STUBBORN);
    let output = place.run(&["a"], WITNESS).end();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(place.has("witnessed"));
    assert!(!place.has("overlap"), "{} ran on", place.content("overlap"));
    let said = victim.has_lost();
    assert!(said.contains("`--hold-at-most` is over"), "{said}");
}

#[test]
fn f32_what_a_command_leaves_behind_is_gone_too_when_its_time_is_up() {
    let place = Place::new();
    // The command ends when it is asked to. So many others do not that they take their time to die.
    let leaves = "trap '' TERM; for n in $(seq 200); do sleep 600 & done
        trap 'exit 0' TERM; echo >ready; while :; do sleep 0.02; done";
    let process = place.run(&["--hold-at-most", "9s", "--kill-after", "3s", "a"], leaves);
    place.content("ready");
    let output = process.end();
    assert_eq!(place.living(), 0, "the lock is free when `locks run` has ended");
    assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
}

/// The witness sees what it is there to see: a process that has left the group is not ended, as the
/// manual says, and is found running under the next holder's lock.
#[test]
fn f32_negative_control_whatever_has_left_the_group_is_witnessed() {
    let place = Place::new();
    let away =
        "setsid sh -c 'echo $$ >grandchild.new; mv grandchild.new grandchild; exec sleep 600' &
        echo $$ >child.new; mv child.new child; while :; do sleep 0.05; done";
    let victim = Victim::start(&place, &["--hold-at-most", "5s", "--kill-after", "1s", "a"], away);
    let output = place.run(&["a"], WITNESS).end();
    kill_process(victim.grandchild, Signal::KILL).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(place.content("overlap"), "grandchild\n");
    victim.has_lost();
}

#[test]
fn a_command_is_asked_to_end_before_it_is_killed() {
    let place = Place::new();
    let polite = "trap 'echo >asked; exit 0' TERM; while :; do sleep 0.02; done";
    let process = place.run(&["--hold-at-most", "9s", "--kill-after", "7s", "a"], polite);
    let output = process.end();
    assert!(place.has("asked"));
    assert_eq!(output.status.code(), Some(124), "it did not end by itself: {}", errors(&output));
    let output = place.output(["run", "--no-wait", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "what is over is given back: {}", errors(&output));
}

#[test]
fn a_stopped_command_is_ended_as_well() {
    let place = Place::new();
    let process = place.run(
        &["--hold-at-most", "6s", "--kill-after", "4s", "a"],
        "trap 'echo >asked; exit' TERM; echo $$ >child.new; mv child.new child; \
         while :; do sleep 0.02; done",
    );
    kill_process(place.pid("child"), Signal::STOP).unwrap();
    let output = process.end();
    assert_eq!(output.status.code(), Some(124), "{}", errors(&output));
    assert!(place.has("asked"));
}

#[test]
fn f32_a_steal_kills_the_group_at_once() {
    let place = Place::new();
    let victim = Victim::start(&place, &["a"], STUBBORN);
    let output = place.output(["run", "--steal-after", "200ms", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said = victim.has_lost();
    assert!(said.contains("was lost") && said.contains("`sh` was killed"), "{said}");
}

#[test]
fn f32_a_release_by_others_kills_the_group_at_once() {
    let place = Place::new();
    let victim = Victim::start(&place, &["a"], STUBBORN);
    let output = place.output(["release", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said = victim.has_lost();
    assert!(said.contains("was lost"), "{said}");
}

#[test]
fn a_stopped_locks_run_that_has_lost_its_lock_does_not_go_on_with_its_command() {
    let place = Place::new();
    let ticking = "echo $$ >child.new; mv child.new child; cp child g.new; mv g.new grandchild; \
                   until [ -e robbed ]; do :; done; echo >ran-on";
    let victim = Victim::start(&place, &["a"], ticking);
    // Both stop, as by Ctrl-Z.
    kill_process(victim.child, Signal::STOP).unwrap();
    victim.process.signal(Signal::STOP);
    until("both are stopped", || {
        let stopped = |pid| crate::kit::state(pid) == 'T';
        (stopped(victim.child) && stopped(victim.process.pid())).then_some(())
    });
    let output = place.output(["run", "--steal-after", "200ms", "a", "--", "touch", "robbed"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(lives(victim.child));
    victim.process.signal(Signal::CONT);
    victim.has_lost();
    assert!(!place.has("ran-on"));
}
