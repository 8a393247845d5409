//! How signals stood when this process was started: some may be ignored, others blocked.
//!
//! Both are inherited. `nohup` and shells without job control have signals ignored so that a
//! command is spared, and a supervisor that waits for signals has them blocked and may forget to
//! undo that for what it starts. This program does its work whatever it finds, and what it starts
//! finds the same as it did itself.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal as Named};
use rustix::process::Signal;

/// What was inherited.
#[derive(Clone, Debug)]
pub(crate) struct Inherited {
    ignored: u64,
    blocked: Blocked,
}

impl Inherited {
    /// Of this process. No signal is blocked from here on. To be called by the first thread, before
    /// there are others.
    pub(crate) fn take() -> Self {
        let blocked = Blocked::now();
        Blocked::default().apply();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let inherited = Self { ignored: read_ignored(&status), blocked };
        if !inherited.ignores(Signal::XFSZ) {
            // A limit on the size of files (`ulimit -f`) is an error of the write, and not the end
            // of the process. By a handler, since that ends where a command begins. It cannot fail:
            // the signal may be caught.
            let _ = signal_hook::flag::register(Signal::XFSZ.as_raw(), Arc::default());
        }
        inherited
    }

    /// Whether the signal is ignored. A handler would undo that for what this process starts as
    /// well.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        self.ignored >> (signal.as_raw() - 1) & 1 == 1
    }

    pub(crate) fn blocked(&self) -> &Blocked {
        &self.blocked
    }
}

fn read_ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Signals that are blocked, of those that have names. The others (real-time signals) are never
/// changed here. As text, to be handed on, it is a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked(u32);

impl Blocked {
    /// By this thread.
    fn now() -> Self {
        let mask = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let blocked = Named::iterator().filter(|signal| mask.contains(*signal));
        Self(blocked.fold(0, |bits, signal| bits | bit(signal)))
    }

    /// Has this thread block these and no others.
    pub(crate) fn apply(&self) {
        let (blocked, free): (Vec<_>, Vec<_>) =
            Named::iterator().partition(|signal| self.0 & bit(*signal) != 0);
        // They cannot fail: the sets are sets.
        let _ = SigSet::from_iter(free).thread_unblock();
        let _ = SigSet::from_iter(blocked).thread_block();
    }
}

fn bit(signal: Named) -> u32 {
    1 << (signal as i32 - 1)
}

impl Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl FromStr for Blocked {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_ignored() {
        let status = "Name:\tlocks\nSigIgn:\t0000000000001001\nSigCgt:\t00000002\n";
        let inherited = Inherited { ignored: read_ignored(status), blocked: Blocked::default() };
        assert!(inherited.ignores(Signal::HUP) && inherited.ignores(Signal::PIPE));
        assert!(!inherited.ignores(Signal::INT));
        assert_eq!(read_ignored(""), 0);
    }

    #[test]
    fn what_is_blocked_is_handed_on_as_a_number() {
        let blocked = Blocked(bit(Named::SIGCHLD) | bit(Named::SIGTERM));
        blocked.apply();
        assert_eq!(Blocked::now(), blocked);
        assert_eq!(blocked.to_string().parse(), Ok(blocked));
        Blocked::default().apply();
        assert_eq!(Blocked::now(), Blocked::default());
    }
}
