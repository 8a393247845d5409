//! Directories for tests.

use std::fs;
use std::path::PathBuf;

use locks_core::LockError;

use super::*;

/// A directory that goes with the test.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let path = format!("locks-journal-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// The next life of a server, on the machine as it was started at first.
    pub(super) fn start(&self) -> (Store, Recovered) {
        self.start_at(BOOT, 0, false)
    }

    pub(super) fn start_at(&self, boot: [u8; 16], now: u64, tcp: bool) -> (Store, Recovered) {
        Store::open_in(&self.0, tcp, boot, at(now)).unwrap()
    }

    pub(super) fn refusal(&self) -> LockError {
        Store::open_in(&self.0, false, BOOT, at(0)).map(|_| ()).unwrap_err()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) const BOOT: [u8; 16] = [1; 16];
