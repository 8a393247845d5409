//! The process that holds a lock for another one, and ends with it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use locks::ProcessInfo;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, pidfd_send_signal, setsid};

use super::given::Given;
use super::{KeeperReport, stderr};
use crate::args::{self, HoldArgs, Task};
use crate::holding::{self, CommandHold, Due, Event, Events, LeaseEnd, Outcome, Schedule};
use crate::inherited::Inherited;
use crate::reexec;
use crate::status::{self, Failure, Status};

/// Holds the lock that `arguments` ask for, for process `pid`, whose descriptor is standard input,
/// and tells on standard output what came of it.
pub(crate) fn keep(pid: Pid, arguments: impl Iterator<Item = OsString>) -> Status {
    let given = Given::take();
    // What the terminal sends is for the script. If that ends of it, the lock is free then.
    let _ = setsid();
    let said = status::collect();
    let keeper = acquire(pid, arguments);
    let (status, token) = match &keeper {
        Ok(Ok(keeper)) => (Status::Done, Some(keeper.held.token().get())),
        Ok(Err(status)) => (*status, None),
        Err(failure) => (failure.report(), None),
    };
    // What is the script's own is closed when the script closes it. Until now it had to wait
    // anyway, and the secret may have been in one of them.
    given.close();
    let report = KeeperReport { status, said: said.take(), token };
    let told = io::stdout().write_all(report.line().as_bytes()).and_then(|()| io::stdout().flush());
    match (keeper, told) {
        (Ok(Ok(keeper)), Ok(())) => keeper.until_it_ends(),
        // Nobody has heard that the lock is held, so it is not.
        _ => status,
    }
}

/// Whom the process of this number keeps a lock for, if it is one that does.
pub(crate) fn kept_for(pid: i32) -> Option<i32> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).skip(1);
    let (part, number) = (words.next()?, words.next()?);
    (part == reexec::KEEPER.as_bytes()).then(|| std::str::from_utf8(number).ok()?.parse().ok())?
}

struct Keeper {
    pid: Pid,
    held: CommandHold,
    events: Events,
    schedule: Schedule,
    /// Whether the script has heard that the lock is about to end.
    asks_for_end: bool,
    asked: HoldArgs,
}

/// Acquires the lock; the status to end with, if that is not to be.
fn acquire(
    pid: Pid,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Result<Keeper, Status>, Failure> {
    let inherited = Inherited::take();
    let line = ["locks", "hold"].map(OsString::from).into_iter().chain(arguments);
    let asked = match args::parse(line)? {
        Task::Hold(asked) => asked,
        _ => return Err(Failure::new("this is not a lock to be held")),
    };
    let events = Events::new();
    holding::listen(&events, &inherited).map_err(|error| Failure::during("signals", error))?;
    let sender = events.sender();
    let watching = thread::Builder::new().name("script".into()).spawn(move || watch(&sender));
    watching.map_err(|error| Failure::during("the script cannot be watched", error))?;
    let held = match holding::acquire(&asked.lock, party(pid, &asked), &events)? {
        Outcome::Held(held) => held,
        Outcome::Not(status) => return Ok(Err(status)),
    };
    let (most, kill_after) = (asked.lock.options.hold_at_most, asked.lock.kill_after);
    let schedule = Schedule::new(Instant::now(), most, kill_after);
    Ok(Ok(Keeper { pid, held, events, schedule, asks_for_end: false, asked }))
}

/// Tells of the end of the process that the lock is for, and of the one that waits for a report.
fn watch(events: &Sender<Event>) {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let (script, reader) = (stdin.as_fd(), stdout.as_fd());
    let mut told = false;
    loop {
        let mut both = [
            PollFd::from_borrowed_fd(script, PollFlags::IN),
            PollFd::from_borrowed_fd(reader, PollFlags::empty()),
        ];
        let watched = if told { &mut both[..1] } else { &mut both[..] };
        // It is only ever interrupted.
        let _ = poll(watched, None);
        if !both[0].revents().is_empty() {
            let _ = events.send(Event::Gone);
            return;
        }
        if !told && !both[1].revents().is_empty() {
            told = true;
            let _ = events.send(Event::Unheard);
        }
    }
}

impl Keeper {
    /// Holds the lock until the script ends, the lock is lost, or a signal asks this process to
    /// release it.
    fn until_it_ends(mut self) -> Status {
        loop {
            if let Poll::Ready(error) = self.held.poll_lost(Some(&mut self.events.context())) {
                self.tell(format_args!("{error}"));
                return Status::Lost;
            }
            if self.schedule.take_due(Instant::now()) != Due::Nothing {
                let keys = self.asked.lock.keys.join("`, `");
                self.tell(format_args!("`{keys}`: `--hold-at-most` is nearly over"));
                // It is the script's until the end, or until the script ends before that.
                (self.schedule, self.asks_for_end) = (Schedule::none(), true);
            }
            let look_at = match self.asks_for_end {
                true => None,
                false => match holding::look_at_lease(&self.held, self.asked.lock.kill_after) {
                    LeaseEnd::Far(look_at) => look_at,
                    LeaseEnd::Near => {
                        let keys = self.asked.lock.keys.join("`, `");
                        self.tell(format_args!(
                            "`{keys}`: the lock is about to be lost, since its lease cannot be renewed"
                        ));
                        self.asks_for_end = true;
                        None
                    }
                },
            };
            let next = [self.schedule.next(), look_at].into_iter().flatten().min();
            match self.events.next(next) {
                Event::Gone => break,
                Event::Signal(signal) if holding::ends_waiting(signal) => break,
                Event::Signal(_) | Event::Look | Event::Unheard => {}
            }
        }
        // Whoever is left to hear of it has ended, and others may read on until it is closed.
        stderr::close();
        let _ = self.held.release();
        Status::Done
    }

    /// Sends the script its signal, and says why where the script says what is wrong, if that can
    /// be found.
    fn tell(&self, why: std::fmt::Arguments<'_>) {
        stderr::say(self.pid, &status::line(why));
        let _ = pidfd_send_signal(io::stdin(), self.asked.signal);
    }
}

/// Who holds it, in lists and errors: the script. The process is this one.
fn party(pid: Pid, asked: &HoldArgs) -> ProcessInfo {
    let mut party = ProcessInfo::default();
    party.label.clone_from(&asked.lock.label);
    party.process = name(pid);
    party
}

/// What the process is called; for a shell, the script that it runs.
fn name(pid: Pid) -> Option<String> {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "busybox"];
    let of = |file: &str| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let name = fs::read_to_string(of("comm")).ok()?.trim_end().to_owned();
    if !SHELLS.contains(&name.as_str()) {
        return Some(name);
    }
    let line = fs::read(of("cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect::<Vec<_>>();
    let script = words.iter().skip(1).find(|word| !SHELLS.contains(&&***word));
    let script = script.filter(|word| !word.starts_with('-') && !word.is_empty());
    let file = script.map(|word| Path::new(&**word)).and_then(Path::file_name);
    Some(file.map(OsStr::to_string_lossy).map_or(name, |file| file.into_owned()))
}
