//! A directory for one test, and waiting for what has to come about.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once before it calls it a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A directory that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket may have 107 bytes.
        let name = format!("locks-net-{}-{number}", std::process::id());
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir(&directory.0).unwrap();
        directory.allow(0o700);
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn allow(&self, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&self.0, permissions).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Where a test has failed, processes may still be writing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until `met`.
#[track_caller]
pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < PATIENCE, "it never came about that {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Looks on for a while: what must not come about, and would if it were going to.
#[track_caller]
pub(crate) fn assert_stays(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(150) {
        assert!(so(), "it did not stay so that {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
