//! The script's standard error, where the keeper says why the script is signalled.
//!
//! Whoever reads from the script waits for the script only, so the keeper has no copy of a pipe,
//! and opens it when there is something to say. A file that is opened anew would have a place of
//! its own to write at, where one of the two writes over the other, and a socket cannot be opened.
//! Of these `locks hold` hands on its own, where that is the script's: nobody waits for the end of
//! a file, and a socket is [closed](close) with the script.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::Pid;

/// What a keeper for process `pid` is started with.
pub(super) fn hand_on(pid: Pid) -> Stdio {
    shared_with(pid).map_or_else(Stdio::null, Stdio::from)
}

/// Says a line there, if that can be found. What nobody reads is not waited for: the signal is more
/// urgent.
pub(super) fn say(pid: Pid, line: &str) {
    let stderr = match shared_with(pid) {
        // Not to wait would be for the script as well, if it were set.
        Some(shared) => has_room(&shared).then_some(shared),
        None => {
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            File::options().append(true).custom_flags(flags).open(path(pid)).ok()
        }
    };
    let _ = stderr.map(|mut stderr| stderr.write_all(line.as_bytes()));
}

/// Lets go of what was handed on.
pub(super) fn close() {
    if let Ok(nothing) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(nothing);
    }
}

/// Standard error of this process, if it is a file or a socket, and that of process `pid`.
fn shared_with(pid: Pid) -> Option<File> {
    let own = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
    let (about, its) = (own.metadata().ok()?, fs::metadata(path(pid)).ok()?);
    let kind = about.file_type();
    let is_its = (about.dev(), about.ino()) == (its.dev(), its.ino());
    ((kind.is_file() || kind.is_socket()) && is_its).then_some(own)
}

fn has_room(stderr: &File) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn path(pid: Pid) -> String {
    format!("/proc/{}/fd/2", pid.as_raw_nonzero())
}
