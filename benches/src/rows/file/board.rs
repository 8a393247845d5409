//! Where processes that hand one lock to and fro see what the others are at.
//!
//! A file of numbers, two for each process: how often it has asked for the lock, and how often it
//! has got it. Each process writes its own two alone. `peers.py` keeps the same board.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What stands in place of the number of asks once a process will not ask again.
const GONE: u64 = u64::MAX;

/// How long nothing may happen before somebody must have died.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Board {
    file: File,
    processes: u64,
}

impl Board {
    /// A board on which nobody has done anything yet, in place of any that is there.
    pub(super) fn create(path: &Path, processes: u64) -> io::Result<()> {
        std::fs::write(path, vec![0; usize::try_from(processes * 16).expect("a few processes")])
    }

    pub(super) fn open(path: &Path, processes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, processes })
    }

    pub(super) fn says_it_asks(&self, process: u64) -> io::Result<()> {
        self.write(process * 2, self.read(process * 2)? + 1)
    }

    /// Counts a grant; returns how many there have been for all together.
    pub(super) fn says_it_was_granted(&self, process: u64) -> io::Result<u64> {
        self.write(process * 2 + 1, self.read(process * 2 + 1)? + 1)?;
        self.grants()
    }

    pub(super) fn says_it_goes(&self, process: u64) -> io::Result<()> {
        self.write(process * 2, GONE)
    }

    /// Returns when all others wait for the lock, or have gone.
    pub(super) fn until_others_wait(&self, process: u64) -> io::Result<()> {
        until(|| {
            for other in (0..self.processes).filter(|other| *other != process) {
                if self.read(other * 2)? <= self.read(other * 2 + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Returns when there have been more than `grants` for all together.
    pub(super) fn until_granted_again(&self, grants: u64) -> io::Result<()> {
        until(|| Ok(self.grants()? > grants))
    }

    fn grants(&self) -> io::Result<u64> {
        (0..self.processes).map(|process| self.read(process * 2 + 1)).sum()
    }

    fn read(&self, cell: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, cell * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&self, cell: u64, value: u64) -> io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), cell * 8)
    }
}

/// Looks again and again, without keeping a processor from those who are measured.
fn until(mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "another process has died, or two hold the lock at once",
            ));
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}
