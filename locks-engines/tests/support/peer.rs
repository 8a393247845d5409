//! Other processes: the test program once more, told by its environment what to do.
//!
//! A test program that starts some has the test `child::play`, which calls [`play`].

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use locks_core::Backend;

/// Names the server of a peer, in the engine's own words.
pub(crate) const SERVER: &str = "LOCKS_TEST_SERVER_OF_PEER";
const ROLE: &str = "LOCKS_TEST_ROLE_OF_PEER";

/// A process that says what it does, line by line, and ends with its value.
pub(crate) struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Peer {
    /// Starts one at `server` that does what `role` says; see [`play`].
    pub(crate) fn start(server: &str, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child::play", "--nocapture", "--quiet"])
            .env(SERVER, server)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let input = child.stdin.take();
        Self { child, lines, input }
    }

    /// Returns what it says next, skipping what the test harness says.
    pub(crate) fn says(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("it can be read");
            assert!(read > 0, "it ended without a word");
            if let Some(said) = line.trim_end().split_once("says ").map(|(_, said)| said) {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to go on.
    pub(crate) fn tell(&mut self) {
        use std::io::Write;

        let input = self.input.as_mut().expect("it has not been told to end");
        input.write_all(b"\n").expect("it listens");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub(crate) fn ends_well(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().expect("it is ours").success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::print_stdout, reason = "the test that started this process reads it")]
pub(crate) fn say(what: impl std::fmt::Display) {
    println!("says {what}");
}

pub(crate) fn heard() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("somebody tells");
    line.trim_end().to_owned()
}

/// What the process was started for; `None` for a test that runs as such.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Plays a role of a peer.
pub(crate) fn play(role: &str, backend: &Backend) {
    match role {
        // Holds `k` until it is told otherwise.
        "hold" => {
            let guard = backend.named("k").acquire().expect("it is free");
            say(guard.token());
            heard();
            say(guard.release().map_or_else(|error| error.to_string(), |()| "released".into()));
        }
        // Uses another key first, and holds `k` once it is told to.
        "hold later" => {
            backend.named("before").acquire().expect("it is free").release().expect("it had it");
            say("used");
            heard();
            let guard = backend.named("k").acquire().expect("it is free");
            say(guard.token());
            heard();
        }
        // Queues for `k` and is in the queue for as long as it lives.
        "wait" => {
            say("waiting");
            let guard = backend.named("k").acquire().expect("it comes");
            say(guard.token());
            heard();
        }
        // Takes `k`, gives it back by a drop, and ends at once.
        "drop" => {
            drop(backend.named("k").acquire().expect("it is free"));
            std::process::exit(0);
        }
        other => panic!("no role `{other}`"),
    }
}
