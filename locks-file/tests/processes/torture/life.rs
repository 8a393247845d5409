//! A process of the storm, from its start to its end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;
use rustix::process::{Pid, Signal, kill_process};

use super::court::{Court, Failure};
use super::worker::{DEFECT, LIFE, SEED, WITNESS};
use crate::directory::PATIENCE;
use crate::means;

/// Pid namespaces: the machine's; one of its own, as a container has it; and one with the machine's
/// `/proc`, where numbers mean other processes.
const NAMESPACES: [&[&str]; 3] = [
    &[],
    &["--pid", "--fork", "--mount-proc", "--kill-child"],
    &["--pid", "--fork", "--kill-child"],
];

/// The words before a command that run it where this life is to be.
pub(crate) fn namespace_of(life: u32) -> &'static [&'static str] {
    NAMESPACES[life as usize % NAMESPACES.len()]
}

/// Returns whether they can be had, as a test needs them.
#[track_caller]
pub(crate) fn can_hide() -> bool {
    NAMESPACES[1..].iter().all(|options| {
        let words = means::unshare(options);
        means::can_run_in_namespaces(Command::new(&words[0]).args(&words[1..]).arg("true"))
    })
}

/// It is killed when this is dropped.
pub(crate) struct Life {
    pub(crate) life: u32,
    process: Child,
    stopped_until: Option<Instant>,
}

impl Life {
    /// One that is told what to lock by `command`.
    pub(crate) fn start(
        mut command: Command,
        life: u32,
        seed: u64,
        defect: Option<&str>,
        witness: &Path,
    ) -> Self {
        command.env(WITNESS, witness).env(LIFE, life.to_string()).env(SEED, seed.to_string());
        if let Some(defect) = defect {
            command.env(DEFECT, defect);
        }
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { life, process, stopped_until: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// The process that locks: one in a namespace of its own is a child of `unshare`, once that has
    /// begun.
    fn locking(&self) -> Option<Pid> {
        let pid = self.process.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let of_unshare = fs::read_to_string(format!("/proc/{pid}/comm")).ok()? == "unshare\n";
        let child = children.split(' ').next().filter(|_| of_unshare)?;
        child.parse().ok().and_then(Pid::from_raw)
    }

    pub(crate) fn stop(&mut self, time: Duration) {
        kill_process(self.locking().unwrap_or(self.pid()), Signal::STOP).unwrap();
        self.stopped_until = Some(Instant::now() + time);
    }

    pub(crate) fn go_on_if_due(&mut self) {
        if self.stopped_until.is_some_and(|until| until <= Instant::now()) {
            self.go_on();
        }
    }

    pub(crate) fn go_on(&mut self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
        if let Some(locking) = self.locking() {
            kill_process(locking, Signal::CONT).unwrap();
        }
        self.stopped_until = None;
    }

    /// It does not end before it is told to.
    pub(crate) fn assert_goes_on(&mut self, court: &mut Court) -> Result<(), Failure> {
        match self.process.try_wait().unwrap() {
            Some(status) => Err(ended(status, court)),
            None => Ok(()),
        }
    }

    /// What it hangs in.
    fn describe(&self, backend: &Backend) -> String {
        let tasks = format!("/proc/{}/task", self.process.id());
        let tasks = fs::read_dir(tasks).into_iter().flatten().flatten().map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let place = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
            format!("{} in {place}", name.trim())
        });
        let (life, tasks) = (self.life, tasks.collect::<Vec<_>>().join(", "));
        format!("process {life} hangs: {tasks}; listed: {:#?}", backend.list())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Either may have ended already. A child that is stopped before it has asked to end with
        // `unshare` would outlive it, with the output that others wait to see the end of.
        if let Some(locking) = self.locking() {
            let _ = kill_process(locking, Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Lets all of them come to their end.
pub(crate) fn end_all(
    mut processes: Vec<Life>,
    court: &mut Court,
    backend: &Backend,
) -> Result<(), Failure> {
    for process in &mut processes {
        process.go_on();
        drop(process.process.stdin.take());
    }
    let end = Instant::now();
    for mut process in processes {
        loop {
            court.sit()?;
            match process.process.try_wait().unwrap() {
                Some(status) if status.success() => break,
                Some(status) => return Err(ended(status, court)),
                None if end.elapsed() > PATIENCE => {
                    return Err(Failure::Fault(process.describe(backend)));
                }
                None => thread::park_timeout(Duration::from_millis(1)),
            }
        }
    }
    Ok(())
}

/// It ended badly; what it said of that tells more.
fn ended(status: ExitStatus, court: &mut Court) -> Failure {
    let said = court.sit().err();
    said.unwrap_or_else(|| Failure::Fault(format!("a process ended with {status}")))
}
