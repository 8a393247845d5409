//! What tests need of the machine: namespaces, small disks, other users. Where that cannot be had
//! the test fails and says what mends it, so that nothing goes untested in silence.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where this is set, tests are left out that need what the machine lacks.
const MAY_SKIP: &str = "LOCKS_TESTS_MAY_SKIP";
/// Set in a process that has mounts of its own.
const OWN_MOUNTS: &str = "LOCKS_TESTS_OWN_MOUNTS";

const NAMESPACES: &str = "install `unshare` and `mount` (util-linux), and allow namespaces: run as root with \
                          CAP_SYS_ADMIN, or as a user who may make user namespaces";

/// Returns `false`, with a word, where tests may be left out.
///
/// # Panics
/// Where they may not.
#[track_caller]
pub(crate) fn lacks(what: &str, mend: &str) -> bool {
    let text = format!("{what}: {mend}; to leave out what needs that, set {MAY_SKIP}=1");
    assert!(env::var_os(MAY_SKIP).is_some(), "{text}");
    // Not `eprintln!`, which nobody sees of a test that passes.
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {text}");
    false
}

/// Returns whether `command` runs well, as tests need it; otherwise as [`lacks`].
#[track_caller]
pub(crate) fn can_run(command: &mut Command, mend: &str) -> bool {
    let output = command.stdin(Stdio::null()).output();
    if output.as_ref().is_ok_and(|output| output.status.success()) {
        return true;
    }
    lacks(&format!("{command:?} fails: {output:?}"), mend)
}

/// The words that run what follows them in namespaces of its own. Users who are not root get a user
/// namespace as well.
pub(crate) fn unshare(options: &[&str]) -> Vec<String> {
    let mut words = vec!["unshare"];
    words.extend(options);
    if !rustix::process::geteuid().is_root() {
        words.push("--map-root-user");
    }
    words.into_iter().map(str::to_owned).collect()
}

/// Returns whether `command`, which begins with such words, runs; otherwise as [`lacks`].
#[track_caller]
pub(crate) fn can_run_in_namespaces(command: &mut Command) -> bool {
    can_run(command, NAMESPACES)
}

/// Returns whether this process may mount what it likes. If not, runs the test of this name in a
/// process that may, and returns `false` when it has passed.
///
/// # Panics
/// If it fails there.
#[track_caller]
pub(crate) fn has_own_mounts(test: &str) -> bool {
    if env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    let words = unshare(&["--mount"]);
    let command = || {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    };
    if !can_run_in_namespaces(command().arg("true")) {
        return false;
    }
    let mut again = command();
    again.arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = again.env(OWN_MOUNTS, "").stdin(Stdio::null()).output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "`{test}` with mounts of its own:\n{said}\n{complained}");
    assert!(said.contains("1 passed"), "there is no test `{test}`:\n{said}");
    eprintln!("{complained}");
    false
}

/// A file system of its own over a directory, in a process that [has mounts of its
/// own](has_own_mounts).
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of so many KiB.
    pub(crate) fn over(path: &Path, size: u32) -> Self {
        let options = format!("size={size}k,mode=700");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).status();
        assert!(status.unwrap().success(), "{mount:?}");
        Self(path.to_owned())
    }

    /// Fills what room there is.
    pub(crate) fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.filler()).unwrap();
        while file.write_all(&[7; 512]).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
