//! The storm: processes that are killed, stopped and replaced, and outsiders among their files.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::court::{Court, Failure, Refusals};
use super::dice::Dice;
use super::disk::Disk;
use super::judge::Counts;
use super::life::{Life, end_all, namespace_of};
use super::log::{Entry, Event, HoldId, Log};
use super::plan::PLANS;
use crate::directory::{Directory, tell_directory};
use crate::foreign::{is_at, lock_as_an_outsider};
use crate::peer::now;
use crate::program::{program, program_under};

/// Processes that lock.
const WORKERS: usize = 8;

/// The disk under their locks, in KiB.
const DISK: u32 = 1024;

/// Where the one that cleans stands among them.
const CLEANER: usize = WORKERS;

/// The life of whoever is no process of the storm.
const OUTSIDER: u32 = u32::MAX;

/// The longest stops, in microseconds: shorter than any age at which somebody steals, and longer.
const STOPS: [u64; 3] = [5_000, 30_000, 200_000];

/// What a storm consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    /// Whether anything happens to processes and files.
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
    killed: u64,
    stopped: u64,
    files_deleted: u64,
    foreign: u64,
}

/// What the outsiders share with the storm.
struct Outside {
    /// The lock file of each key.
    files: Vec<PathBuf>,
    logs: Vec<Log>,
    over: AtomicBool,
    deleted: AtomicU64,
    foreign: AtomicU64,
}

impl Storm {
    pub(crate) fn run(self) -> Result<Report, Failure> {
        let (locks, witness) = (Directory::new(), Directory::new());
        let path = witness.path();
        let mut disk = self.blows.then(|| Disk::over(locks.path(), DISK, path, self.lasts));
        let outside = Arc::new(Outside {
            files: PLANS.iter().map(|plan| locks.file_of(plan.key)).collect(),
            logs: PLANS.iter().map(|plan| Log::open(witness.path(), plan.key)).collect(),
            over: AtomicBool::new(false),
            deleted: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
        });
        let mut court = Court::new(witness.path(), PLANS);
        let mut outsiders = Vec::new();
        if self.blows {
            let seed = self.seed;
            for role in [Outside::delete, Outside::lock] as [fn(&Outside, Dice); 2] {
                let outside = outside.clone();
                outsiders.push(thread::spawn(move || role(&outside, Dice::new(seed))));
            }
        }
        let outcome = self.blow(&outside, &locks, &witness, &mut court, disk.as_mut());
        outside.over.store(true, Ordering::Relaxed);
        outsiders.into_iter().for_each(|outsider| outsider.join().unwrap());
        let (killed, stopped) = outcome?;
        court.sit()?;
        court.assert_all_free(&locks.backend(), Duration::from_secs(1))?;
        let counts = court.counts();
        Ok(Report {
            counts,
            refusals: Refusals::read(witness.path()),
            grants_since_full: disk.map_or([0; 2], |disk| disk.grants(counts.grants)),
            killed,
            stopped,
            files_deleted: outside.deleted.load(Ordering::Relaxed),
            foreign: outside.foreign.load(Ordering::Relaxed),
        })
    }

    /// Until it has blown over and every process has ended by itself: how many were killed and
    /// stopped.
    fn blow(
        &self,
        outside: &Outside,
        locks: &Directory,
        witness: &Directory,
        court: &mut Court,
        mut disk: Option<&mut Disk>,
    ) -> Result<(u64, u64), Failure> {
        let (start, mut dice) = (Instant::now(), Dice::new(self.seed ^ 0x5704));
        let mut lives = 0;
        let mut give_life = |cleans| {
            lives += 1;
            self.start(lives, cleans, locks, witness)
        };
        let mut processes = Vec::from_iter((0..WORKERS).map(|_| give_life(false)));
        processes.push(give_life(true));
        let (mut killed, mut stopped) = (0, 0);
        let mut next = Instant::now();
        while start.elapsed() < self.lasts {
            court.sit()?;
            if let Some(disk) = &mut disk {
                disk.go_on(court.counts().grants);
            }
            for process in &mut processes {
                process.go_on_if_due();
                process.assert_goes_on(court)?;
            }
            if self.blows && Instant::now() >= next {
                next = Instant::now() + dice.micros(40_000);
                let chosen = dice.below(processes.len() as u64) as usize;
                if dice.one_in(5) {
                    // Known before it can happen.
                    let life = processes[chosen].life;
                    outside.logs.iter().for_each(|log| log.append(Event::Killing { life }));
                    processes[chosen] = give_life(chosen == CLEANER);
                    killed += 1;
                } else {
                    stopped += 1;
                    let longest = *dice.of(&STOPS);
                    processes[chosen].stop(dice.micros(longest));
                }
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        // One that is stopped may have the directory's books in hand, and nobody else would
        // continue it.
        processes.iter_mut().for_each(Life::go_on);
        end_all(processes, court, &locks.backend())?;
        Ok((killed, stopped))
    }

    fn start(&self, life: u32, cleans: bool, locks: &Directory, witness: &Directory) -> Life {
        let name = if cleans { "cleaner" } else { "worker" };
        let mut command = match self.blows && !cleans {
            true => program_under(name, namespace_of(life), ":"),
            false => program(name),
        };
        tell_directory(&mut command, locks.path());
        Life::start(command, life, self.seed, self.defect, witness.path())
    }
}

impl Outside {
    /// Deletes lock files.
    fn delete(&self, mut dice: Dice) {
        while !self.over.load(Ordering::Relaxed) {
            for (plan, (file, log)) in PLANS.iter().zip(self.files.iter().zip(&self.logs)) {
                if plan.deletes && dice.one_in(2) {
                    log.append(Event::Deleting);
                    let deleted = fs::remove_file(file).is_ok();
                    log.append(Event::Deleted);
                    self.deleted.fetch_add(u64::from(deleted), Ordering::Relaxed);
                }
            }
            thread::park_timeout(dice.micros(30_000));
        }
    }

    /// Locks as a program does that knows of nothing but `flock`, and empties the file at times.
    fn lock(&self, mut dice: Dice) {
        let mut serial = 0;
        while !self.over.load(Ordering::Relaxed) {
            for (plan, (file, log)) in PLANS.iter().zip(self.files.iter().zip(&self.logs)) {
                if !plan.outsider {
                    continue;
                }
                serial += 1;
                let hold = HoldId { life: OUTSIDER, thread: 0, serial };
                if dice.one_in(3) {
                    drop(fs::File::create(file).unwrap());
                }
                let asked = now();
                let handle = lock_as_an_outsider(file);
                let entry = Entry {
                    hold,
                    shared: false,
                    token: 0,
                    asked,
                    steals: None,
                    least: 0,
                    of_set: false,
                };
                log.append(Event::Entered(entry));
                thread::park_timeout(dice.micros(2000));
                let looked = now();
                let lost = !is_at(&handle, file);
                log.append(Event::Left { hold, looked, lost });
                drop(handle);
                log.append(Event::Released { hold, lost });
                self.foreign.fetch_add(1, Ordering::Relaxed);
            }
            thread::park_timeout(dice.micros(10_000));
        }
    }
}

impl Report {
    /// Whether everything that a storm is there for came about; in a short one, or on a busy
    /// machine, what is rare need not.
    pub(crate) fn assert_stormy(&self) {
        /// So many grants have seen everything.
        const GRANTS: u64 = 10_000;
        let Counts { grants, lost, stolen, deleted, .. } = self.counts;
        let happened = [
            ("grants", grants),
            ("lost", lost),
            ("stolen", stolen),
            ("overlaps by deletion", deleted),
            ("timeouts", self.refusals.timeouts),
            ("cancelled", self.refusals.cancelled),
            ("refused for want of room", self.refusals.no_room),
            ("granted while the disk was full", self.grants_since_full[0]),
            ("granted when it had room again", self.grants_since_full[1]),
            ("killed", self.killed),
            ("stopped", self.stopped),
            ("deleted", self.files_deleted),
            ("foreign", self.foreign),
        ];
        let rare = [
            "lost",
            "stolen",
            "overlaps by deletion",
            "refused for want of room",
            "granted while the disk was full",
        ];
        let is_due = |what| GRANTS <= self.counts.grants || !rare.contains(what);
        let missing = happened.iter().filter(|(what, count)| *count == 0 && is_due(what));
        let missing = missing.map(|(what, _)| *what).collect::<Vec<_>>();
        assert!(missing.is_empty(), "no storm: none of {missing:?} in {self}");
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { grants, lost, stolen, stolen_unseen, deleted, with_others, told_late, .. } =
            self.counts;
        write!(
            f,
            "{grants} grants, {} foreign ones, {} timeouts, {} cancelled, {} for want of room ({} \
             granted meanwhile, {} since), {} killed, {} stopped, {} files deleted, {lost} lost; overlaps: {stolen} stolen, {stolen_unseen} by the dead, \
             {deleted} deleted, {with_others} of a set; {told_late} told late",
            self.foreign,
            self.refusals.timeouts,
            self.refusals.cancelled,
            self.refusals.no_room,
            self.grants_since_full[0],
            self.grants_since_full[1],
            self.killed,
            self.stopped,
            self.files_deleted,
        )
    }
}

/// One storm at a time: they are full of processes, and each other's weather.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());
