//! A lock directory for one test, what the test's process has open in it, and how other processes
//! are told of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use locks_core::Backend;
use locks_file::FileBackend;

const TOLD: &str = "LOCKS_FILE_DIRECTORY";

/// How long a test waits for what should happen at once before it calls it a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A directory that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let directory = Self::missing();
        fs::create_dir(&directory.0).unwrap();
        fs::set_permissions(&directory.0, private()).unwrap();
        directory
    }

    /// One that does not exist yet.
    pub(crate) fn missing() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-file-{}-{number}", std::process::id());
        Self(env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A client of its own of this directory.
    pub(crate) fn client(&self) -> FileBackend {
        FileBackend::new(&self.0).unwrap()
    }

    pub(crate) fn backend(&self) -> Backend {
        self.client().into_backend()
    }

    /// The lock file of `key`.
    pub(crate) fn file_of(&self, key: &str) -> PathBuf {
        self.client().path_of(key).unwrap()
    }

    /// What is in it, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    /// Waits until this process has closed the lock files of `keys`.
    #[track_caller]
    pub(crate) fn assert_closed(&self, keys: &[&str]) {
        let files = Vec::from_iter(keys.iter().map(|key| self.file_of(key)));
        until("the lock files are closed", || {
            open_files("self").iter().all(|(_, open)| !files.iter().any(|file| is_of(open, file)))
        });
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Where a test has failed, processes may still be writing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The directory that this process was told to use.
pub(crate) fn told_directory() -> PathBuf {
    env::var_os(TOLD).expect("whoever starts it says where").into()
}

/// Tells a process which directory to use.
pub(crate) fn tell_directory<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command.env(TOLD, directory)
}

/// Read, written and entered by the owner only.
pub(crate) fn private() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o700)
}

/// The descriptors of a process and what they are open on; what was deleted is marked as such.
pub(crate) fn open_files(pid: &str) -> Vec<(i32, PathBuf)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let open = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        // It may have been closed meanwhile.
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    open.collect()
}

/// Whether a descriptor is open on what was created as `file`, still there or not.
pub(crate) fn is_of(open: &Path, file: &Path) -> bool {
    let (open, file) = (open.to_str().unwrap(), file.to_str().unwrap());
    open == file || open.strip_prefix(file) == Some(" (deleted)")
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
