//! The storm: processes that are killed, stopped and replaced, and a server to which the same
//! happens.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;
use locks_net::NetBackend;
use rustix::process::{Signal, kill_process};

use super::court::{Court, Failure, Refusals};
use super::dice::Dice;
use super::disk::Disk;
use super::judge::{Counts, Violation};
use super::life::{Life, end_all, namespace_of};
use super::log::{Event, Log};
use super::plan::{PLANS, Plan};
use crate::directory::Directory;
use crate::peer::now;
use crate::place::{Place, Way, status};
use crate::program::program_in;

/// Processes that lock.
const WORKERS: usize = 6;

/// The leases of those who have any. Short, because whoever is killed keeps what it had for so
/// long.
const LEASE: Duration = Duration::from_millis(700);

/// The longest stops, in microseconds: shorter than any age at which somebody steals, and longer
/// than a lease.
const STOPS: [u64; 3] = [5_000, 60_000, 1_200_000];

/// The longest stops of a server, in microseconds.
const SERVER_STOPS: u64 = 100_000;

/// The disk under a server's state, in KiB.
const DISK: u32 = 1024;

/// How much later than it was to somebody goes on, in microseconds, on a busy machine.
const LATE: u64 = 50_000;

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
    refusals: Refusals,
    /// Granted while the disk was full, and after that.
    grants_since_full: [u64; 2],
    blows: Blows,
}

#[derive(Clone, Copy, Debug, Default)]
struct Blows {
    killed: u64,
    stopped: u64,
    servers_killed: u64,
    servers_stopped: u64,
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

impl Storm {
    pub(crate) fn run(self) -> Result<Report, Failure> {
        let lease = if self.way == Way::Tcp { LEASE } else { LEASE * 10 };
        let place = Place::with_limits(self.way, &format!("lease={}", lease.as_millis()));
        let witness = Directory::new();
        // Of a machine's processes any may be the one that serves.
        let longest = if self.way == Way::Machine { STOPS[2] } else { SERVER_STOPS };
        let deaf = (longest + LATE) * 1000;
        let plans = PLANS.map(|plan| Plan { leased: self.way == Way::Tcp, deaf, ..plan });
        let mut court = Court::new(witness.path(), plans);
        let mut timeline = VecDeque::new();
        let path = witness.path();
        let mut disk = self.blows.then(|| Disk::over(place.path(), DISK, path, self.lasts));
        let blows = self.blow(&place, &witness, &mut court, &mut timeline, disk.as_mut());
        let blows = blows.map_err(|failure| failure.after(&timeline))?;
        let counts = court.counts();
        Ok(Report {
            counts,
            refusals: Refusals::read(path),
            grants_since_full: disk.map_or([0; 2], |disk| disk.grants(counts.grants)),
            blows,
        })
    }

    /// Until it has blown over and every process has ended by itself.
    fn blow(
        &self,
        place: &Place,
        witness: &Directory,
        court: &mut Court,
        timeline: &mut VecDeque<String>,
        mut disk: Option<&mut Disk>,
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
            if let Some(disk) = &mut disk
                && let Some(what) = disk.go_on(court.counts().grants)
            {
                tell(what.to_owned());
            }
            for process in &mut processes {
                process.go_on_if_due();
                process.assert_goes_on(court)?;
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
                        thread::sleep(dice.micros(SERVER_STOPS));
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
        end_all(processes, court, &place.backend())?;
        court.sit()?;
        // Whoever was killed last has its lease.
        court.assert_all_free(&place.backend(), LEASE * 3)?;
        assert_nothing_known(&place.client())?;
        Ok(blows)
    }

    fn start(&self, life: u32, place: &Place, witness: &Directory) -> Life {
        let namespace = if self.blows { namespace_of(life) } else { &[] };
        let mut command = program_in("worker", namespace);
        place.told().tell(&mut command);
        Life::start(command, life, self.seed, self.defect, witness.path())
    }
}

/// The server knows of no key any more.
fn assert_nothing_known(client: &NetBackend) -> Result<(), Failure> {
    let start = now();
    loop {
        match status(client) {
            Ok(status) if (status.keys, status.waiters) == (0, 0) => return Ok(()),
            outcome if now() - start > 5_000_000_000 => {
                let listed = Backend::new(client.clone()).list();
                let text = format!("after the storm: {outcome:?}, listed: {listed:#?}");
                return Err(Failure::Fault(text));
            }
            _ => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

impl Report {
    /// Whether everything that a storm is there for came about; in a short one, or on a busy
    /// machine, what is rare need not.
    pub(crate) fn assert_stormy(&self) {
        /// So many grants have seen everything.
        const GRANTS: u64 = 10_000;
        let happened = [
            ("grants", self.counts.grants),
            ("timeouts", self.refusals.timeouts),
            ("cancelled", self.refusals.cancelled),
            ("granted while the disk was full", self.grants_since_full[0]),
            ("granted when it had room again", self.grants_since_full[1]),
            ("killed", self.blows.killed),
            ("stopped", self.blows.stopped),
            ("lost", self.counts.lost),
            ("stolen", self.counts.stolen),
        ];
        let rare = ["lost", "stolen", "granted while the disk was full"];
        let is_due = |what| GRANTS <= self.counts.grants || !rare.contains(what);
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
            "{grants} grants, {} timeouts, {} cancelled, {} for want of room ({} granted meanwhile, \
             {} since), {killed} killed, {stopped} stopped, \
             {servers_killed} servers killed, {servers_stopped} stopped, {lost} lost; overlaps: \
             {stolen} stolen, {stolen_unseen} by the dead, {expired} expired, {with_others} of a \
             set; {told_late} told late",
            self.refusals.timeouts,
            self.refusals.cancelled,
            self.refusals.no_room,
            self.grants_since_full[0],
            self.grants_since_full[1],
        )
    }
}

/// One storm at a time: they are full of processes, and each other's weather.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());
