//! The process that serves is killed: how long does a newcomer wait for its lock?

use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::Path;

use locks::Backend;
use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};
use rustix::fs::{FlockOperation, flock};

use super::TIMEOUT;
use super::child::{Started, say};
use super::ours;
use crate::rows::latencies::{Latencies, now};
use crate::rows::place::Place;

const FLOOR: &str = "flock of the one that was killed (floor)";
const FREE: &str = "a free lock";
const LEFT: &str = "the lock of the one that was killed";

/// How many locks somebody else holds meanwhile.
const OTHERS: usize = 100;

/// Who arbitrates, by the name on a child's command line.
const KERNEL: &str = "kernel";
const OURS: &str = "ours";

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, "takeover");
    let mut entrants = vec![(FLOOR, KERNEL, "left")];
    let mut goals = Vec::new();
    let missing = match ours::self_serving(place.path()) {
        Ok(_) => {
            for name in [FREE, LEFT] {
                goals.push(Goal::absolute(name, Bound::AtMost(50.0)));
            }
            entrants.extend([(FREE, OURS, "free"), (LEFT, OURS, "left")]);
            String::new()
        }
        Err(missing) => format!("; {missing}"),
    };
    let mut waits = entrants.iter().map(|_| Vec::new()).collect::<Vec<_>>();
    // All rounds together, because a hundredth part of one round is nothing.
    for kill in 0..pace.rounds * pace.turns * 2 {
        for (at, (name, who, key)) in entrants.iter().enumerate() {
            let directory = place.path().join(format!("{at}-{kill}"));
            fs::create_dir(&directory).expect("the directory above is ours");
            let wait = newcomer_waits(who, &directory, key);
            waits[at].push(wait.unwrap_or_else(|error| panic!("{name}: {error}")));
            fs::remove_dir_all(&directory).expect("those who used it are gone");
        }
    }
    let waits = waits.into_iter().map(Latencies::from_iter).collect::<Vec<_>>();
    let report = |what: &str, fraction, goals| Report {
        row: "server-takeover",
        compares: format!(
            "the process that serves `net:` is killed while another holds {OTHERS} locks: from \
             there to the newcomer's grant, {what}{missing}"
        ),
        unit: "ms",
        figures: entrants
            .iter()
            .zip(&waits)
            .map(|((name, ..), waits)| Figure {
                name: (*name).to_owned(),
                rounds: vec![waits.quantile(fraction) / 1e3],
            })
            .collect(),
        goals,
    };
    vec![report("p50", 0.5, Vec::new()), report("p99", 0.99, goals)]
}

/// Microseconds from the death of who serves to the newcomer's grant of `key`.
fn newcomer_waits(who: &str, directory: &Path, key: &str) -> io::Result<f64> {
    let directory = directory.to_str().ok_or_else(|| io::Error::other("its path is no text"))?;
    let mut serving = Started::start(["holder", who, directory, "left"])?;
    serving.hear()?;
    let mut other = Started::start(["holder", who, directory, "other"])?;
    other.hear()?;
    let mut newcomer = Started::start(["newcomer", who, directory, key])?;
    newcomer.hear()?;
    let killed = now();
    serving.kill()?;
    newcomer.go_on()?;
    let granted = newcomer.hear()?.parse::<i64>().map_err(io::Error::other)?;
    other.go_on()?;
    match other.hear()?.as_str() {
        KEPT => Ok((granted - killed) as f64 / 1e3),
        lost => Err(io::Error::other(lost.to_owned())),
    }
}

const KEPT: &str = "kept";

/// Holds `key` and a hundred more; whether all are still held is told when asked for.
pub(super) fn hold(who: &str, directory: &Path, key: &str) -> io::Result<()> {
    let arbiter = Arbiter::open(who, directory)?;
    let more = (0..OTHERS).map(|id| format!("{key}:{id}"));
    let held = [key.to_owned()].into_iter().chain(more).map(|key| arbiter.take(&key));
    let held = held.collect::<io::Result<Vec<_>>>()?;
    say("holds")?;
    for line in io::stdin().lock().lines() {
        line?;
        let lost = held.iter().filter(|held| held.is_lost()).count();
        if lost == 0 { say(KEPT)? } else { say(format_args!("{lost} locks were lost"))? }
    }
    Ok(())
}

/// Takes `key` when it is asked to, and says when it was granted.
pub(super) fn come(who: &str, directory: &Path, key: &str) -> io::Result<()> {
    say("is there")?;
    io::stdin().lock().read_line(&mut String::new())?;
    let arbiter = Arbiter::open(who, directory)?;
    let _held = arbiter.take(key)?;
    say(now())?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

enum Arbiter<'a> {
    Kernel(&'a Path),
    Ours(Backend),
}

enum Held {
    Kernel { _file: File },
    Ours(locks::OwnedGuard),
}

impl<'a> Arbiter<'a> {
    fn open(who: &str, directory: &'a Path) -> io::Result<Self> {
        match who {
            KERNEL => Ok(Self::Kernel(directory)),
            OURS => {
                let url = ours::self_serving(directory).map_err(io::Error::other)?;
                Ok(Self::Ours(locks::open(&url)?))
            }
            _ => Err(io::Error::other("there is no such arbiter")),
        }
    }

    fn take(&self, key: &str) -> io::Result<Held> {
        match self {
            Self::Kernel(directory) => {
                let file = File::create(directory.join(key))?;
                flock(&file, FlockOperation::LockExclusive)?;
                Ok(Held::Kernel { _file: file })
            }
            Self::Ours(backend) => {
                let guard = backend.named(key).wait(TIMEOUT).acquire()?;
                Ok(Held::Ours(guard.into_owned()))
            }
        }
    }
}

impl Held {
    fn is_lost(&self) -> bool {
        match self {
            Self::Kernel { .. } => false,
            Self::Ours(guard) => guard.is_lost(),
        }
    }
}
