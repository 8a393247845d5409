//! Starts the processes that hand a lock to and fro, and makes latencies of what they say.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::board::Board;
use super::child::Part;
use crate::rows::latencies::{Latencies, Turn};

/// Lets `part.processes` of them hand the lock over until there have been `part.grants`; `command`
/// starts one, but for the arguments that say its part.
///
/// # Panics
/// If a process fails, or if two of them had the lock at once.
pub(super) fn hand_over(directory: &Path, part: Part, command: impl Fn() -> Command) -> Latencies {
    Board::create(&part.board, part.processes).expect("the directory is there");
    let children = (0..part.processes).map(|process| {
        let mut command = command();
        command.args(Part { process, ..part.clone() }.arguments());
        command.current_dir(directory).stdout(Stdio::piped());
        Started(command.spawn().expect("what could be found can be started"))
    });
    let children = children.collect::<Vec<_>>();
    let mut turns = Vec::new();
    for child in children {
        turns.extend(parse(&child.finish().expect("it was started")));
    }
    assert_eq!(turns.len() as u64, part.grants, "every grant was told");
    // The first ones warm up caches and start what runs beside the lock.
    Latencies::between(turns, usize::try_from(part.processes).expect("a few processes") * 2)
}

/// A process that does not outlive the one that started it, should that fail.
struct Started(Child);

impl Started {
    fn finish(mut self) -> io::Result<Output> {
        let mut stdout = Vec::new();
        if let Some(mut pipe) = self.0.stdout.take() {
            io::Read::read_to_end(&mut pipe, &mut stdout)?;
        }
        Ok(Output { status: self.0.wait()?, stdout, stderr: Vec::new() })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parse(output: &Output) -> Vec<Turn> {
    assert!(output.status.success(), "a process failed: its error is above");
    let text = String::from_utf8_lossy(&output.stdout);
    let turns = text.lines().map(|line| {
        let (granted, released) = line.split_once(' ')?;
        Some((granted.parse().ok()?, released.parse().ok()?))
    });
    turns.map(|turn| turn.expect("a process prints two times for each turn")).collect()
}
