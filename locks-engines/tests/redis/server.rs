//! Private servers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use locks_engines::redis::{Redis, RedisBuilder};

/// A server that ends with its value.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// How many steps have been counted.
    pub(crate) counted: AtomicU64,
    child: Child,
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with settings, as on the command line.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        // The port may be taken between its being found and being used.
        for _ in 0..20 {
            let port = free_port();
            let mut child = spawn(port, &directory, &arguments);
            if wait_for(port, &mut child) {
                return Self { port, counted: AtomicU64::new(0), child, directory, arguments };
            }
            end(&mut child);
        }
        panic!("no server came up: see `{}`", directory.join("log").display());
    }

    /// Kills it and starts it anew on its directory and port.
    pub(crate) fn restart(&mut self) {
        end(&mut self.child);
        self.child = spawn(self.port, &self.directory, &self.arguments);
        assert!(wait_for(self.port, &mut self.child), "it is started once more");
    }

    pub(crate) fn kill(&mut self) {
        end(&mut self.child);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Carries one command out and returns the answer as text.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("the server answers")
    }

    pub(crate) fn builder(&self) -> RedisBuilder {
        Redis::builder("127.0.0.1", self.port).fresh(true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(port: u16, directory: &std::path::Path, arguments: &[String]) -> Child {
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("`redis-server` cannot be started ({error}): install the package redis-server")
        })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits until it answers; `false` if it has ended.
fn wait_for(port: u16, child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if child.try_wait().expect("it is ours").is_some() {
            return false;
        }
        // Another test's server may have the port instead, and this one is about to end for that.
        let own = format!("process_id:{}\r\n", child.id());
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
fn command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    // `QUIT` has the server close the connection once it has answered.
    text += "*1\r\n$4\r\nQUIT\r\n";
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
