//! Private servers.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_engines::postgres::{Postgres, PostgresBuilder};

use super::support::{BUSY, free_port};

/// A server that ends with its value, or with this process, however that ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    keeper: Keeper,
    directory: PathBuf,
    settings: Vec<String>,
}

/// For speed, where nothing is to survive a crash of the machine.
pub(crate) const CARELESS: [&str; 3] =
    ["fsync=off", "full_page_writes=off", "synchronous_commit=off"];

/// The server of those who only use it.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start_with(&CARELESS))
}

/// A schema that nobody else uses.
pub(crate) fn schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("of_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&CARELESS)
    }

    /// A server with these settings, as in `fsync=off`.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let directory = new_directory();
        let copied = as_owner("cp").arg("-a").arg(template()).arg(directory.join("data")).status();
        assert!(copied.expect("`cp` runs").success());
        Self::of(directory, settings)
    }

    /// A standby that follows this server, and has what it has.
    pub(crate) fn standby(&self, settings: &[&str]) -> Self {
        let directory = new_directory();
        let copied = as_owner(program("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-c", "fast", "--no-sync"])
            .args(["-p", &self.port.to_string(), "-D"])
            .arg(directory.join("data"))
            .status();
        assert!(copied.expect("`pg_basebackup` runs").success());
        Self::of(directory, settings)
    }

    fn of(directory: PathBuf, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        // The port may be taken between its being found and being used.
        for _ in 0..20 {
            let port = free_port();
            if let Some(keeper) = Keeper::start(&directory, port, &settings) {
                return Self { port, keeper, directory, settings };
            }
        }
        panic!("no server came up: see `{}`", directory.join("log").display());
    }

    /// Kills all of its processes at once.
    pub(crate) fn kill(&self) {
        let Some(pid) = self.pid() else { return };
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let mut kill = Command::new("kill");
        kill.args(["-9", &pid.to_string()]);
        kill.args(children.unwrap_or_default().split_whitespace());
        // Some may end by themselves meanwhile.
        kill.stderr(Stdio::null()).status().expect("`kill` runs");
        while Path::new(&format!("/proc/{pid}")).exists() {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(&self) {
        let stopped = self.control(&["stop", "-m", "fast"]).status().expect("`pg_ctl` runs");
        assert!(stopped.success());
    }

    /// Starts it anew on its directory and port, after it was killed or stopped.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // The memory of one that was killed is in use for as long as one of its processes is
            // there.
            if let Some(keeper) = Keeper::start(&self.directory, self.port, &self.settings) {
                self.keeper = keeper;
                return;
            }
            assert!(Instant::now() < deadline, "it is not started once more");
        }
    }

    pub(crate) fn promote(&self) {
        let done = self.control(&["promote", "-w"]).stdout(Stdio::null()).status();
        assert!(done.expect("`pg_ctl` runs").success());
    }

    fn control(&self, words: &[&str]) -> Command {
        let mut command = as_owner(program("pg_ctl"));
        command.args(words).arg("-D").arg(self.directory.join("data")).stdout(Stdio::null());
        command
    }

    /// Sends the server's first process and all others a signal, as in `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().expect("it runs");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let mut kill = Command::new("kill");
        kill.args([name, &pid.to_string()]);
        kill.args(children.unwrap_or_default().split_whitespace());
        kill.stderr(Stdio::null()).status().expect("`kill` runs");
    }

    fn pid(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.parse().ok()
    }

    /// Carries SQL out and returns the rows, a line for each.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub(crate) fn try_sql(&self, text: &str) -> Result<String, String> {
        self.try_sql_in("postgres", text)
    }

    /// Carries SQL out in another database.
    pub(crate) fn try_sql_in(&self, database: &str, text: &str) -> Result<String, String> {
        let output = self.psql().args(["-d", database, "-c", text]).output().expect("`psql` runs");
        let said = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    pub(crate) fn psql(&self) -> Command {
        let mut command = Command::new(program("psql"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-XAtq"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-p", &self.port.to_string()]);
        command
    }

    /// Runs a program of PostgreSQL's on one of its databases, as in `pg_dump`.
    pub(crate) fn run(&self, name: &str, words: &[&str], database: &str) {
        let done = Command::new(program(name))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()])
            .args(["-d", database])
            .args(words)
            .output();
        let done = done.unwrap_or_else(|error| panic!("`{name}`: {error}"));
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What it has written into its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).expect("a log")
    }

    /// Sets who may connect how.
    pub(crate) fn rules(&self, text: &str) {
        // The file stays its owner's.
        std::fs::write(self.directory.join("data/pg_hba.conf"), text).expect("it can be written");
        let before = self.sql("SELECT pg_conf_load_time()");
        self.sql("SELECT pg_reload_conf()");
        // A new session has what the server's first process has.
        let loaded = format!("SELECT pg_conf_load_time() > '{before}'");
        super::support::until(|| self.sql(&loaded) == "t");
    }

    /// Copies a part of its directory over another, while it is stopped.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.directory.join(from), self.directory.join(to));
        assert!(as_owner("rm").arg("-rf").arg(&to).status().expect("`rm` runs").success());
        assert!(as_owner("cp").arg("-a").args([from, to]).status().expect("`cp` runs").success());
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn builder(&self) -> PostgresBuilder {
        builder(self.port)
    }
}

/// A client of the server at this port, in whose schema nobody held a lock before.
pub(crate) fn builder(port: u16) -> PostgresBuilder {
    let builder = Postgres::builder("127.0.0.1").port(port).user("postgres").database("postgres");
    builder.fresh(true).connect(BUSY)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.control(&["stop", "-m", "immediate"]).stderr(Stdio::null()).status();
        let _ = as_owner("rm").arg("-rf").arg(&self.directory).status();
    }
}

/// A shell that has started a server, and ends it when nobody holds its input any more.
pub(crate) struct Keeper(Child);

const KEEP: &str = r#"
trap '' INT TERM HUP
directory=$1; shift
exec 3<&0 2>/dev/null
"$@" >>"$directory/log" 2>&1 3<&- &
server=$!
echo started
(read -r _ <&3; kill -QUIT $server 2>/dev/null) &
reader=$!
# One that was killed is waited for at once, or it would still count as running.
wait $server
kill -9 $reader 2>/dev/null
read -r _ <&3
rm -rf "$directory"
"#;

impl Keeper {
    /// Starts a server, unless it ends at once.
    fn start(directory: &Path, port: u16, settings: &[String]) -> Option<Self> {
        let mut command = as_owner("sh");
        command.args(["-c", KEEP, "sh"]).arg(directory).arg(program("postgres"));
        command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
        command.arg("-k").arg(directory);
        for setting in ["shared_buffers=16MB", "max_connections=200"].iter().copied() {
            command.args(["-c", setting]);
        }
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let mut keeper = Self::keep(command);
        let ready = || {
            let mut ask = Command::new(program("pg_isready"));
            ask.args([
                "-q",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-t",
                "10",
                "-p",
                &port.to_string(),
            ]);
            ask.status().expect("`pg_isready` runs").success()
        };
        let own = || {
            let file = std::fs::read_to_string(directory.join("data/postmaster.pid")).ok()?;
            file.lines().next()?.parse::<u32>().ok()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            // Its own file names it as long as it runs: another's server may have the port.
            let runs = own().is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
            if runs && ready() {
                return Some(keeper);
            }
            if !keeper.has_server() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // The directory stays, for another try.
        let _ = keeper.0.kill();
        let _ = keeper.0.wait();
        None
    }

    fn keep(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`sh` runs");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says so");
        Self(child)
    }

    /// Whether what it has started still runs.
    fn has_server(&self) -> bool {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let runs = |pid: &str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        children.split_whitespace().any(runs)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of data, made once and copied for each server.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<(PathBuf, Keeper)> = OnceLock::new();
    let (path, _) = TEMPLATE.get_or_init(|| {
        let directory = new_directory();
        let path = directory.join("data");
        let made = as_owner(program("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N", "-D"])
            .arg(&path)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("`initdb` runs").success());
        let mut command = as_owner("sh");
        command.args(["-c", KEEP, "sh"]).arg(&directory).arg("true");
        (path, Keeper::keep(command))
    });
    path
}

/// A directory of the servers' owner.
fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("locks-postgres-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let made = as_owner("mkdir").arg(&path).status();
    assert!(made.expect("`mkdir` runs").success(), "a new directory");
    path
}

/// A program of PostgreSQL's, which distributions keep apart by version.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            let path = version.path().join("bin").join(name);
            path.exists().then_some((number, path))
        })
        .collect();
    found.sort();
    if let Some((_, path)) = found.pop() {
        return path;
    }
    let there = Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(there, "there is no `{name}`: install the package postgresql");
    name.into()
}

/// A command in the name of who may run servers: anybody but root.
pub(crate) fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    static ROOT: OnceLock<bool> = OnceLock::new();
    let root = *ROOT.get_or_init(|| {
        let id = Command::new("id").arg("-u").output().expect("`id` runs").stdout;
        id.trim_ascii() == b"0"
    });
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}
