//! Standing in line for the books, across processes. The place of a process is the byte of the
//! books' file that is numbered by when it came, which it locks: whoever sees no such lock before
//! its own is next, and a process that ends leaves its place behind for nobody.
//!
//! These locks (`F_OFD_SETLK`) say nothing of who has the books: that is their `flock`, which knows
//! nothing of them. Where a file system mixes the two, or has neither, nobody stands in line and
//! everybody tries.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use super::Epochs;
use crate::kernel::{Nanos, Places};

/// For how long the first of the line may leave free books alone before the next one goes ahead of
/// it, from then on: it may have been stopped.
const STALL: Nanos = 250_000_000;
/// And before anybody behind does: so may the next one.
const LONG_STALL: Nanos = 1_000_000_000;
/// How often somebody behind looks whether the books are free, for which it has to lock them for an
/// instant.
const PROBE: Nanos = 10_000_000;

/// Where this process stands.
#[derive(Debug, Default)]
pub(super) struct BooksQueue(Mutex<BooksQueueState>);

#[derive(Debug, Default)]
struct BooksQueueState {
    /// How many of its threads and tasks want the books.
    waiting: usize,
    /// Since when, if it has a place.
    since: Option<Nanos>,
    /// Those who came so early are not waited for.
    passed: Nanos,
    /// The first of the line, and since when that one could have had the books.
    idle: Option<(Nanos, Nanos)>,
    /// When it looked last.
    probed: Nanos,
}

/// Those who stand before this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// When the first of them came.
    first: Nanos,
    /// For how long that one may leave free books alone.
    stall: Nanos,
}

/// Somebody of this process who stands in line until this is dropped.
#[derive(Debug)]
pub(crate) struct BooksTicket(Arc<Epochs>);

impl BooksTicket {
    pub(super) fn new(epochs: &Arc<Epochs>) -> Self {
        epochs.queue.with(|standing| standing.waiting += 1);
        Self(epochs.clone())
    }
}

impl Drop for BooksTicket {
    fn drop(&mut self) {
        let is_last = self.0.queue.with(|standing| {
            standing.waiting -= 1;
            standing.waiting == 0 && standing.since.is_some()
        });
        if is_last {
            self.0.leave_queue();
        }
    }
}

impl BooksQueue {
    /// Those who stand before this process, which has the books' file open.
    pub(super) fn before(&self, books: &File) -> Option<Before> {
        self.with(|standing| {
            let (places, own) = (Places::of(books), standing.since.unwrap_or(Nanos::MAX));
            let first = places.first_taken(standing.passed, own)?;
            let is_next = places.first_taken(first + 1, own).is_none();
            Some(Before { first, stall: if is_next { STALL } else { LONG_STALL } })
        })
    }

    /// Whether it is time to look whether the books are free, which others stand before.
    pub(super) fn probes(&self, now: Nanos) -> bool {
        self.with(|standing| {
            let is_time = now > standing.probed + PROBE;
            if is_time {
                standing.probed = now;
            }
            is_time
        })
    }

    /// The books are free at `now`, whatever others do with them at other times. Returns whether
    /// the first of the line has left them alone for so long that it is not waited for from now on.
    pub(super) fn passes(&self, before: Before, now: Nanos) -> bool {
        self.with(|standing| {
            let idle = standing.idle.filter(|(who, _)| *who == before.first);
            let (_, since) = *standing.idle.insert(idle.unwrap_or((before.first, now)));
            let passes = now > since + before.stall;
            if passes {
                standing.passed = before.first + 1;
            }
            passes
        })
    }

    /// Takes a place, if anybody here wants one, or takes it again in a file that is new.
    pub(super) fn take_place(&self, books: &File, now: Nanos) {
        self.with(|standing| {
            if standing.waiting > 0 {
                let since = *standing.since.get_or_insert(now);
                Places::of(books).take(since);
            }
        });
    }

    /// Its turn has come, or nobody here wants it any more.
    pub(super) fn leave_place(&self, books: &File) {
        if self.with(|standing| standing.since.take()).is_some() {
            Places::of(books).leave();
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut BooksQueueState) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
