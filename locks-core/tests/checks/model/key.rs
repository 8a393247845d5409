//! One key, and what can be said of it.

use std::fmt;

use locks_core::Mode;

/// Microseconds.
pub(super) type Time = u64;

/// What a request asks for. No owner: anonymous.
#[derive(Clone, Copy)]
pub(super) struct Want {
    pub(super) key: usize,
    pub(super) mode: Mode,
    /// `None`: for ever; 0: not at all.
    pub(super) wait: Option<Time>,
    pub(super) steal_after: Option<Time>,
    pub(super) fair: Option<bool>,
    pub(super) reentrant: bool,
    pub(super) owner: Option<u64>,
    pub(super) at_least: Option<Time>,
    pub(super) at_most: Option<Time>,
}

/// On one line, and only what it asks for.
impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.mode, self.key)?;
        for (name, value) in [
            ("wait", self.wait),
            ("steal_after", self.steal_after),
            ("fair", self.fair.map(u64::from)),
            ("owner", self.owner),
            ("at_least", self.at_least),
            ("at_most", self.at_most),
        ] {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        f.write_str(if self.reentrant { ", reentrant" } else { "" })
    }
}

/// A key: who holds it, who waits for it, first come first.
#[derive(Default)]
pub(super) struct Key {
    pub(super) holds: Vec<Hold>,
    pub(super) queue: Vec<Waiter>,
    pub(super) reserved: Vec<Reserved>,
    /// The later of the last hand-over and the queue's becoming non-empty (C3).
    pub(super) barge_from: Time,
}

/// A hold: its guards, the outermost first.
pub(super) struct Hold {
    /// Whom it was granted to.
    pub(super) request: usize,
    pub(super) grant: u64,
    pub(super) guards: Vec<Guard>,
    pub(super) since: Time,
    pub(super) at_least: Option<Time>,
    pub(super) at_most: Option<Time>,
}

/// What is left of a hold of these guards.
pub(super) struct Reserved {
    pub(super) until: Time,
    pub(super) mode: Mode,
    pub(super) grant: u64,
}

pub(super) struct Guard {
    pub(super) request: usize,
    pub(super) grant: u64,
    pub(super) want: Want,
}

pub(super) struct Waiter {
    pub(super) request: usize,
    pub(super) since: Time,
    /// It waits to make this shared hold of its own exclusive, by the hold's first grant.
    pub(super) upgrades: Option<u64>,
    /// When it was woken to come and take the key, which is free for it.
    pub(super) called: Option<Time>,
}

/// Permits and locks of one key exclude each other (C16).
pub(super) fn is_permit(mode: Mode) -> bool {
    matches!(mode, Mode::Permit { .. })
}

/// How many permits it has.
pub(super) fn permits(mode: Mode) -> u32 {
    if let Mode::Permit { take, .. } = mode { take } else { 0 }
}

impl Hold {
    pub(super) fn mode(&self) -> Mode {
        let modes = || self.guards.iter().map(|guard| guard.want.mode);
        modes().find(|mode| *mode == Mode::Exclusive).unwrap_or(self.guards[0].want.mode)
    }

    pub(super) fn is_own(&self, owner: Option<u64>) -> bool {
        owner.is_some() && self.guards.iter().any(|guard| guard.want.owner == owner)
    }

    pub(super) fn is_open_to(&self, owner: Option<u64>) -> bool {
        owner.is_some() && self.guards.last().is_some_and(|guard| guard.want.owner == owner)
    }

    pub(super) fn reservation(&self, now: Time) -> Option<Reserved> {
        let until = self.at_least.filter(|until| *until > now)?;
        Some(Reserved { until, mode: self.mode(), grant: self.grant })
    }

    pub(super) fn due(&self, age: Time) -> Time {
        (self.since + age).max(self.at_least.unwrap_or(0))
    }
}

impl Key {
    pub(super) fn fits(&self, mode: Mode) -> bool {
        let taken = || {
            let held = self.holds.iter().map(Hold::mode);
            held.chain(self.reserved.iter().map(|left| left.mode))
        };
        match mode {
            Mode::Exclusive => taken().next().is_none(),
            Mode::Shared => taken().all(|mode| mode == Mode::Shared),
            Mode::Permit { take, of } => taken().map(permits).sum::<u32>() + take <= of,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.holds.is_empty() && self.reserved.is_empty()
    }

    /// The hold that the request nests in, if it does.
    pub(super) fn nest(&self, want: &Want) -> Option<usize> {
        // One that wants more permits than its owner has there wants others.
        let own = |hold: &Hold| {
            hold.is_own(want.owner) && permits(want.mode) <= permits(hold.mode()).max(1)
        };
        let opens = |hold: &Hold| own(hold) && hold.is_open_to(want.owner);
        self.holds.iter().position(opens).filter(|_| want.reentrant)
    }

    pub(super) fn needs_upgrade(&self, hold: usize, want: &Want) -> bool {
        want.mode == Mode::Exclusive && self.holds[hold].mode() == Mode::Shared
    }

    pub(super) fn is_alone(&self, hold: usize) -> bool {
        self.reserved.is_empty() && self.holds.len() == 1 && hold == 0
    }

    pub(super) fn in_the_way(&self, want: &Want) -> Vec<usize> {
        let upgraded = self.nest(want).filter(|own| self.needs_upgrade(*own, want));
        let conflicts = |hold: &Hold| match want.mode {
            Mode::Exclusive => true,
            Mode::Shared => hold.mode() == Mode::Exclusive,
            Mode::Permit { .. } => unreachable!("its victims are counted"),
        };
        let holds = self.holds.iter().enumerate();
        holds
            .filter(|(at, hold)| Some(*at) != upgraded && conflicts(hold))
            .map(|(at, _)| at)
            .collect()
    }

    /// Who would be robbed, and when that is due (C6).
    pub(super) fn victims(&self, want: &Want) -> Option<(Time, Vec<usize>)> {
        let age = want.steal_after?;
        if let Mode::Permit { take, of } = want.mode {
            return self.permit_victims(age, take, of);
        }
        let all = self.in_the_way(want);
        let latest = all.iter().map(|at| self.holds[*at].due(age)).max()?;
        let reserved = self.reserved.iter().map(|left| left.until).max().unwrap_or(0);
        Some((latest.max(reserved), all))
    }

    /// Of all moments at which something is due or a reservation ends: the first at which the
    /// holds that are due by then are enough, and the oldest of those, as many as it takes, but for
    /// those without which there would be enough as well, the youngest first (C16).
    fn permit_victims(&self, age: Time, take: u32, of: u32) -> Option<(Time, Vec<usize>)> {
        let mut oldest = (0..self.holds.len()).collect::<Vec<_>>();
        oldest.sort_by_key(|at| self.holds[*at].due(age));
        let dues = oldest.iter().map(|at| self.holds[*at].due(age));
        let mut moments =
            dues.chain(self.reserved.iter().map(|left| left.until)).collect::<Vec<_>>();
        moments.sort_unstable();
        moments.into_iter().find_map(|moment| {
            let reserved = self.reserved.iter().filter(|left| left.until > moment);
            let reserved = reserved.map(|left| permits(left.mode)).sum::<u32>();
            let has = |at: &usize| permits(self.holds[*at].mode());
            let stays = |gone: &[usize]| {
                let stay = (0..self.holds.len()).filter(|at| !gone.contains(at));
                stay.map(|at| has(&at)).sum::<u32>() + reserved + take <= of
            };
            let due = oldest.iter().filter(|at| self.holds[**at].due(age) <= moment).count();
            let enough = (0..=due).find(|count| stays(&oldest[..*count]))?;
            let mut victims = oldest[..enough].to_vec();
            for at in (0..enough).rev() {
                let spared = victims.remove(at);
                if !stays(&victims) {
                    victims.insert(at, spared);
                }
            }
            (!victims.is_empty()).then_some((moment, victims))
        })
    }
}
