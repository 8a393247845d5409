//! A disk that is full for a while, and what may be refused on that account.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use locks_core::LockError;

use crate::means::SmallDisk;
use crate::peer::now;

/// In the witness's directory: there as soon as the disk may be full.
const FULL: &str = "full";
/// And this when it has room again, with the time.
const EMPTIED: &str = "emptied";

/// A disk that is full for the third sixth of a storm: ten seconds of a minute.
pub(crate) struct Disk {
    disk: SmallDisk,
    witness: PathBuf,
    /// When it is to be filled and emptied; what is over is gone.
    fills: Option<Instant>,
    empties: Option<Instant>,
    /// How much had been granted when it was filled, and when it was emptied.
    grants: [u64; 2],
}

impl Disk {
    /// One over `path`, of so many KiB.
    pub(crate) fn over(path: &Path, size: u32, witness: &Path, lasts: Duration) -> Self {
        let now = Instant::now();
        let (fills, empties) = (Some(now + lasts / 3), Some(now + lasts / 2));
        let disk = SmallDisk::over(path, size);
        Self { disk, witness: witness.to_owned(), fills, empties, grants: [0; 2] }
    }

    /// Fills and empties it when that is due; `grants`: how much has been granted by now.
    pub(crate) fn go_on(&mut self, grants: u64) -> Option<&'static str> {
        let now_due = |due: &mut Option<Instant>| {
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if is_due {
                *due = None;
            }
            is_due
        };
        if now_due(&mut self.fills) {
            fs::write(self.witness.join(FULL), "").unwrap();
            self.disk.fill();
            self.grants[0] = grants;
            Some("the disk is full")
        } else if now_due(&mut self.empties) {
            self.disk.empty();
            // Appears with the time in it.
            let partial = self.witness.join("emptied.partial");
            fs::write(&partial, now().to_string()).unwrap();
            fs::rename(partial, self.witness.join(EMPTIED)).unwrap();
            self.grants[1] = grants;
            Some("the disk has room again")
        } else {
            if self.fills.is_none() && self.empties.is_some() {
                // Also what others have given back.
                self.disk.fill();
            }
            None
        }
    }

    /// How much was granted while it was full, and after that.
    pub(crate) fn grants(&self, at_the_end: u64) -> [u64; 2] {
        [self.grants[1] - self.grants[0], at_the_end - self.grants[1]]
    }
}

/// So soon whoever had no room tries again, in nanoseconds: a server once a second.
const TRIES_AGAIN: u64 = 2_000_000_000;

/// Whether it is for want of room that something was refused which was asked for at `asked`, and
/// there was none.
pub(crate) fn is_for_want_of_room(witness: &Path, asked: u64, error: &LockError) -> bool {
    let emptied = || fs::read_to_string(witness.join(EMPTIED)).ok().map(|at| at.parse().unwrap());
    error.to_string().contains("make room")
        && witness.join(FULL).exists()
        && emptied().is_none_or(|emptied: u64| asked < emptied + TRIES_AGAIN)
}
