//! Processes of this program's own: floors that serve, keepers of other servers, those who come
//! and go. Each ends when its input does, so that none outlives the program that started it.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::address::{Address, Transport};
use super::echo;
use super::takeover;

/// The first argument of such a process.
pub(crate) const COMMAND: &str = "be";

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let ended = match arguments[..] {
        ["echo", address] => serve(address, |listener| echo::in_threads(&listener)),
        ["echo-in-tasks", address] => serve(address, echo::in_tasks),
        ["relay", address] => serve(address, |listener| echo::relay(&listener)),
        ["keeper", program, ref arguments @ ..] => keep(program, arguments),
        ["holder", who, directory, key] => takeover::hold(who, Path::new(directory), key),
        ["newcomer", who, directory, key] => takeover::come(who, Path::new(directory), key),
        _ => Err(io::Error::other("only this program itself starts it with these arguments")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Listens at `address`, says so, and serves until the input ends.
fn serve(
    address: &str,
    server: impl FnOnce(super::address::Listener) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let address = Address::parse(address).ok_or_else(|| io::Error::other("no address"))?;
    let listener = address.listen()?;
    let server = thread::spawn(move || server(listener));
    say("listening")?;
    until_input_ends()?;
    if server.is_finished() { server.join().expect("it returns") } else { Ok(()) }
}

/// Runs another program until the input ends; what it prints is of no interest.
fn keep(program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let mut kept = command.spawn()?;
    say(kept.id())?;
    until_input_ends()?;
    // Asked to stop, so that it removes what it shares with other processes.
    kill_process(Pid::from_child(&kept), Signal::INT)?;
    kept.wait().map(drop)
}

fn until_input_ends() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Tells the program that started this one.
pub(super) fn say(what: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    out.flush()
}

/// Such a process, as seen by the program that started it; dropping it ends it.
#[derive(Debug)]
pub(super) struct Started {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Started {
    pub(super) fn start<A: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        Self::spawn(itself()?.args(arguments))
    }

    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Self { process, to, from })
    }

    /// A server that this program contains, once it listens.
    pub(super) fn serving(
        role: &str,
        transport: Transport,
        directory: &Path,
    ) -> io::Result<(Self, Address)> {
        Self::serving_at(role, transport.free(directory, role)?)
    }

    /// The same at that address.
    pub(super) fn serving_at(role: &str, address: Address) -> io::Result<(Self, Address)> {
        let mut started = Self::start([role, &address.to_string()])?;
        started.hear()?;
        Ok((started, address))
    }

    /// The next line that it says.
    pub(super) fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err(io::Error::other("it ended: its error is above")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Asks it to go on.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), |to| to.write_all(b"\n"))
    }

    #[cfg(target_os = "linux")]
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it without notice, as `kill -9` does.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.to = None;
        // Whoever has failed has said so.
        let _ = self.process.wait();
    }
}

/// This program, to be told who it is.
pub(super) fn itself() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND);
    Ok(command)
}
