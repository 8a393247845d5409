//! The kit.
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use locks_core::conformance::{Fixture, serve};
use locks_core::{Backend, conformance};
use locks_file::FileBackend;

const DIRECTORY: &str = "LOCKS_CONFORMANCE_DIRECTORY";

struct Files {
    directory: PathBuf,
    own: FileBackend,
    ours: Backend,
    theirs: Backend,
}

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("locks-kit-{}-{number}", std::process::id()));
        let own = FileBackend::new(&directory).unwrap();
        let theirs = FileBackend::new(&directory).unwrap().into_backend();
        Self { directory, ours: own.clone().into_backend(), own, theirs }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Fixture for Files {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }
    fn child(&self) -> Option<Command> {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "serves_the_kit", "--nocapture"]);
        command.env(DIRECTORY, &self.directory);
        Some(command)
    }
    fn restart(&self) -> Option<Backend> {
        Some(FileBackend::new(&self.directory).unwrap().into_backend())
    }
    fn live_keys(&self) -> Option<usize> {
        Some(self.own.live_keys())
    }
}

#[test]
fn serves_the_kit() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        serve(&FileBackend::new(directory).unwrap().into_backend()).unwrap();
    }
}

conformance!(files, Files::new);
