//! Programs that end with the test, and directories that go with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// A program that is killed with its value.
pub(crate) struct Process(Child);

/// A directory of one's own, removed with its value.
pub(crate) struct Directory(PathBuf);

impl Process {
    /// Starts it. `package` is what to install where it is missing.
    pub(crate) fn start(command: &mut Command, package: &str) -> Self {
        let child = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("`{program}` cannot be started ({error}): install the package {package}")
        });
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends it a signal, as in `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }
}

/// Sends a process a signal, as in `-STOP`.
pub(crate) fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    assert!(Command::new("kill").args([name, &pid]).status().expect("`kill` runs").success());
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Directory {
    pub(crate) fn new(what: &str) -> Self {
        Self::within(&std::env::temp_dir(), what)
    }

    /// One in memory, where there is such a place with room for several: for programs that wait for
    /// the disk at each step.
    pub(crate) fn in_memory(what: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if room(memory) >= ROOM { Self::within(memory, what) } else { Self::new(what) }
    }

    fn within(place: &Path, what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("locks-{what}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// How many kilobytes a place in memory has to have left: a server takes a fifth of that.
const ROOM: u64 = 1 << 20;

/// How many kilobytes are left there; none where there is no such place.
fn room(place: &Path) -> u64 {
    let output = Command::new("df").arg("-Pk").arg(place).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().nth(1).unwrap_or("");
    line.split_whitespace().nth(3).and_then(|left| left.parse().ok()).unwrap_or(0)
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
