//! The storm: processes that are killed, stopped and replaced, and a server to which the same happens.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::dice::Dice;
use super::judge::{Counts, Judge, Violation, Wrong};
use super::log::{Event, Log, Reader};
use super::plan::{PLANS, Plan};
use super::worker::{DEFECT, FAULTS, LIFE, REFUSALS, SEED, WITNESS};
use crate::directory::{Directory, PATIENCE};
use crate::peer::now;
use crate::place::{Place, Way, status};
use crate::program::program;

/// Processes that lock.
const WORKERS: usize = 6;

/// The leases of those who have any. Short, because whoever is killed keeps what it had for so long.
const LEASE: Duration = Duration::from_millis(700);

/// The longest stops, in microseconds: shorter than any age at which somebody steals, and longer than a
/// lease.
const STOPS: [u64; 3] = [5_000, 60_000, 1_200_000];

/// What a storm consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) way: Way,
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    /// Whether anything happens to processes.
    pub(crate) blows: bool,
    pub(crate) defect: Option<&'static str>,
}

/// How it went, if nothing went wrong.
#[derive(Debug)]
pub(crate) struct Report {
    counts: Counts,
    timeouts: u64,
    cancelled: u64,
    blows: Blows,
}

#[derive(Clone, Copy, Debug, Default)]
struct Blows {
    killed: u64,
    stopped: u64,
    servers_killed: u64,
    servers_stopped: u64,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    Violation(Violation),
    Fault(String),
}

impl Failure {
    /// With what had happened before, the last of it first.
    fn after(mut self, timeline: &VecDeque<String>) -> Self {
        let (Self::Violation(Violation { text, .. }) | Self::Fault(text)) = &mut self;
        for what in timeline {
            text.push('\n');
            text.push_str(what);
        }
        self
    }
}

/// A process of the storm. It is killed when this is dropped.
struct Life {
    life: u32,
    process: Child,
    stopped_until: Option<Instant>,
}

impl Storm {
    pub(crate) fn run(self) -> Result<Report, Failure> {
        let lease = if self.way == Way::Tcp { LEASE } else { LEASE * 10 };
        let place = Place::with_limits(self.way, &format!("lease={}", lease.as_millis()));
        let witness = Directory::new();
        let mut court = Court::new(self.way, witness.path());
        let mut timeline = VecDeque::new();
        let blows = self.blow(&place, &witness, &mut court, &mut timeline);
        let blows = blows.map_err(|failure| failure.after(&timeline))?;
        let (timeouts, cancelled) = refusals(witness.path());
        Ok(Report { counts: court.counts(), timeouts, cancelled, blows })
    }

    /// Until it has blown over and every process has ended by itself.
    fn blow(
        &self,
        place: &Place,
        witness: &Directory,
        court: &mut Court,
        timeline: &mut VecDeque<String>,
    ) -> Result<Blows, Failure> {
        let mut tell = |what: String| {
            timeline.truncate(30);
            timeline.push_front(format!("{}: {what}", now()));
        };
        let (start, mut dice) = (Instant::now(), Dice::new(self.seed ^ 0x5704));
        // Of a machine's processes those serve that lock.
        let mut server = (self.way != Way::Machine).then(|| place.start());
        let mut standby = server.is_some().then(|| place.standby());
        let logs = PLANS.map(|plan| Log::open(witness.path(), plan.key));
        let mut lives = 0;
        let mut give_life = || {
            lives += 1;
            self.start(lives, place, witness)
        };
        let mut processes = Vec::from_iter((0..WORKERS).map(|_| give_life()));
        let mut blows = Blows::default();
        let mut next = Instant::now();
        while start.elapsed() < self.lasts {
            court.sit()?;
            for process in &mut processes {
                process.go_on_if_due();
                if let Some(status) = process.process.try_wait().unwrap() {
                    court.sit()?;
                    return Err(Failure::Fault(format!("a process ended with {status}")));
                }
            }
            if self.blows && Instant::now() >= next {
                next = Instant::now() + dice.micros(60_000);
                let chosen = dice.below(processes.len() as u64) as usize;
                match (dice.below(10), &mut server) {
                    (0, Some(serving)) => {
                        tell(format!("the server {:?} is killed", serving.pid()));
                        let old = standby.replace(place.standby()).expect("one stands by");
                        // Before its successor serves, or so that clients find nobody for a while.
                        std::mem::replace(serving, old).kill();
                        if dice.one_in(3) {
                            thread::sleep(dice.micros(60_000));
                        }
                        place.let_serve(serving);
                        tell(format!("{:?} serves", serving.pid()));
                        blows.servers_killed += 1;
                    }
                    (1, Some(serving)) => {
                        tell("the server is stopped".to_owned());
                        kill_process(serving.pid(), Signal::STOP).unwrap();
                        thread::sleep(dice.micros(100_000));
                        tell("the server goes on".to_owned());
                        serving.go_on();
                        blows.servers_stopped += 1;
                    }
                    (2 | 3, _) => {
                        // Known before it can happen.
                        let life = processes[chosen].life;
                        logs.iter().for_each(|log| log.append(Event::Killing { life }));
                        tell(format!("life {life}, {:?}, is killed", processes[chosen].pid()));
                        processes[chosen] = give_life();
                        blows.killed += 1;
                    }
                    _ => {
                        blows.stopped += 1;
                        let longest = *dice.of(&STOPS);
                        let time = dice.micros(longest);
                        processes[chosen].stop(time);
                        tell(format!("life {} is stopped for {time:?}", processes[chosen].life));
                    }
                }
            }
            thread::park_timeout(Duration::from_millis(5));
        }
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
                    Some(status) => {
                        court.sit()?;
                        return Err(Failure::Fault(format!("a process ended with {status}")));
                    }
                    None if end.elapsed() > PATIENCE => {
                        return Err(Failure::Fault(process.describe(place)));
                    }
                    None => thread::park_timeout(Duration::from_millis(1)),
                }
            }
        }
        court.sit()?;
        court.assert_all_free(place)?;
        Ok(blows)
    }

    fn start(&self, life: u32, place: &Place, witness: &Directory) -> Life {
        let mut command = program("worker");
        place.told().tell(&mut command);
        command.env(WITNESS, witness.path()).env(LIFE, life.to_string());
        command.env(SEED, self.seed.to_string());
        if let Some(defect) = self.defect {
            command.env(DEFECT, defect);
        }
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Life { life, process, stopped_until: None }
    }
}

impl Life {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn stop(&mut self, time: Duration) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        self.stopped_until = Some(Instant::now() + time);
    }

    fn go_on_if_due(&mut self) {
        if self.stopped_until.is_some_and(|until| until <= Instant::now()) {
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
        self.stopped_until = None;
    }

    /// What it hangs in.
    fn describe(&self, place: &Place) -> String {
        let tasks = format!("/proc/{}/task", self.process.id());
        let tasks = fs::read_dir(tasks).into_iter().flatten().flatten().map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let place = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
            format!("{} in {place}", name.trim())
        });
        let (life, tasks) = (self.life, tasks.collect::<Vec<_>>().join(", "));
        format!("process {life} hangs: {tasks}; listed: {:#?}", place.backend().list())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The judges of all keys.
struct Court {
    witness: PathBuf,
    cases: Vec<(Reader, Judge)>,
}

impl Court {
    fn new(way: Way, witness: &Path) -> Self {
        let cases = PLANS.map(|plan| {
            let plan = Plan { leased: way == Way::Tcp, ..plan };
            (Reader::open(witness, plan.key), Judge::new(plan))
        });
        Self { witness: witness.to_owned(), cases: cases.into() }
    }

    /// Hears what has happened since the last time.
    fn sit(&mut self) -> Result<(), Failure> {
        if let Ok(faults) = fs::read_to_string(self.witness.join(FAULTS)) {
            return Err(Failure::Fault(faults));
        }
        for (reader, judge) in &mut self.cases {
            for record in reader.news() {
                judge.hear(record).map_err(Failure::Violation)?;
            }
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.cases.iter().for_each(|(_, judge)| all += judge.counts);
        all
    }

    /// After the storm nobody has anything (C13), and tokens go on growing (C7).
    fn assert_all_free(&self, place: &Place) -> Result<(), Failure> {
        let client = place.client();
        let backend = locks_core::Backend::new(client.clone());
        for (plan, (_, judge)) in PLANS.iter().zip(&self.cases) {
            let key = plan.key;
            // Whoever was killed last has its lease.
            match backend.named(key).wait(LEASE * 3).acquire() {
                Ok(guard) if guard.token().get() > judge.greatest() => {}
                Ok(guard) => {
                    let text = format!("`{key}`: {} after {}", guard.token(), judge.greatest());
                    return Err(Failure::Violation(Violation { wrong: Wrong::Token, text }));
                }
                Err(error) => {
                    return Err(Failure::Fault(format!("after the storm: {error:?}")));
                }
            }
        }
        let start = now();
        loop {
            match status(&client) {
                Ok(status) if (status.keys, status.waiters) == (0, 0) => return Ok(()),
                outcome if now() - start > 5_000_000_000 => {
                    let listed = backend.list();
                    let text = format!("after the storm: {outcome:?}, listed: {listed:#?}");
                    return Err(Failure::Fault(text));
                }
                _ => thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }
}

fn refusals(witness: &Path) -> (u64, u64) {
    let text = fs::read_to_string(witness.join(REFUSALS)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let numbers = pairs.map(|(one, other)| (one.parse().unwrap(), other.parse().unwrap()));
    numbers.fold((0, 0), |sum: (u64, u64), pair: (u64, u64)| (sum.0 + pair.0, sum.1 + pair.1))
}

impl Report {
    /// Whether everything that a storm is there for came about; in a short one, what is rare need not.
    pub(crate) fn assert_stormy(&self, lasted: Duration) {
        let happened = [
            ("grants", self.counts.grants),
            ("timeouts", self.timeouts),
            ("cancelled", self.cancelled),
            ("killed", self.blows.killed),
            ("stopped", self.blows.stopped),
            ("lost", self.counts.lost),
            ("stolen", self.counts.stolen),
        ];
        let rare = ["lost", "stolen"];
        let is_due = |what| lasted >= Duration::from_secs(20) || !rare.contains(what);
        let missing = happened.iter().filter(|(what, count)| *count == 0 && is_due(what));
        let missing = missing.map(|(what, _)| *what).collect::<Vec<_>>();
        assert!(missing.is_empty(), "no storm: none of {missing:?} in {self}");
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { grants, lost, stolen, stolen_unseen, with_others, expired, told_late, .. } =
            self.counts;
        let Blows { killed, stopped, servers_killed, servers_stopped } = self.blows;
        write!(
            f,
            "{grants} grants, {} timeouts, {} cancelled, {killed} killed, {stopped} stopped, \
             {servers_killed} servers killed, {servers_stopped} stopped, {lost} lost; overlaps: \
             {stolen} stolen, {stolen_unseen} by the dead, {expired} expired, {with_others} of a \
             set; {told_late} told late",
            self.timeouts, self.cancelled,
        )
    }
}

/// One storm at a time: they are full of processes, and each other's weather.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());
