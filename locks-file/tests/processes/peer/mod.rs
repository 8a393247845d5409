//! A process that locks when told: [`obeying`] is its end, [`Peer`] is the test's.
//!
//! Each command is a line that begins with a number, and runs on a thread of its own; the reply
//! begins with the same number. The tests of the file backend and of the lock server share this;
//! what only one of them has is in its `commands.rs`.

pub(crate) mod obeying;
pub(crate) mod words;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use self::words::{REPLY, encoded};
use crate::directory::{PATIENCE, assert_stays, until};

/// Nanoseconds on the clock that all processes of the machine share.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The other process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    commands: ChildStdin,
    replies: Arc<Replies>,
    asked: u64,
}

#[derive(Debug, Default)]
struct Replies {
    arrived: Mutex<HashMap<u64, String>>,
    changed: Condvar,
}

/// A command whose reply is to come.
#[derive(Debug)]
#[must_use = "a reply that nobody waits for says nothing"]
pub(crate) struct Asked {
    number: u64,
    replies: Arc<Replies>,
}

/// What the other process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) number: u64,
    pub(crate) token: u64,
    /// When it had been granted.
    pub(crate) at: u64,
}

/// Why it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Peer {
    /// A process that does what its input says.
    pub(crate) fn run(mut command: Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let replies = Arc::new(Replies::default());
        // Ends with the process, whose output it reads.
        let arriving = replies.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(reply) = line.strip_prefix(REPLY) {
                    let (number, reply) = reply.split_once(' ').unwrap();
                    let mut arrived = arriving.arrived.lock().unwrap();
                    arrived.insert(number.parse().unwrap(), reply.to_owned());
                    arriving.changed.notify_all();
                }
            }
        });
        Self { process, commands, replies, asked: 0 }
    }

    pub(crate) fn ask(&mut self, command: &str) -> Asked {
        self.asked += 1;
        writeln!(self.commands, "{} {command}", self.asked).unwrap();
        self.commands.flush().unwrap();
        Asked { number: self.asked, replies: self.replies.clone() }
    }

    /// Asks for `key`; see [`Asked::granted`] and [`Asked::refused`].
    pub(crate) fn begin(&mut self, key: &str, options: &str) -> Asked {
        self.begin_all(&[key], options)
    }

    /// Asks for all of `keys` in one request.
    pub(crate) fn begin_all(&mut self, keys: &[&str], options: &str) -> Asked {
        let keys = keys.iter().map(|key| encoded(key)).collect::<Vec<_>>().join("+");
        self.ask(&format!("take {keys} {options}"))
    }

    /// Takes `key`, which nobody keeps it from.
    #[track_caller]
    pub(crate) fn take(&mut self, key: &str, options: &str) -> Held {
        self.begin(key, options).granted()
    }

    /// Takes one key after the other, again and again, and stays for this long each time.
    pub(crate) fn churn(&mut self, keys: &[&str], stays: Duration, options: &str) -> Asked {
        let keys = keys.iter().map(|key| encoded(key)).collect::<Vec<_>>().join(",");
        self.ask(&format!("churn {} {keys} {options}", stays.as_micros()))
    }

    /// Ends what [`churn`](Self::churn) began: how often it visited.
    #[track_caller]
    pub(crate) fn settle(&mut self, churn: &Asked) -> u64 {
        let _told = self.ask(&format!("settle {}", churn.number)).reply();
        let reply = churn.reply();
        let visits = reply.strip_prefix("churned ").unwrap_or_else(|| panic!("{reply}"));
        visits.parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn release(&mut self, held: Held) -> Result<(), Refused> {
        self.ask_release(held).done()
    }

    #[track_caller]
    pub(crate) fn check(&mut self, held: Held) -> Result<(), Refused> {
        self.ask_check(held).done()
    }

    #[track_caller]
    pub(crate) fn refresh(&mut self, held: Held) -> Result<(), Refused> {
        self.ask_refresh(held).done()
    }

    pub(crate) fn ask_release(&mut self, held: Held) -> Asked {
        self.ask(&format!("release {}", held.number))
    }

    pub(crate) fn ask_check(&mut self, held: Held) -> Asked {
        self.ask(&format!("check {}", held.number))
    }

    pub(crate) fn ask_refresh(&mut self, held: Held) -> Asked {
        self.ask(&format!("refresh {}", held.number))
    }

    /// Drops the guard, which says nothing of how it went.
    #[track_caller]
    pub(crate) fn drop_guard(&mut self, held: Held) {
        self.ask(&format!("drop {}", held.number)).done().unwrap();
    }

    /// Somebody else has `key`.
    #[track_caller]
    pub(crate) fn contended(&mut self, key: &str, options: &str) {
        let refused = self.begin(key, &format!("no-wait {options}")).refused();
        assert_eq!(refused.kind, "Contended", "{refused:?}");
    }

    /// Nobody has `key`.
    #[track_caller]
    pub(crate) fn assert_free(&mut self, key: &str) -> u64 {
        // For a moment a busy lock may be one that is being looked at.
        let held = self.take(key, "wait=1000");
        self.release(held).unwrap();
        held.token
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Ends it as `kill -9` does, and returns at once.
    pub(crate) fn send_kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn reap(&mut self) {
        self.process.wait().unwrap();
    }

    /// Stops it, and returns once it stands still.
    pub(crate) fn stop(&self) {
        stop(self.pid());
    }

    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }
}

/// Stops a process, and returns once all of it stands still.
pub(crate) fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    until("all threads stand still", || {
        std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else {
                return true;
            };
            let state = stat.rsplit_once(") ").unwrap().1;
            state.starts_with('T')
        })
    });
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Asked {
    #[track_caller]
    pub(crate) fn reply(&self) -> String {
        match self.reply_within(PATIENCE) {
            Some(reply) => reply,
            None => panic!("no reply within {PATIENCE:?}"),
        }
    }

    pub(crate) fn reply_within(&self, limit: Duration) -> Option<String> {
        let start = Instant::now();
        let mut arrived = self.replies.arrived.lock().unwrap();
        loop {
            if let Some(reply) = arrived.get(&self.number) {
                return Some(reply.clone());
            }
            let left = limit.checked_sub(start.elapsed())?;
            arrived = self.replies.changed.wait_timeout(arrived, left).unwrap().0;
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.replies.arrived.lock().unwrap().contains_key(&self.number)
    }

    /// It is still to be answered, and goes on being so.
    #[track_caller]
    pub(crate) fn assert_waits(&self) {
        assert_stays("the other process waits", || !self.is_answered());
    }

    #[track_caller]
    pub(crate) fn granted(&self) -> Held {
        self.outcome().unwrap_or_else(|refused| panic!("not granted: {refused:?}"))
    }

    #[track_caller]
    pub(crate) fn refused(&self) -> Refused {
        match self.outcome() {
            Ok(held) => panic!("{held:?} was granted to one who had to be refused"),
            Err(refused) => refused,
        }
    }

    #[track_caller]
    pub(crate) fn outcome(&self) -> Result<Held, Refused> {
        let reply = self.reply();
        match *reply.split(' ').collect::<Vec<_>>() {
            ["granted", token, at] => Ok(Held {
                number: self.number,
                token: token.parse().unwrap(),
                at: at.parse().unwrap(),
            }),
            _ => Err(Refused::of(&reply)),
        }
    }

    #[track_caller]
    pub(crate) fn done(&self) -> Result<(), Refused> {
        let reply = self.reply();
        if reply == "done" { Ok(()) } else { Err(Refused::of(&reply)) }
    }
}

impl Refused {
    #[track_caller]
    pub(crate) fn of(reply: &str) -> Self {
        let refusal = reply.strip_prefix("refused ").and_then(|refusal| refusal.split_once('|'));
        let (kind, text) = refusal.unwrap_or_else(|| panic!("it says `{reply}`"));
        Self { kind: kind.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.kind.starts_with("Lost")
    }
}
