//! The peers in Python, where there is one: `peers.py` runs them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use locks_benches::measure::Contestant;

/// A package that locks files.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    version: &'static str,
    /// How long it sleeps between two looks, unless told otherwise.
    pub(super) poll: Duration,
}

const PEERS: [Peer; 3] = [
    Peer { name: "filelock", version: "4.2.11", poll: Duration::from_millis(50) },
    Peer { name: "portalocker", version: "4.4.2", poll: Duration::from_millis(250) },
    Peer { name: "locket", version: "1.0.0", poll: Duration::from_millis(50) },
];

/// An interpreter that has the packages, in an environment of its own.
#[derive(Debug)]
pub(super) struct Python {
    interpreter: PathBuf,
    program: PathBuf,
}

impl Python {
    /// Makes the environment beside what cargo built, unless it is there; or says what is missing.
    pub(super) fn find() -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let target = this.ancestors().nth(2).ok_or("this program is in no directory of cargo's")?;
        let environment = target.join("locks-benches-python");
        let interpreter = environment.join("bin/python3");
        let wanted = PEERS.map(|peer| format!("{}=={}", peer.name, peer.version));
        let installed = environment.join("installed");
        if fs::read_to_string(&installed).is_ok_and(|found| found == wanted.join(" ")) {
            return Self::at(interpreter, &environment);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&interpreter).args(pip).args(&wanted))?;
        fs::write(&installed, wanted.join(" ")).map_err(|error| error.to_string())?;
        Self::at(interpreter, &environment)
    }

    fn at(interpreter: PathBuf, environment: &Path) -> Result<Self, String> {
        let program = environment.join("peers.py");
        fs::write(&program, include_str!("peers.py")).map_err(|error| error.to_string())?;
        Ok(Self { interpreter, program })
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &'static Peer> {
        const { &PEERS }.iter()
    }

    /// Locks `path` over and over in a process of its own, which does its timing itself.
    pub(super) fn alone(&self, peer: &Peer, path: &Path) -> Contestant<'static> {
        let mut process = Repeating::start(self.command("alone", peer).arg(path));
        Contestant::timed(&format!("Python's {}", peer.name), move |times| process.repeat(times))
    }

    /// A process that takes turns, but for the arguments that say its part.
    pub(super) fn hand_over(&self, peer: &Peer, directory: &Path) -> Command {
        let mut command = self.command("take-turns", peer);
        command.arg(directory.join(peer.name));
        command
    }

    fn command(&self, what: &str, peer: &Peer) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.program).arg(what).arg(peer.name);
        command
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or("no word why").to_owned();
    Err(format!("{program} could not install the packages: {last}"))
}

/// A process that is told how often to lock, and answers how long that took.
struct Repeating {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Repeating {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the interpreter has installed packages already");
        let to = process.stdin.take().expect("it is piped");
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, to, from }
    }

    fn repeat(&mut self, times: u64) -> Duration {
        let mut answer = String::new();
        let asked = writeln!(self.to, "{times}").and_then(|()| self.from.read_line(&mut answer));
        asked.expect("it reads and answers until its input ends");
        Duration::from_nanos(answer.trim().parse().expect("it answers with a number"))
    }
}

impl Drop for Repeating {
    fn drop(&mut self) {
        // It only waits for its next line.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
