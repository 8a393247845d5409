//! Exclusion both ways with whoever else uses `flock` on the file of a key (F2).

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use locks_core::{Backend, LockBuilder};

use crate::directory::{Directory, PATIENCE, assert_stays, until};
use crate::means::can_run;
use crate::peer::Peer;

/// Locks the file that is its first argument, shared or not; says so and holds it until its input
/// ends. Says `busy` instead if it may not wait.
const PYTHON: &str = r"
import fcntl, sys
path, mode, waits = sys.argv[1:]
how = fcntl.LOCK_SH if mode == 'shared' else fcntl.LOCK_EX
file = open(path, 'a')
try:
    fcntl.flock(file, how | (0 if waits == 'waits' else fcntl.LOCK_NB))
    print('held', flush=True)
    sys.stdin.read()
except BlockingIOError:
    print('busy', flush=True)
";

/// Another program that locks files.
#[derive(Clone, Copy, Debug)]
enum Program {
    Flock,
    Python,
}

/// One that does, or waits to.
struct Locking {
    process: Child,
    input: Option<ChildStdin>,
    said: std::sync::mpsc::Receiver<String>,
}

impl Program {
    fn lock(self, file: &Path, shared: bool, waits: bool) -> Locking {
        let mut command = match self {
            Program::Flock => {
                let mut command = Command::new("flock");
                command.arg(if shared { "--shared" } else { "--exclusive" });
                if !waits {
                    command.arg("--nonblock");
                }
                command.args(["--conflict-exit-code", "9"]).arg(file);
                command.args(["sh", "-c", "echo held; cat >/dev/null"]);
                command
            }
            Program::Python => {
                let mut command = Command::new("python3");
                command.args(["-c", PYTHON]).arg(file);
                command.arg(if shared { "shared" } else { "exclusive" });
                command.arg(if waits { "waits" } else { "not" });
                command
            }
        };
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, said) = std::sync::mpsc::channel();
        // Ends with the program, whose output it reads.
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Locking { input: process.stdin.take(), process, said }
    }

    /// Whether it finds the file free.
    #[track_caller]
    fn finds_free(self, file: &Path, shared: bool) -> bool {
        let mut locking = self.lock(file, shared, false);
        let held = locking.said.recv_timeout(PATIENCE).is_ok_and(|said| said == "held");
        locking.end();
        held
    }
}

impl Locking {
    #[track_caller]
    fn assert_held(&self) {
        let said = self.said.recv_timeout(PATIENCE).expect("it says what it found");
        assert_eq!(said, "held");
    }

    fn end(&mut self) {
        drop(self.input.take());
        self.process.wait().unwrap();
    }
}

fn modes(backend: &Backend, shared: bool) -> LockBuilder<'static> {
    let lock = backend.named("k".to_owned());
    if shared { lock.shared() } else { lock }
}

fn excludes_both_ways(program: Program) {
    let directory = Directory::new();
    let (backend, file) = (directory.backend(), directory.file_of("k"));
    for (ours, theirs) in [(false, false), (false, true), (true, false), (true, true)] {
        let together = ours && theirs;
        // We hold it.
        let guard = modes(&backend, ours).acquire().unwrap();
        let found = program.finds_free(&file, theirs);
        assert_eq!(found, together, "{program:?} beside us; shared: ours {ours}, theirs {theirs}");
        if !together {
            let mut waiting = program.lock(&file, theirs, true);
            assert_stays("it waits for us", || waiting.said.try_recv().is_err());
            guard.release().unwrap();
            waiting.assert_held();
            waiting.end();
        } else {
            drop(guard);
        }
        // They hold it.
        let mut holding = program.lock(&file, theirs, true);
        holding.assert_held();
        let outcome = modes(&backend, ours).wait(false).acquire();
        match outcome {
            Ok(guard) if together => drop(guard),
            Err(error) if !together => assert!(error.is_contended(), "{error}"),
            outcome => panic!("{outcome:?} beside {program:?}; shared: {ours}, {theirs}"),
        }
        if !together {
            let error = modes(&backend, ours).wait(Duration::from_millis(60)).acquire();
            assert!(error.unwrap_err().is_contended());
            let lock = modes(&backend, ours);
            let waiting = std::thread::spawn(move || lock.acquire().unwrap().token());
            assert_stays("we wait for it", || !waiting.is_finished());
            holding.end();
            until("we are served", || waiting.is_finished());
            waiting.join().unwrap();
        }
        holding.end();
        assert!(program.finds_free(&file, false), "somebody keeps it");
    }
}

#[test]
fn f2_flock_of_util_linux_excludes_and_is_excluded() {
    excludes_both_ways(Program::Flock);
}

#[test]
fn f2_flock_of_python_excludes_and_is_excluded() {
    if !can_run(Command::new("python3").arg("--version"), "install `python3`") {
        return;
    }
    excludes_both_ways(Program::Python);
}

/// It makes the file itself, as `flock(1)` does: that is a lock file like any other.
#[test]
fn f2_a_file_that_others_have_made_is_a_lock_file() {
    let directory = Directory::new();
    let (backend, file) = (directory.backend(), directory.file_of("k"));
    assert!(!file.exists(), "naming a lock makes no file");
    let mut holding = Program::Flock.lock(&file, false, true);
    holding.assert_held();
    assert!(backend.named("k").wait(false).acquire().unwrap_err().is_contended());
    holding.end();
    let take = || backend.named("k").wait(PATIENCE).acquire().unwrap().token();
    let first = take();
    assert!(take() > first, "C7");
}

/// Unlocked without being closed, which no event tells of: the safety poll sees it (F5).
#[test]
fn f5_unlocked_without_being_closed() {
    let directory = Directory::new();
    let file = directory.file_of("k");
    let mut waiter = Peer::start(&directory);
    for _ in 0..5 {
        let handle = lock_as_an_outsider(&file);
        let waiting = waiter.begin("k", "");
        waiting.assert_waits();
        handle.unlock().unwrap();
        assert!(waiting.reply_within(Duration::from_secs(2)).is_some(), "F5: it is not noticed");
        let held = waiting.granted();
        waiter.release(held).unwrap();
    }
}

/// The lock of a foreign user that is killed is free as well.
#[test]
fn row_1_a_killed_foreign_holder() {
    let directory = Directory::new();
    let (backend, file) = (directory.backend(), directory.file_of("k"));
    let mut holding = Program::Flock.lock(&file, false, true);
    holding.assert_held();
    let lock = backend.named("k");
    let waiting = std::thread::spawn(move || lock.acquire().unwrap().token());
    assert_stays("we wait for it", || !waiting.is_finished());
    // Both it and the shell that has inherited its descriptor.
    drop(holding.input.take());
    holding.process.kill().unwrap();
    until("we are served", || waiting.is_finished());
    waiting.join().unwrap();
    holding.process.wait().unwrap();
}

/// The file of a foreign holder is neither removed by cleaning nor written to (F4).
#[test]
fn f4_cleaning_leaves_the_file_of_a_foreign_holder_alone() {
    let directory = Directory::new();
    let client = directory.client();
    let file = directory.file_of("k");
    let handle = lock_as_an_outsider(&file);
    let before = fs::read(&file).unwrap();
    client.clean(Duration::ZERO).unwrap();
    assert!(is_at(&handle, &file), "F4: it was removed while somebody held it");
    assert_eq!(fs::read(&file).unwrap(), before, "it was written to while somebody held it");
    assert!(client.into_backend().named("k").wait(false).acquire().unwrap_err().is_contended());
}

/// Locks the file at a path and makes sure that it is the one at the path afterwards, as a careful
/// outsider does.
pub(crate) fn lock_as_an_outsider(path: &Path) -> File {
    loop {
        let file = open(path).unwrap();
        file.lock().unwrap();
        if is_at(&file, path) {
            return file;
        }
    }
}

pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Whether `file` is still what is at `path`.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(there) = fs::metadata(path) else { return false };
    let here = file.metadata().unwrap();
    (here.dev(), here.ino()) == (there.dev(), there.ino())
}
