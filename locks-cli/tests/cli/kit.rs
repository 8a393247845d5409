//! What the tests have in common: a directory, processes in it, and patience.

use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of a test's own, with a backend in it; removed in the end.
pub(crate) struct Place {
    dir: PathBuf,
    started: AtomicU32,
    url: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        start_afresh();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-cli-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let url = format!("file://{}", dir.join("locks").display());
        Self { dir, started: AtomicU32::new(0), url }
    }

    /// With another backend from now on.
    pub(crate) fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `locks` with these arguments, in this directory, on its backend; nothing to read from.
    pub(crate) fn locks<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_locks"));
        command.args(arguments).current_dir(&self.dir).env("LOCKS_URL", self.url());
        command.stdin(Stdio::null());
        command
    }

    /// Runs `locks` to its end.
    pub(crate) fn output<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        self.locks(arguments).output().unwrap()
    }

    /// `locks run`, with these options and keys, of a shell script; started.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Process {
        let mut command = self.locks(["run"]);
        command.args(options).args(["--", "sh", "-c", script]);
        // Files, since processes that stay behind would keep pipes open.
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let [stdout, stderr] = ["out", "err"].map(|name| self.path(&format!("{name}.{number}")));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Process { child: command.spawn().unwrap(), written: Some([stdout, stderr]) }
    }

    /// `locks run` of a script that goes on until the file `end` is there; returned once it runs.
    pub(crate) fn hold(&self, options: &[&str]) -> Process {
        let _ = fs::remove_file(self.path("held"));
        let process = self.run(
            options,
            "echo $$ >held.new; mv held.new held; until [ -e end ]; do sleep 0.02; done",
        );
        self.content("held");
        process
    }

    /// What the file says, once it is there.
    pub(crate) fn content(&self, name: &str) -> String {
        until(&format!("`{name}` is there"), || fs::read_to_string(self.path(name)).ok())
    }

    /// The process that has written its number there.
    pub(crate) fn pid(&self, name: &str) -> Pid {
        pid(self.content(name).trim())
    }

    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a process with this command line works in this directory.
    pub(crate) fn runs(&self, line: &str) -> bool {
        let mut lines =
            self.processes().filter_map(|process| fs::read(process.join("cmdline")).ok());
        lines.any(|found| found == line.as_bytes())
    }

    /// How many processes that are not dead work in this directory.
    pub(crate) fn living(&self) -> usize {
        let numbers = self.processes().filter_map(|process| {
            let number = process.file_name()?.to_str()?.parse().ok()?;
            Pid::from_raw(number)
        });
        numbers.filter(|pid| lives(*pid)).count()
    }

    /// Those that work in this directory.
    fn processes(&self) -> impl Iterator<Item = PathBuf> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        all.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|at| at == self.dir))
    }

    /// Waits until `locks ls` shows that the process waits for the first key there is.
    pub(crate) fn until_waiting(&self, pid: Pid) {
        until("it is listed as a waiter", || {
            let listed = self.listed();
            let waiters = listed.first()?["waiters"].as_array()?;
            let waits = |waiter: &serde_json::Value| {
                waiter["pid"].as_i64() == Some(pid.as_raw_nonzero().get().into())
            };
            waiters.iter().any(waits).then_some(())
        });
    }

    /// What `locks ls` shows.
    pub(crate) fn listed(&self) -> Vec<serde_json::Value> {
        let output = self.output(["ls", "--json"]);
        assert!(output.status.success(), "{}", errors(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whatever a test that failed has left behind.
        for process in self.processes() {
            let number = process.file_name().and_then(|name| name.to_str()?.parse().ok());
            let _ = number.and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Resets the signals for all that this thread starts, as at a terminal: none blocked, none
/// ignored.
///
/// The tests may be started otherwise: `nohup ./check &` in a script ignores HUP, INT and QUIT, and
/// children inherit that, but no handlers.
fn start_afresh() {
    static CAUGHT: Once = Once::new();
    let signals = || nix::sys::signal::Signal::iterator();
    let _ = nix::sys::signal::SigSet::from_iter(signals()).thread_unblock();
    CAUGHT.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        for signal in signals().map(|signal| signal as i32) {
            // The standard library ignores it, and sees to it for what is started.
            if mask >> (signal - 1) & 1 == 1 && signal != Signal::PIPE.as_raw() {
                signal_hook::flag::register(signal, Arc::default()).unwrap();
            }
        }
    });
}

/// A process that does not outlive its test.
pub(crate) struct Process {
    child: Child,
    /// Where its standard output and error go, if to files.
    written: Option<[PathBuf; 2]>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap(), written: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        pid(&self.child.id().to_string())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// How it ended, and what it wrote.
    pub(crate) fn end(mut self) -> Output {
        let status = self.until_ended();
        let written = self.written.take().unwrap_or_default();
        let [stdout, stderr] = written.map(|path| fs::read(path).unwrap_or_default());
        Output { status, stdout, stderr }
    }

    pub(crate) fn until_ended(&mut self) -> ExitStatus {
        until("the process has ended", || self.child.try_wait().unwrap())
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another user than the one who runs the tests, where that is root: for whom modes count.
pub(crate) struct Guest {
    /// What goes before a command.
    becoming: &'static [&'static str],
    program: PathBuf,
}

impl Guest {
    /// With a copy of `locks` in the directory, which becomes theirs if they are to have it.
    pub(crate) fn new(place: &Place, owns: bool) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_locks"));
        if !rustix::process::geteuid().is_root() {
            return Self { becoming: &[], program };
        }
        if owns {
            std::os::unix::fs::chown(place.dir(), Some(65_534), Some(65_534)).unwrap();
        }
        let own = place.path("locks-of-guest");
        // By another process: of a file that this one writes to, children of other tests have a
        // copy open.
        assert!(Command::new("cp").arg(&program).arg(&own).status().unwrap().success());
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let becoming = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        Self { becoming, program: own }
    }

    /// Whether it is another user at all.
    pub(crate) fn is_another(&self) -> bool {
        !self.becoming.is_empty()
    }

    /// `locks` with these arguments, in this directory, under this umask.
    pub(crate) fn locks(&self, place: &Place, umask: &str, arguments: &[&str]) -> Command {
        let shell = ["sh", "-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask];
        let mut words = self.becoming.iter().chain(&shell);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(&self.program).args(arguments);
        command.current_dir(place.dir()).env("LOCKS_URL", place.url()).stdin(Stdio::null());
        command
    }
}

/// Looks again and again until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within_patience(look)
        .unwrap_or_else(|| panic!("after {PATIENCE:?} it is still not so that {what}"))
}

/// The answer, if there is one in time.
pub(crate) fn within_patience<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
pub(crate) fn until_dead(pid: Pid) {
    until("the process is dead", || (!lives(pid)).then_some(()));
}

/// Whether the process runs; one that is dead, and waits for its parent to notice, does not.
pub(crate) fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && !"ZX".contains(state(pid))
}

/// The letter for what a process does: `R`, `S`, `T`, `Z`; `X` if there is none.
pub(crate) fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let letter = stat.ok().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    letter.unwrap_or('X')
}

pub(crate) fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

/// A path in which `locks` is the one that is tested.
pub(crate) fn path_with_locks() -> std::ffi::OsString {
    let locks = std::path::Path::new(env!("CARGO_BIN_EXE_locks")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([locks].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
