//! Interactive use: a shell with job control on a terminal, and what somebody types.
//!
//! What is stopped or interrupted here starts no processes: a shell that is caught by Ctrl-Z or
//! Ctrl-C between fork and exec may hang or overhear it, with or without `locks`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::kit::{Place, Process, path_with_locks, until, within_patience};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";

/// What the shell writes when it is ready for the next line.
const PROMPT: &str = "next> ";

/// Says so if its group has the terminal.
const LOOK: &str =
    "s=$(cut -d\" \" -f5,8 /proc/$$/stat); set -- $s; [ $1 = $2 ] && echo fore-$LOCKS_KEY";

/// A terminal with somebody at the keyboard.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How far the screen has been read.
    seen: usize,
    _shell: Process,
}

impl Terminal {
    /// An interactive shell, with job control.
    fn new(place: &Place) -> Self {
        let shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
        let mut terminal = Self::of(place, &shell);
        terminal.shows(PROMPT);
        terminal
    }

    /// A terminal on which this program is all there is.
    fn of(place: &Place, program: &[&str]) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let device = || {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
            let mode = rustix::fs::Mode::empty();
            let opened: OwnedFd = rustix::fs::open(&name, flags, mode).unwrap();
            Stdio::from(opened)
        };
        // `setsid` and `bash` are needed here: a session of its own, which is what a terminal
        // belongs to.
        let mut shell = Command::new("setsid");
        shell.arg("--ctty").args(program);
        shell.current_dir(place.dir()).env("LOCKS_URL", place.url()).env("PS1", PROMPT);
        shell.env("PATH", path_with_locks()).env_remove("PROMPT_COMMAND");
        shell.stdin(device()).stdout(device()).stderr(device());
        let shell = Process::start(&mut shell);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut output, shown) = (File::from(master.try_clone().unwrap()), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Fails once nobody has the other end open.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { keyboard: File::from(master), screen, seen: 0, _shell: shell }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is on the screen, behind what was waited for before. What is typed is
    /// there as well: so commands are written in such a way that their output is not in them.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let look = || {
            let screen = self.screen.lock().unwrap();
            screen[self.seen..].find(text).map(|at| self.seen + at + text.len())
        };
        let found = within_patience(look).unwrap_or_else(|| {
            panic!("the screen does not show {text:?}:\n{}", self.screen.lock().unwrap())
        });
        self.seen = found;
    }

    /// The status of what ran last.
    #[track_caller]
    fn ended_with(&mut self, status: i32) {
        // Typed any sooner, it could be what the command reads.
        self.shows(PROMPT);
        self.types("echo ended-with:$?.\n");
        self.shows(&format!("ended-with:{status}."));
    }
}

#[test]
fn a_command_reads_from_the_terminal() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types("locks run a -- sh -c 'echo go-on:$LOCKS_KEY; read x; echo got:$x.'\n");
    terminal.shows("go-on:a");
    terminal.types("hello\n");
    terminal.shows("got:hello.");
    terminal.ended_with(0);
}

#[test]
fn a_command_at_a_terminal_begins_in_its_foreground() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    // Programs look at that once, when they begin.
    terminal.types(&format!("locks run a -- sh -c '{LOOK}'\n"));
    terminal.shows("fore-a");
    terminal.ended_with(0);
}

#[test]
fn ctrl_c_ends_the_command_and_nothing_else() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types("locks run a -- sh -c 'echo go-on:$LOCKS_KEY; read x'\n");
    terminal.shows("go-on:a");
    terminal.types(CTRL_C);
    terminal.ended_with(130);
}

#[test]
fn ctrl_z_stops_the_command_and_fg_goes_on_with_it() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types("locks run a -- sh -c 'echo go-on:$LOCKS_KEY; while read x; do echo back:$x; done; echo over:$LOCKS_KEY.'\n");
    terminal.shows("go-on:a");
    for round in ["one", "two"] {
        terminal.types(CTRL_Z);
        terminal.shows("Stopped");
        terminal.types("fg\n");
        terminal.shows("locks run");
        terminal.types(&format!("{round}\n"));
        terminal.shows(&format!("back:{round}"));
    }
    terminal.types(CTRL_D);
    terminal.shows("over:a.");
    terminal.ended_with(0);
}

#[test]
fn a_command_that_goes_on_in_the_foreground_is_there_though_it_does_not_ask() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    let wait = "echo go-on:$LOCKS_KEY; until [ -e end ]; do :; done";
    terminal.types(&format!("locks run a -- sh -c '{wait}; {LOOK}'\n"));
    terminal.shows("go-on:a");
    terminal.types(CTRL_Z);
    terminal.shows("Stopped");
    terminal.types("fg\n");
    terminal.shows("until");
    place.touch("end");
    terminal.shows("fore-a");
    terminal.ended_with(0);
}

#[test]
fn a_command_in_the_background_stops_when_it_reads_and_goes_on_in_the_foreground() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types("locks run a -- sh -c 'read x; echo got:$x.' &\n");
    terminal
        .types("until jobs | grep -q Stopped; do sleep 0.05; done; echo it-$((1 + 1))-stopped\n");
    terminal.shows("it-2-stopped");
    terminal.types("fg\n");
    terminal.shows("locks run");
    terminal.types("hello\n");
    terminal.shows("got:hello.");
    terminal.ended_with(0);
}

#[test]
fn others_of_a_pipeline_keep_the_terminal() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types(
        "locks run a -- sh -c 'echo; until [ -e end ]; do sleep 0.02; done' | \
         sh -c 'read _; echo go-on:$((1 + 1)); read x </dev/tty; echo got:$x.; echo >end'\n",
    );
    terminal.shows("go-on:2");
    terminal.types("hello\n");
    terminal.shows("got:hello.");
    terminal.ended_with(0);
}

#[test]
fn a_script_has_the_terminal_back_when_the_command_has_ended() {
    let place = Place::new();
    let script = "locks run a -- sh -c 'echo first:$LOCKS_KEY; read x; echo got:$x.'\n\
                  echo second:$((1 + 1)); read y; echo then:$y.\n";
    std::fs::write(place.path("script"), script).unwrap();
    let mut terminal = Terminal::new(&place);
    terminal.types("sh script\n");
    terminal.shows("first:a");
    terminal.types("one\n");
    terminal.shows("got:one.");
    terminal.shows("second:2");
    terminal.types("two\n");
    terminal.shows("then:two.");
    terminal.ended_with(0);
}

/// Nested `locks run`, with a command within that reads from the terminal.
const NESTED: [&str; 2] = [
    "locks run a -- locks run b -- bash chat\n",
    "locks run c -- sh -c 'locks run a -- locks run b -- bash chat; echo then:$LOCKS_KEY.'\n",
];

/// A place with that command, and a script with this line.
fn nested(line: &str) -> Place {
    let place = Place::new();
    let chat =
        "echo go-on:$LOCKS_KEY; while read x; do echo back:$x.; done; echo over:$LOCKS_KEY.\n";
    std::fs::write(place.path("chat"), chat).unwrap();
    let script = format!("{line}echo after:$((1 + 1)).\nread y; echo got:$y.\n");
    std::fs::write(place.path("script"), script).unwrap();
    place
}

#[test]
fn f39_the_terminal_is_handed_down_through_nesting() {
    for line in NESTED {
        let place = nested(line);
        let mut terminal = Terminal::new(&place);
        for start in [line, "sh script\n"] {
            terminal.types(start);
            terminal.shows("go-on:b");
            terminal.types("hello\n");
            terminal.shows("back:hello.");
            terminal.types(CTRL_D);
            terminal.shows("over:b.");
            if start != line {
                terminal.shows("after:2");
                terminal.types("you\n");
                terminal.shows("got:you.");
            }
            terminal.ended_with(0);
        }
    }
}

#[test]
fn f39_ctrl_z_stops_all_of_a_nest_and_fg_goes_on_with_it() {
    for line in NESTED {
        let place = nested(line);
        let mut terminal = Terminal::new(&place);
        for start in [line, "sh script\n"] {
            terminal.types(start);
            // Until it has the terminal: a job that is about to be given it misses Ctrl-Z.
            terminal.types("hello\n");
            terminal.shows("back:hello.");
            for round in ["one", "two"] {
                terminal.types(CTRL_Z);
                terminal.shows("Stopped");
                terminal.shows(PROMPT);
                terminal.types("fg\n");
                terminal.shows(start.trim_end());
                terminal.types(&format!("{round}\n"));
                terminal.shows(&format!("back:{round}."));
            }
            terminal.types(CTRL_D);
            terminal.shows("over:b.");
            if start != line {
                terminal.shows("after:2");
                terminal.types("you\n");
                terminal.shows("got:you.");
            }
            terminal.ended_with(0);
        }
    }
}

#[test]
fn f39_ctrl_c_ends_the_command_of_a_nest() {
    let place = nested(NESTED[0]);
    let mut terminal = Terminal::new(&place);
    terminal.types(NESTED[0]);
    terminal.types("hello\n");
    terminal.shows("back:hello.");
    terminal.types(CTRL_C);
    terminal.ended_with(130);
}

#[test]
fn ctrl_c_in_a_script_ends_the_script_too() {
    let place = Place::new();
    let script = "locks run a -- sleep 600\necho not-$((1 + 1))-reached\n";
    std::fs::write(place.path("script"), script).unwrap();
    let mut terminal = Terminal::new(&place);
    terminal.types("sh script\n");
    until("the command runs", || place.runs("sleep\x00600\0").then_some(()));
    terminal.types(CTRL_C);
    terminal.ended_with(130);
    assert!(!terminal.screen.lock().unwrap().contains("not-2-reached"));
}

#[test]
fn ctrl_c_ends_a_wait() {
    let place = Place::new();
    let _holder = place.hold(&["a"]);
    let mut terminal = Terminal::new(&place);
    terminal.types("sh -c 'echo $$ >pid.new; mv pid.new pid; exec locks run a -- touch granted'\n");
    place.until_waiting(place.pid("pid"));
    terminal.types(CTRL_C);
    terminal.ended_with(130);
    assert!(!place.has("granted"));
}

#[test]
fn a_terminal_is_as_before_when_a_command_was_killed() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.types("locks run a -- sh -c 'stty raw -echo; kill -KILL $$'\n");
    terminal.ended_with(137);
    terminal.types("echo modes:$(stty -a | grep -Eow -e '-?(icanon|echo)' | tr '\\n' ' ').\n");
    terminal.shows("modes:icanon echo .");
}

#[test]
fn where_nobody_could_go_on_with_it_nothing_stops() {
    let place = Place::new();
    let script = "echo go-on:$LOCKS_KEY; read x; echo got:$x.";
    // As by `ssh -t`: no shell that minds its jobs.
    let mut terminal = Terminal::of(&place, &["locks", "run", "a", "--", "sh", "-c", script]);
    terminal.shows("go-on:a");
    terminal.types(CTRL_Z);
    terminal.types("hello\n");
    terminal.shows("got:hello.");
}
