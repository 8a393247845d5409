//! Private servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use locks_engines::redis::{Redis, RedisBuilder};

use super::support::process::{Directory, Process};
use super::support::{BUSY, free_port};

/// A server that ends with its value.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// How many steps have been counted.
    pub(crate) counted: AtomicU64,
    pub(crate) process: Process,
    directory: Directory,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with settings, as on the command line.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_having(|| arguments.iter().map(|&text| text.to_owned()).collect())
    }

    /// One with settings that may have to be others, since a port in them was taken.
    pub(crate) fn start_having(arguments: impl Fn() -> Vec<String>) -> Self {
        let directory = Directory::new("redis");
        // The port may be taken between its being found and being used.
        for _ in 0..20 {
            let (port, arguments) = (free_port(), arguments());
            let mut process = spawn(port, directory.path(), &arguments);
            if wait_for(port, &mut process) {
                return Self { port, counted: AtomicU64::new(0), process, directory, arguments };
            }
        }
        panic!("no server came up: see `{}`", directory.path().join("log").display());
    }

    /// Kills it and starts it anew with more settings than it had.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|&text| text.to_owned()));
        self.restart();
    }

    /// The port for others: that of TLS, if it speaks that.
    pub(crate) fn at(&self) -> u16 {
        let at = self.arguments.iter().position(|argument| argument == "--tls-port");
        at.map_or(self.port, |at| self.arguments[at + 1].parse().expect("a port"))
    }

    /// Kills it and starts it anew on its directory and port.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.port, self.directory.path(), &self.arguments);
        assert!(wait_for(self.port, &mut self.process), "it is started once more");
    }

    /// Carries one command out and returns the answer as text.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("the server answers")
    }

    pub(crate) fn builder(&self) -> RedisBuilder {
        Redis::builder("127.0.0.1", self.port).fresh(true).connect(BUSY)
    }
}

fn spawn(port: u16, directory: &std::path::Path, arguments: &[String]) -> Process {
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null());
    Process::start(&mut command, "redis-server")
}

/// Waits until it answers; `false` if it has ended.
fn wait_for(port: u16, process: &mut Process) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if process.has_ended() {
            return false;
        }
        // Another test's server may have the port instead, and this one is about to end for that.
        let own = format!("process_id:{}\r\n", process.pid());
        let ask = ["INFO", "server"];
        let answer = command(port, &ask).unwrap_or_default();
        // One that wants a password first says nothing of itself.
        if answer.contains(&own) || answer.contains("-NOAUTH") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// One command on a connection of its own.
pub(crate) fn command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    // `QUIT` has the server close the connection once it has answered.
    text += "*1\r\n$4\r\nQUIT\r\n";
    stream.write_all(text.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    // A Sentinel knows no `QUIT`.
    while !answer.windows(22).any(|said| said == b"unknown command 'QUIT'") {
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
