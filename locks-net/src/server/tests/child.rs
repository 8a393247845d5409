//! Other processes, which are this test program again.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::line::{Line, connected};
use crate::client::Dial;
use crate::secret::{Secret, Secured};
use crate::server::Server;
use crate::serving::MachineDial;

/// What a child is to do, and where.
const ROLE: &str = "LOCKS_NET_TEST";

/// A process that ends with the test.
pub(crate) struct Other(Child);

impl Other {
    /// Plays the role; `through` is for the shell to do before.
    pub(crate) fn new(role: &str, scratch: &Path, through: &str) -> Self {
        let test = "server::tests::child::in_another_process";
        let run = format!("{through} exec \"$0\" --exact {test} --nocapture");
        let mut command = Command::new("sh");
        command.arg("-c").arg(run).arg(env::current_exe().unwrap());
        command.env(ROLE, format!("{role} {}", scratch.display()));
        let mut other = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        assert_eq!(other.said(), "ready");
        other
    }

    /// Python, which can fork. It has to say that it is ready.
    pub(crate) fn python(script: &str, args: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", script]).args(args);
        let mut other = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        assert_eq!(other.said(), "ready");
        other
    }

    /// The next of its lines that begins with `!`.
    pub(crate) fn said(&mut self) -> String {
        let stdout = self.0.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            // Not a byte more than the line.
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "it says something");
            if byte != *b"\n" {
                line.push(byte[0]);
            } else if line.first() == Some(&b'!') {
                return String::from_utf8(line).unwrap()[1..].to_owned();
            } else {
                line.clear();
            }
        }
    }

    /// Tells it to go on.
    pub(crate) fn tell(&mut self, text: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// As `kill -9` does; what it has forked lives as long as this does.
    pub(crate) fn kill_leaving_stdin(&mut self) {
        let stdin = self.0.stdin.take();
        self.kill();
        self.0.stdin = stdin;
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn say(text: &str) {
    // Not `print!`, whose output belongs to the test.
    writeln!(io::stdout(), "\n!{text}").unwrap();
}

/// The next line of the standard input; nothing at its end.
fn heard() -> String {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A child that has all open that this process has, and does nothing, until it is dropped.
struct ForkedChild(libc::pid_t);

impl ForkedChild {
    #[expect(unsafe_code, reason = "the one way to have a child that runs no program")]
    fn new() -> Self {
        // SAFETY: the child waits to be killed, at the latest by the alarm.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: neither of them touches what is the parent's.
            unsafe {
                libc::alarm(60);
                loop {
                    libc::pause();
                }
            }
        }
        assert!(child > 0, "a child is forked");
        Self(child)
    }
}

impl Drop for ForkedChild {
    #[expect(unsafe_code, reason = "what was forked by hand is ended by hand")]
    fn drop(&mut self) {
        // SAFETY: its number stays its own until it is waited for, which happens here alone.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// What the other processes do.
#[test]
fn in_another_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let (role, directory) = role.split_once(' ').unwrap();
    let directory = PathBuf::from(directory);
    match role {
        "server" => {
            let builder = Server::builder().unix(directory.join("socket"));
            let server = builder.state(directory.join("state")).start().unwrap();
            say("ready");
            if heard() == "wait" {
                say(&server.wait().unwrap_err().to_string());
                heard();
            }
        }
        "tcp" => {
            let secret = Secret::generate().unwrap();
            let path = directory.join("secret");
            let mut file = File::options();
            let mut file = file.write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.write_all(secret.to_text().as_bytes()).unwrap();
            let builder = Server::builder().tcp("127.0.0.1:0".parse().unwrap()).clients(secret);
            let server = builder.state(directory.join("state")).start().unwrap();
            let address = server.addresses()[0].strip_prefix("locks://").unwrap();
            fs::write(directory.join("address"), address).unwrap();
            say("ready");
            heard();
        }
        "forking" => {
            let secret = Secret::generate().unwrap();
            let start = |port| {
                let clients = Secret::parse(&secret.to_text()).unwrap();
                let builder = Server::builder().tcp((Ipv4Addr::LOCALHOST, port).into());
                let builder = builder.clients(clients).unix(directory.join("socket"));
                builder.state(directory.join("state")).start().unwrap()
            };
            let server = start(0);
            let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
            let address: SocketAddr = address.parse().unwrap();
            let child = ForkedChild::new();
            drop(server);
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "nobody waits in vain");
            drop(start(address.port()));
            drop(child);
            say("ready");
        }
        "machine" => {
            let machine = MachineDial::new(directory.join("machine"));
            let by = Instant::now() + Duration::from_secs(20);
            let stream = connected(machine.dial(by).unwrap());
            let mut line = Line::open(stream, Secured::default(), None, None).unwrap();
            say("ready");
            loop {
                match heard().as_str() {
                    "" => break,
                    key => {
                        line.acquire(key).unwrap();
                        say("held");
                    }
                }
            }
        }
        role => panic!("no such role: {role}"),
    }
}
