//! The process that is told.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use locks_core::{Backend, LockBuilder, OwnedGuard};

use super::now;
use super::words::{REPLY, decoded, done, refused};

/// What it locks with, and what it holds.
pub(crate) struct Locker {
    pub(crate) backend: Backend,
    /// By the number of the command that took it.
    pub(crate) held: Mutex<HashMap<String, OwnedGuard>>,
    churning: Mutex<Vec<String>>,
}

/// Does what the input says until it ends; `own` knows the commands that are not known here.
pub(crate) fn obey(
    backend: Backend,
    own: impl Fn(&Locker, &str, &[&str]) -> Option<String> + Send + Sync + 'static,
) {
    let locker = Locker { backend, held: Mutex::default(), churning: Mutex::default() };
    let shared = Arc::new((locker, own));
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let shared = shared.clone();
        thread::spawn(move || {
            let (locker, own) = &*shared;
            let (number, command) = line.split_once(' ').expect("commands are numbered");
            let words = Vec::from_iter(command.split(' '));
            let reply = locker.obey(number, &words).or_else(|| own(locker, number, &words));
            let reply = reply.unwrap_or_else(|| panic!("`{command}` is no command"));
            let reply = reply.replace('\n', " ");
            // Not `print!`: a test's output would be caught and shown too late.
            let mut stdout = io::stdout().lock();
            // Whoever asked may be gone.
            let _ = writeln!(stdout, "\n{REPLY}{number} {reply}").and_then(|()| stdout.flush());
        });
    }
    // Whatever still waits ends here.
    std::process::exit(0);
}

impl Locker {
    fn obey(&self, number: &str, words: &[&str]) -> Option<String> {
        let reply = match words {
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
            _ => return None,
        };
        Some(reply)
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

    pub(crate) fn lock(&self, keys: &str, options: &[&str]) -> LockBuilder<'static> {
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
