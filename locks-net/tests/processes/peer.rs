//! A process that locks when told: [`serve`] is its end, [`Peer`] is the test's.
//!
//! Each command is a line that begins with a number, and runs on a thread of its own; the reply
//! begins with the same number.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, LockBackend, LockBuilder, LockError, OwnedGuard, Token};
use locks_net::NetBackend;
use rustix::process::{Pid, Signal, kill_process};

use crate::directory::{PATIENCE, until};
use crate::place::{Told, status};
use crate::polled::Polled;
use crate::program::program;

const REPLY: &str = "locks-net: ";

/// Nanoseconds on the clock that all processes of the machine share.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

// The process's end.

struct Serving {
    client: NetBackend,
    backend: Backend,
    held: Mutex<HashMap<String, OwnedGuard>>,
    churning: Mutex<Vec<String>>,
}

pub(crate) fn serve() {
    let client = Told::heard().client();
    let backend = Backend::new(client.clone());
    let serving = Serving { client, backend, held: Mutex::default(), churning: Mutex::default() };
    let serving = Arc::new(serving);
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let serving = serving.clone();
        thread::spawn(move || {
            let (number, command) = line.split_once(' ').expect("commands are numbered");
            let reply = serving.obey(number, command).replace('\n', " ");
            // Not `print!`: a test's output would be caught and shown too late.
            let mut stdout = io::stdout().lock();
            // Whoever asked may be gone.
            let _ = writeln!(stdout, "\n{REPLY}{number} {reply}").and_then(|()| stdout.flush());
        });
    }
    // Whatever still waits ends here.
    std::process::exit(0);
}

impl Serving {
    fn obey(&self, number: &str, command: &str) -> String {
        let words = Vec::from_iter(command.split(' '));
        match words.as_slice() {
            ["take", keys, options @ ..] => match self.lock(keys, options).acquire() {
                Ok(guard) => {
                    let token = guard.token();
                    self.held.lock().unwrap().insert(number.to_owned(), guard.into_owned());
                    format!("granted {token} {}", now())
                }
                Err(error) => refused(&error),
            },
            ["churn", micros, keys, options @ ..] => {
                self.churn(number, micros.parse().unwrap(), keys, options)
            }
            ["settle", churn] => {
                self.churning.lock().unwrap().retain(|churning| churning != churn);
                "done".to_owned()
            }
            ["release", held] => done(self.take_back(held).release()),
            ["drop", held] => {
                drop(self.take_back(held));
                "done".to_owned()
            }
            ["check", held] => done(self.held.lock().unwrap()[*held].check()),
            ["refresh", held] => done(self.held.lock().unwrap()[*held].refresh()),
            ["let-go"] => {
                self.held.lock().unwrap().clear();
                "done".to_owned()
            }
            ["nothing"] => "done".to_owned(),
            ["evict", key, token] => {
                let token = Token::new(token.parse().unwrap());
                match self.backend.evict(&decoded(key), token).block() {
                    Ok(true) => "done".to_owned(),
                    Ok(false) => "refused NotThere|there was no such hold".to_owned(),
                    Err(error) => refused(&error),
                }
            }
            ["chase", first, mode, second, at] => self.chase(first, mode, second, at),
            ["hoard", count, keys] => self.hoard(number, count.parse().unwrap(), keys),
            ["crowd", count, keys] => self.crowd(count.parse().unwrap(), keys),
            ["status"] => match status(&self.client) {
                Ok(it) => format!("status {} {} {} {}", it.pid, it.sessions, it.keys, it.waiters),
                Err(error) => refused(&error),
            },
            ["spawn", program @ ..] => {
                let mut command = Command::new(program[0]);
                // It outlives whoever started it, and must not keep its output open.
                command.args(&program[1..]).stdin(Stdio::null()).stdout(Stdio::null());
                format!("spawned {}", command.stderr(Stdio::null()).spawn().unwrap().id())
            }
            _ => panic!("`{command}` is no command"),
        }
    }

    /// Takes one key and, when the time has come, another, which it would have to wait for.
    fn chase(&self, first: &str, mode: &str, second: &str, at: &str) -> String {
        let first = match self.lock(first, &[mode]).acquire() {
            Ok(first) => first,
            Err(error) => return refused(&error),
        };
        let second = match self.lock(second, &[at]).acquire() {
            Ok(second) => second,
            Err(error) => return refused(&error),
        };
        let token = second.token();
        match second.release().and_then(|()| first.release()) {
            Ok(()) => format!("granted {token} {}", now()),
            Err(error) => refused(&error),
        }
    }

    /// Takes so many keys: how many it got, and what it was told then.
    fn hoard(&self, number: &str, count: usize, keys: &str) -> String {
        for at in 0..count {
            match self.backend.named(format!("{}-{at}", decoded(keys))).acquire() {
                Ok(guard) => {
                    let held = format!("{number}-{at}");
                    self.held.lock().unwrap().insert(held, guard.into_owned());
                }
                Err(error) => return format!("counted {at} {}", refused(&error)),
            }
        }
        format!("counted {count} ")
    }

    /// Waits for a key that somebody has so many times at once, and then no more: how many times it
    /// could, and what it was told then.
    fn crowd(&self, count: usize, key: &str) -> String {
        let mut waiting = Vec::new();
        for at in 0..count {
            let mut pending = Polled::begin(self.backend.named(decoded(key)));
            // Refused is whoever is one too many, and nobody else hears anything.
            let pause = Duration::from_millis(if at % 64 == 63 { 20 } else { 0 });
            if let Some(Err(error)) = pending.poll_for(pause) {
                return format!("counted {at} {}", refused(&error));
            }
            waiting.push(pending);
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            for (at, pending) in waiting.iter_mut().enumerate() {
                if let Some(Err(error)) = pending.poll() {
                    return format!("counted {at} {}", refused(&error));
                }
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        format!("counted {count} ")
    }

    fn take_back(&self, held: &str) -> OwnedGuard {
        self.held.lock().unwrap().remove(held).expect("it is held")
    }

    /// Visits again and again, until told to settle.
    fn churn(&self, number: &str, micros: u64, keys: &str, options: &[&str]) -> String {
        self.churning.lock().unwrap().push(number.to_owned());
        let (mut visits, mut last) = (0_u64, 0);
        while self.churning.lock().unwrap().iter().any(|churning| churning == number) {
            for key in keys.split(',') {
                let guard = match self.lock(key, options).acquire() {
                    Ok(guard) => guard,
                    Err(error) => return refused(&error),
                };
                if !keys.contains(',') && guard.token().get() <= last {
                    return format!("refused Token|{} after {last}", guard.token());
                }
                last = guard.token().get();
                thread::sleep(Duration::from_micros(micros));
                if let Err(error) = guard.release() {
                    return refused(&error);
                }
                visits += 1;
            }
        }
        format!("churned {visits}")
    }

    fn lock(&self, keys: &str, options: &[&str]) -> LockBuilder<'static> {
        let keys = Vec::from_iter(keys.split('+').map(decoded));
        let mut lock = match <[String; 1]>::try_from(keys) {
            Ok([key]) => self.backend.named(key),
            Err(keys) => self.backend.all(keys),
        };
        for option in options.iter().filter(|option| !option.is_empty()) {
            let (option, value) = option.split_once('=').unwrap_or((option, "0"));
            let value = value.parse::<u64>().expect("values are numbers");
            let span = Duration::from_millis(value);
            lock = match option {
                "exclusive" => lock,
                "shared" => lock.shared(),
                "permits" => lock.permits(value.try_into().unwrap()),
                "no-wait" => lock.wait(false),
                "wait" => lock.wait(span),
                "steal" => lock.steal_after(span),
                "least" => lock.hold_at_least(span),
                "most" => lock.hold_at_most(span),
                "lease" => lock.lease(span),
                "at" => {
                    // All who were told the same time begin together.
                    while now() < value {
                        std::hint::spin_loop();
                    }
                    lock
                }
                _ => panic!("`{option}` is no option"),
            };
        }
        lock
    }
}

fn done(outcome: Result<(), LockError>) -> String {
    outcome.map_or_else(|error| refused(&error), |()| "done".to_owned())
}

fn refused(error: &LockError) -> String {
    format!("refused {:?}|{error}", error.kind())
}

/// Keys travel as hexadecimal numbers: they may have anything in them.
fn encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> String {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    String::from_utf8(bytes.map(Result::unwrap).collect()).unwrap()
}

// The test's end.

/// The other process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    commands: Option<ChildStdin>,
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
    number: u64,
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
    pub(crate) fn start(told: &Told) -> Self {
        Self::start_as(program("peer"), told)
    }

    /// A peer that something else starts.
    pub(crate) fn start_as(mut command: Command, told: &Told) -> Self {
        told.tell(&mut command);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let commands = process.stdin.take();
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
        let commands = self.commands.as_mut().expect("it was not told to exit");
        writeln!(commands, "{} {command}", self.asked).and_then(|()| commands.flush()).unwrap();
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

    /// Lets it come to its end by itself.
    pub(crate) fn exit(&mut self) {
        drop(self.commands.take());
        self.reap();
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

    /// Takes `first`, and `second` as well once the clock says `at`.
    pub(crate) fn chase(&mut self, first: &str, mode: &str, second: &str, at: u64) -> Asked {
        let (first, second) = (encoded(first), encoded(second));
        self.ask(&format!("chase {first} {mode} {second} at={at}"))
    }

    /// Ends a hold as an administrator does; whether there was one.
    #[track_caller]
    pub(crate) fn evict(&mut self, key: &str, token: u64) -> bool {
        self.ask(&format!("evict {} {token}", encoded(key))).done().is_ok()
    }

    /// Drops all that it has.
    #[track_caller]
    pub(crate) fn let_go(&mut self) {
        self.ask("let-go").done().unwrap();
    }

    /// It has been started, and listens.
    #[track_caller]
    pub(crate) fn is_there(&mut self) {
        self.ask("nothing").done().unwrap();
    }

    /// How many keys it took of those that it was to, and what the next was refused with.
    pub(crate) fn hoard(&mut self, count: usize, keys: &str) -> Asked {
        self.ask(&format!("hoard {count} {}", encoded(keys)))
    }

    /// How often it could wait of so many times, and what the next was refused with.
    pub(crate) fn crowd(&mut self, count: usize, key: &str) -> Asked {
        self.ask(&format!("crowd {count} {}", encoded(key)))
    }

    /// The pid of the server, and what it has of sessions, keys and waiters.
    #[track_caller]
    pub(crate) fn status(&mut self) -> [u64; 4] {
        let reply = self.ask("status").reply();
        let numbers = reply.strip_prefix("status ").unwrap_or_else(|| panic!("{reply}"));
        let numbers = numbers.split(' ').map(|number| number.parse().unwrap());
        Vec::from_iter(numbers).try_into().unwrap()
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
        crate::directory::assert_stays("the other process waits", || !self.is_answered());
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
    pub(crate) fn counted(&self) -> (usize, Option<Refused>) {
        let reply = self.reply();
        let counted = reply.strip_prefix("counted ").and_then(|it| it.split_once(' '));
        let (count, refusal) = counted.unwrap_or_else(|| panic!("{reply}"));
        (count.parse().unwrap(), (!refusal.is_empty()).then(|| Refused::of(refusal)))
    }

    #[track_caller]
    pub(crate) fn done(&self) -> Result<(), Refused> {
        let reply = self.reply();
        if reply == "done" { Ok(()) } else { Err(Refused::of(&reply)) }
    }
}

impl Refused {
    #[track_caller]
    fn of(reply: &str) -> Self {
        let refusal = reply.strip_prefix("refused ").and_then(|refusal| refusal.split_once('|'));
        let (kind, text) = refusal.unwrap_or_else(|| panic!("it says `{reply}`"));
        Self { kind: kind.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.kind.starts_with("Lost")
    }
}
