//! Another process that locks when told: [`serve`] is its end, [`Child`] is the kit's.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{Backend, LockBuilder, OwnedGuard, SharedOwner, Token};

/// What a reply begins with: whatever else the program prints is not for the kit.
const REPLY: &str = "locks-conformance: ";

/// Runs the kit's commands in another process: reads them from standard input until its end, and
/// answers on standard output.
///
/// A [fixture](super::Fixture)'s child calls this with a handle to the fixture's arbiter and does
/// nothing else.
///
/// ```no_run
/// use std::process::Command;
/// use locks::Backend;
/// use locks::conformance::serve;
///
/// # fn open(_: &str) -> Backend { Backend::new(locks::backend::Engine::new()) }
/// /// What `Fixture::child` returns: this test program once more, for the test below alone.
/// fn child(path: &str) -> Command {
///     let mut child = Command::new(std::env::current_exe().unwrap());
///     child.args(["--exact", "serve_the_kit", "--nocapture"]).env("MY_STORE", path);
///     child
/// }
///
/// # /*
/// #[test]
/// # */
/// fn serve_the_kit() {
///     // Among the other tests it has nothing to do.
///     if let Ok(path) = std::env::var("MY_STORE") {
///         serve(&open(&path)).unwrap();
///     }
/// }
/// # let _ = child("store");
/// # serve_the_kit();
/// ```
///
/// # Errors
/// If standard input or output fails.
pub fn serve(backend: &Backend) -> io::Result<()> {
    let mut serving = Serving { backend, held: HashMap::new(), queued: Vec::new() };
    for line in io::stdin().lock().lines() {
        let reply = serving.obey(&line?);
        // Not `print!`: a test's output would be caught and shown too late.
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "\n{REPLY}{reply}")?;
        stdout.flush()?;
    }
    Ok(())
}

/// What the child has, and what it waits for.
struct Serving<'a> {
    backend: &'a Backend,
    held: HashMap<String, OwnedGuard>,
    /// Acquisitions that are left where they are: they end with the process.
    queued: Vec<Pending>,
}

impl Serving<'_> {
    fn obey(&mut self, command: &str) -> String {
        let words = Vec::from_iter(command.split(' '));
        let outcome = match words.as_slice() {
            ["take", key, options @ ..] => self.lock(key, options).acquire().map(|guard| {
                let token = guard.token().to_string();
                self.held.insert((*key).to_owned(), guard.into_owned());
                token
            }),
            ["queue", key, options @ ..] => {
                let mut waiting = Pending::begin(self.lock(key, options));
                if waiting.poll() {
                    return format!("error: `{key}` is free");
                }
                self.queued.push(waiting);
                Ok(String::new())
            }
            ["release", key] => match self.held.remove(*key) {
                Some(guard) => guard.release().map(|()| String::new()),
                None => return format!("error: `{key}` is not held"),
            },
            // Its last word is its end.
            ["leave", key] => match self.held.remove(*key) {
                Some(guard) => {
                    drop(guard);
                    std::process::exit(0);
                }
                None => return format!("error: `{key}` is not held"),
            },
            ["fork", key] => match self.held.remove(*key) {
                Some(guard) => {
                    let (guard, told) = super::forked::look(self.backend, key, guard);
                    self.held.insert((*key).to_owned(), guard);
                    return told;
                }
                None => return format!("error: `{key}` is not held"),
            },
            ["check", key] => match self.held.get(*key) {
                Some(guard) => guard.check().map(|()| String::new()),
                None => return format!("error: `{key}` is not held"),
            },
            _ => return format!("error: `{command}` is no command"),
        };
        match outcome {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("failed {:?}: {error}", error.kind()).replace('\n', " "),
        }
    }

    fn lock(&self, key: &str, options: &[&str]) -> LockBuilder<'static> {
        options_of(self.backend.named(key.to_owned()), options)
    }
}

fn options_of(mut lock: LockBuilder<'static>, options: &[&str]) -> LockBuilder<'static> {
    for option in options {
        lock = match option.split_once('=') {
            Some(("lease", millis)) => {
                lock.lease(Duration::from_millis(millis.parse().expect("the kit sends numbers")))
            }
            Some(("owner", owner)) => {
                let owner: SharedOwner = owner.parse().expect("the kit sends owners");
                lock.shared_owner(owner).reentrant()
            }
            _ if *option == "no-wait" => lock.wait(false),
            _ => panic!("`{option}` is no option"),
        };
    }
    lock
}

/// The other process, from the kit's side. It is killed when this is dropped.
pub(super) struct Child {
    process: std::process::Child,
    commands: ChildStdin,
    replies: Receiver<String>,
    patience: Duration,
}

impl Child {
    pub(super) fn start(subject: &Subject, mut program: Command) -> Self {
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = piped.spawn().expect("the fixture's child can be started");
        let commands = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let (sender, replies) = channel();
        // Ends with the process, whose output it reads.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(reply) = line.strip_prefix(REPLY)
                    && sender.send(reply.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Self { process, commands, replies, patience: subject.patience() }
    }

    pub(super) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the child listens");
        self.commands.flush().expect("the child listens");
    }

    /// The reply to the oldest command that has none yet: `Ok` with a value, or what failed.
    #[track_caller]
    pub(super) fn reply(&self) -> Result<String, String> {
        let reply = self.replies.recv_timeout(self.patience).expect("the child answers in time");
        match reply.split_once(' ') {
            Some(("ok", value)) => Ok(value.to_owned()),
            Some(("failed", failure)) => Err(failure.to_owned()),
            _ => panic!("the child says `{reply}`"),
        }
    }

    /// Whether a reply has come.
    pub(super) fn has_replied(&self) -> Option<String> {
        self.replies.try_recv().ok()
    }

    #[track_caller]
    pub(super) fn ask(&mut self, command: &str) -> Result<String, String> {
        self.tell(command);
        self.reply()
    }

    #[track_caller]
    pub(super) fn take(&mut self, command: &str) -> Token {
        let value = self.ask(command).expect("nothing is in its way");
        Token::new(value.parse().expect("a token is a number"))
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it is this process's child");
    }

    /// Waits until it has come to its end by itself.
    #[track_caller]
    pub(super) fn ended(mut self) {
        let start = std::time::Instant::now();
        while self.process.try_wait().expect("it is this process's child").is_none() {
            assert!(start.elapsed() < self.patience, "it does not come to its end");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Stops it, or lets it go on.
    #[cfg(unix)]
    pub(super) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(status.success(), "`{kill}` failed");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
