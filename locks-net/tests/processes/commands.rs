//! What a peer can be told of a server, besides what any can.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, Token};

use crate::peer::obeying::{Locker, obey};
use crate::peer::words::{decoded, encoded, refused};
use crate::peer::{Asked, Held, Peer, Refused, now};
use crate::place::{Told, status};
use crate::polled::Polled;
use crate::program::program;

impl Peer {
    pub(crate) fn start(told: &Told) -> Self {
        Self::start_as(program("peer"), told)
    }

    /// A peer that something else starts.
    pub(crate) fn start_as(mut command: Command, told: &Told) -> Self {
        told.tell(&mut command);
        Self::run(command)
    }

    /// Lets it come to its end by itself.
    pub(crate) fn exit(&mut self) {
        let _never_answered = self.ask("exit");
        self.reap();
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

    /// Looks at a hold until it is lost.
    pub(crate) fn watch(&mut self, held: Held) -> Asked {
        self.ask(&format!("watch {}", held.number))
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

impl Asked {
    /// When it was last seen to be held.
    #[track_caller]
    pub(crate) fn last_held(&self) -> u64 {
        let reply = self.reply();
        let at = reply.strip_prefix("watched ").unwrap_or_else(|| panic!("{reply}"));
        at.parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn counted(&self) -> (usize, Option<Refused>) {
        let reply = self.reply();
        let counted = reply.strip_prefix("counted ").and_then(|it| it.split_once(' '));
        let (count, refusal) = counted.unwrap_or_else(|| panic!("{reply}"));
        (count.parse().unwrap(), (!refusal.is_empty()).then(|| Refused::of(refusal)))
    }
}

// The process's end.

pub(crate) fn serve() {
    let client = Told::heard().client();
    obey(Backend::new(client.clone()), move |locker, number, words| {
        Some(match words {
            ["let-go"] => {
                locker.held.lock().unwrap().clear();
                "done".to_owned()
            }
            ["nothing"] => "done".to_owned(),
            ["exit"] => std::process::exit(0),
            ["watch", held] => watch(locker, held),
            ["evict", key, token] => evict(locker, key, token),
            ["chase", first, mode, second, at] => chase(locker, first, mode, second, at),
            ["hoard", count, keys] => hoard(locker, number, count.parse().unwrap(), keys),
            ["crowd", count, keys] => crowd(locker, count.parse().unwrap(), keys),
            ["status"] => match status(&client) {
                Ok(it) => format!("status {} {} {} {}", it.pid, it.sessions, it.keys, it.waiters),
                Err(error) => refused(&error),
            },
            _ => return None,
        })
    });
}

fn evict(locker: &Locker, key: &str, token: &str) -> String {
    let token = Token::new(token.parse().unwrap());
    match locker.backend.evict(&decoded(key), token).block() {
        Ok(true) => "done".to_owned(),
        Ok(false) => "refused NotThere|there was no such hold".to_owned(),
        Err(error) => refused(&error),
    }
}

/// Looks whether it is held until it is not; when it last was.
fn watch(locker: &Locker, held: &str) -> String {
    let mut last = 0;
    loop {
        // Before it is looked at.
        let at = now();
        match locker.held.lock().unwrap()[held].check() {
            Ok(()) => last = at,
            Err(error) if error.is_lost() => return format!("watched {last}"),
            Err(error) => return refused(&error),
        }
        thread::park_timeout(Duration::from_micros(500));
    }
}

/// Takes one key and, when the time has come, another, which it would have to wait for.
fn chase(locker: &Locker, first: &str, mode: &str, second: &str, at: &str) -> String {
    let first = match locker.lock(first, &[mode]).acquire() {
        Ok(first) => first,
        Err(error) => return refused(&error),
    };
    let second = match locker.lock(second, &[at]).acquire() {
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
fn hoard(locker: &Locker, number: &str, count: usize, keys: &str) -> String {
    for at in 0..count {
        match locker.backend.named(format!("{}-{at}", decoded(keys))).acquire() {
            Ok(guard) => {
                let held = format!("{number}-{at}");
                locker.held.lock().unwrap().insert(held, guard.into_owned());
            }
            Err(error) => return format!("counted {at} {}", refused(&error)),
        }
    }
    format!("counted {count} ")
}

/// Waits for a key that somebody has so many times at once, and then no more: how many times it
/// could, and what it was told then.
fn crowd(locker: &Locker, count: usize, key: &str) -> String {
    let mut waiting = Vec::new();
    for at in 0..count {
        let mut pending = Polled::begin(locker.backend.named(decoded(key)));
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
