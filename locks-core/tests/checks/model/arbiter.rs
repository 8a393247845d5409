//! The contract for single keys, as plainly as it can be written down: lists, and no haste.

use std::fmt;

use locks_core::{ErrorKind, LostCause, Mode};

/// Microseconds.
pub(super) type Time = u64;

/// How long the first waiter lets others barge past (C3).
const PATIENCE: Time = 500;

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

/// What has become of a request. Grants of a key are numbered in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    /// Granted, and not looked at yet.
    Granted(u64),
    Held(u64),
    Lost(LostCause),
    Refused(ErrorKind),
    Gone,
}

#[derive(Default)]
pub(super) struct Arbiter {
    pub(super) now: Time,
    pub(super) keys: [Key; 3],
    /// By the number of the request, like `fates`.
    pub(super) wants: Vec<Want>,
    pub(super) fates: Vec<Fate>,
    grants: u64,
}

#[derive(Default)]
pub(super) struct Key {
    capacity: Option<u32>,
    pub(super) holds: Vec<Hold>,
    pub(super) queue: Vec<Waiter>,
    reserved: Vec<Reserved>,
}

/// A hold: its guards, the outermost first.
pub(super) struct Hold {
    grant: u64,
    guards: Vec<Guard>,
    since: Time,
    at_least: Option<Time>,
    at_most: Option<Time>,
}

/// What is left of a hold of these guards.
struct Reserved {
    until: Time,
    mode: Mode,
    grant: u64,
}

struct Guard {
    request: usize,
    grant: u64,
    want: Want,
}

pub(super) struct Waiter {
    pub(super) request: usize,
    pub(super) since: Time,
    /// It waits to make this shared hold of its own exclusive, by the hold's first grant.
    upgrades: Option<u64>,
    /// The key is free for it, and it has been woken to come and take it.
    pub(super) called: bool,
}

fn capacity(mode: Mode) -> Option<u32> {
    match mode {
        Mode::Permit { of } => Some(of),
        Mode::Exclusive | Mode::Shared => None,
    }
}

impl Hold {
    fn mode(&self) -> Mode {
        let modes = || self.guards.iter().map(|guard| guard.want.mode);
        modes().find(|mode| *mode == Mode::Exclusive).unwrap_or(self.guards[0].want.mode)
    }

    fn is_own(&self, owner: Option<u64>) -> bool {
        owner.is_some() && self.guards.iter().any(|guard| guard.want.owner == owner)
    }

    fn is_open_to(&self, owner: Option<u64>) -> bool {
        owner.is_some() && self.guards.last().is_some_and(|guard| guard.want.owner == owner)
    }

    fn reservation(&self, now: Time) -> Option<Reserved> {
        let until = self.at_least.filter(|until| *until > now)?;
        Some(Reserved { until, mode: self.mode(), grant: self.grant })
    }

    fn due(&self, age: Time) -> Time {
        (self.since + age).max(self.at_least.unwrap_or(0))
    }
}

impl Key {
    fn fits(&self, mode: Mode) -> bool {
        let taken = || {
            let held = self.holds.iter().map(Hold::mode);
            held.chain(self.reserved.iter().map(|left| left.mode))
        };
        match mode {
            Mode::Exclusive => taken().next().is_none(),
            Mode::Shared => taken().all(|mode| mode == Mode::Shared),
            Mode::Permit { of } => taken().count() < of as usize,
        }
    }

    fn is_free(&self) -> bool {
        self.holds.is_empty() && self.reserved.is_empty()
    }

    /// The hold that the request nests in, if it does.
    fn nest(&self, want: &Want) -> Option<usize> {
        let own = self.holds.iter().position(|hold| hold.is_own(want.owner))?;
        (want.reentrant && self.holds[own].is_open_to(want.owner)).then_some(own)
    }

    fn needs_upgrade(&self, hold: usize, want: &Want) -> bool {
        want.mode == Mode::Exclusive && self.holds[hold].mode() == Mode::Shared
    }

    fn is_alone(&self, hold: usize) -> bool {
        self.reserved.is_empty() && self.holds.len() == 1 && hold == 0
    }

    fn in_the_way(&self, want: &Want) -> Vec<usize> {
        let upgraded = self.nest(want).filter(|own| self.needs_upgrade(*own, want));
        let conflicts = |hold: &Hold| match want.mode {
            Mode::Exclusive => true,
            Mode::Shared => hold.mode() == Mode::Exclusive,
            Mode::Permit { .. } => !self.fits(want.mode),
        };
        let holds = self.holds.iter().enumerate();
        holds
            .filter(|(at, hold)| Some(*at) != upgraded && conflicts(hold))
            .map(|(at, _)| at)
            .collect()
    }

    /// Who would be robbed, and when that is due (C6).
    fn victims(&self, want: &Want) -> Option<(Time, Vec<usize>)> {
        let age = want.steal_after?;
        let due = |at: &usize| self.holds[*at].due(age);
        let all = self.in_the_way(want);
        if let Mode::Permit { .. } = want.mode {
            let oldest = *all.iter().min_by_key(|at| due(at))?;
            return Some((due(&oldest), vec![oldest]));
        }
        let latest = all.iter().map(due).max()?;
        let reserved = self.reserved.iter().map(|left| left.until).max().unwrap_or(0);
        Some((latest.max(reserved), all))
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        let ends = self.holds.iter().filter_map(|hold| hold.at_most);
        ends.chain(self.reserved.iter().map(|left| left.until)).min()
    }
}

impl Arbiter {
    /// A new request, which has been looked at once.
    pub(super) fn ask(&mut self, want: Want) -> usize {
        let request = self.wants.len();
        self.wants.push(want);
        self.fates.push(Fate::Waiting);
        self.expire(want.key);
        if self.first_due(want.key).is_some() {
            self.serve(want.key);
        }
        if let Err(kind) = self.admit(request, want) {
            self.fates[request] = Fate::Refused(kind);
        }
        self.look(request);
        request
    }

    fn admit(&mut self, request: usize, want: Want) -> Result<(), ErrorKind> {
        let now = self.now;
        let key = &mut self.keys[want.key];
        if key.is_free() && key.queue.is_empty() {
            key.capacity = capacity(want.mode);
        } else if key.capacity != capacity(want.mode) {
            return Err(ErrorKind::PermitsMismatch);
        }
        let waits = want.wait != Some(0);
        let mut waiter = Waiter { request, since: now, upgrades: None, called: false };
        if let Some(hold) = key.nest(&want) {
            if !key.needs_upgrade(hold, &want) || key.is_alone(hold) {
                self.enter(request, hold);
                return Ok(());
            }
            if !waits {
                return Err(ErrorKind::Contended);
            }
            if key.queue.first().is_some_and(|first| first.upgrades.is_some()) {
                return Err(ErrorKind::Deadlock);
            }
            waiter.upgrades = Some(key.holds[hold].grant);
            key.queue.insert(0, waiter);
            return Ok(());
        }
        let others_are_fair =
            key.queue.iter().any(|waiter| self.wants[waiter.request].fair == Some(true));
        let may_pass = match (key.queue.first(), want.fair) {
            (None, _) | (_, Some(false)) => true,
            (_, Some(true)) => false,
            (Some(first), None) => {
                key.is_free()
                    && !others_are_fair
                    && first.upgrades.is_none()
                    && now - first.since < PATIENCE
            }
        };
        if key.fits(want.mode) && may_pass {
            self.grant(request);
            return Ok(());
        }
        if key.victims(&want).is_some_and(|(due, _)| due <= now) {
            self.steal(request);
            self.serve(want.key);
            return Ok(());
        }
        if !waits {
            return Err(ErrorKind::Contended);
        }
        let own = key.holds.iter().find(|hold| hold.is_own(want.owner));
        let conflicts =
            |hold: &Hold| Mode::Exclusive == want.mode || hold.mode() == Mode::Exclusive;
        if want.steal_after.is_none() && own.is_some_and(conflicts) {
            return Err(ErrorKind::Deadlock);
        }
        key.queue.push(waiter);
        Ok(())
    }

    /// The request is polled.
    pub(super) fn look(&mut self, request: usize) {
        let want = self.wants[request];
        self.expire(want.key);
        match self.fates[request] {
            Fate::Granted(grant) => self.fates[request] = Fate::Held(grant),
            Fate::Waiting => self.look_again(request, &want),
            _ => {}
        }
    }

    fn look_again(&mut self, request: usize, want: &Want) {
        let key = &mut self.keys[want.key];
        let at = key.queue.iter().position(|waiter| waiter.request == request).unwrap();
        let waiter = &mut key.queue[at];
        waiter.called = false;
        let (since, upgrades) = (waiter.since, waiter.upgrades.is_some());
        let turn = !upgrades && (at == 0 || want.fair == Some(false)) && key.fits(want.mode);
        if turn || self.first_due(want.key) == Some(at) {
            self.keys[want.key].queue.remove(at);
            if turn {
                self.grant(request)
            } else {
                self.steal(request)
            }
            self.serve(want.key);
            return self.look(request);
        }
        if want.wait.is_some_and(|limit| since + limit <= self.now) {
            self.fates[request] = Fate::Refused(ErrorKind::Timeout);
            self.keys[want.key].queue.remove(at);
            self.serve(want.key);
        }
    }

    /// A pending request is dropped.
    pub(super) fn cancel(&mut self, request: usize) {
        let at = self.wants[request].key;
        if let Fate::Granted(_) = self.fates[request] {
            // It never ran, so it reserves nothing (C14).
            let holds = self.keys[at].holds.iter_mut();
            for hold in holds.filter(|hold| hold.guards[0].request == request) {
                hold.at_least = None;
            }
            let _ = self.release(request);
        } else {
            self.keys[at].queue.retain(|waiter| waiter.request != request);
            self.serve(at);
        }
        self.fates[request] = Fate::Gone;
    }

    /// A guard is given back.
    pub(super) fn release(&mut self, request: usize) -> Result<(), LostCause> {
        let at = self.wants[request].key;
        if let Fate::Lost(cause) = std::mem::replace(&mut self.fates[request], Fate::Gone) {
            self.expire(at);
            return Err(cause);
        }
        let (key, now) = (&mut self.keys[at], self.now);
        let holds = |hold: &Hold| hold.guards.iter().any(|guard| guard.request == request);
        let index = key.holds.iter().position(holds).unwrap();
        if key.holds[index].guards.len() == 1 {
            let hold = key.holds.remove(index);
            key.reserved.extend(hold.reservation(now));
        } else {
            key.holds[index].guards.retain(|guard| guard.request != request);
        }
        self.expire(at);
        self.serve(at);
        Ok(())
    }

    /// An administrator ends the hold of this guard.
    pub(super) fn evict(&mut self, request: usize) {
        let at = self.wants[request].key;
        self.expire(at);
        let holds = |hold: &Hold| hold.guards.iter().any(|guard| guard.request == request);
        if let Some(index) = self.keys[at].holds.iter().position(holds) {
            self.revoke(at, index, LostCause::Evicted);
            self.serve(at);
        }
    }

    /// An administrator names the token of a grant that has left a reservation.
    pub(super) fn end_reservation(&mut self, at: usize, grant: u64) {
        self.expire(at);
        self.keys[at].reserved.retain(|left| left.grant != grant);
        self.serve(at);
    }

    /// The holder says that it is alive (C6).
    pub(super) fn refresh(&mut self, request: usize) {
        let now = self.now;
        let holds = |hold: &&mut Hold| hold.guards.iter().any(|guard| guard.request == request);
        if let Some(hold) = self.keys[self.wants[request].key].holds.iter_mut().find(holds) {
            hold.since = now;
        }
    }

    pub(super) fn advance(&mut self, by: Time) {
        let end = self.now + by;
        while let Some((next, key)) =
            (0..3).filter_map(|key| Some((self.keys[key].next_event()?, key))).min()
            && next <= end
        {
            self.now = self.now.max(next);
            self.expire(key);
        }
        self.now = end;
    }

    /// Reservations and bounded holds whose time has come end (C14).
    fn expire(&mut self, at: usize) {
        let now = self.now;
        let before = self.keys[at].reserved.len();
        self.keys[at].reserved.retain(|left| left.until > now);
        let mut changed = before != self.keys[at].reserved.len();
        let over = |hold: &Hold| hold.at_most.is_some_and(|end| end <= now);
        while let Some(index) = self.keys[at].holds.iter().position(over) {
            self.revoke(at, index, LostCause::HeldTooLong);
            changed = true;
        }
        if changed {
            self.serve(at);
        }
    }

    fn revoke(&mut self, at: usize, index: usize, cause: LostCause) {
        let (key, now) = (&mut self.keys[at], self.now);
        let hold = key.holds.remove(index);
        if cause != LostCause::Evicted {
            key.reserved.extend(hold.reservation(now));
        }
        for guard in hold.guards {
            self.fates[guard.request] = Fate::Lost(cause);
        }
    }

    fn steal(&mut self, request: usize) {
        let want = self.wants[request];
        let (_, mut victims) = self.keys[want.key].victims(&want).unwrap();
        victims.sort_unstable();
        for victim in victims.into_iter().rev() {
            self.revoke(want.key, victim, LostCause::Stolen);
        }
        match self.keys[want.key].nest(&want) {
            Some(hold) => self.enter(request, hold),
            None => self.grant(request),
        }
    }

    fn grant(&mut self, request: usize) {
        let (want, now) = (self.wants[request], self.now);
        self.grants += 1;
        self.keys[want.key].holds.push(Hold {
            grant: self.grants,
            guards: vec![Guard { request, grant: self.grants, want }],
            since: now,
            at_least: want.at_least.map(|least| now + least),
            at_most: want.at_most.map(|most| now + most),
        });
        self.fates[request] = Fate::Granted(self.grants);
    }

    /// Lets a request into the hold of its owner; only an upgrade is a new grant (C7).
    fn enter(&mut self, request: usize, hold: usize) {
        let want = self.wants[request];
        let key = &mut self.keys[want.key];
        let grant = if key.needs_upgrade(hold, &want) {
            self.grants += 1;
            self.grants
        } else {
            key.holds[hold].guards.last().unwrap().grant
        };
        key.holds[hold].guards.push(Guard { request, grant, want });
        self.fates[request] = Fate::Granted(grant);
    }

    /// Where in the queue the first thief is whose steal is due (C6).
    pub(super) fn first_due(&self, at: usize) -> Option<usize> {
        let key = &self.keys[at];
        let due = |want: &Want| key.victims(want).is_some_and(|(due, _)| due <= self.now);
        key.queue.iter().position(|waiter| due(&self.wants[waiter.request]))
    }

    /// Grants what can be granted.
    fn serve(&mut self, at: usize) {
        while self.serve_one(at) {}
    }

    fn serve_one(&mut self, at: usize) -> bool {
        if let Some(thief) = self.first_due(at) {
            let thief = self.keys[at].queue.remove(thief);
            self.steal(thief.request);
            return true;
        }
        let now = self.now;
        let (key, wants) = (&mut self.keys[at], &self.wants);
        let enters = |waiter: &Waiter| {
            let want = &wants[waiter.request];
            let hold = key.nest(want)?;
            (!key.needs_upgrade(hold, want) || key.is_alone(hold)).then_some(hold)
        };
        if let Some((place, hold)) =
            key.queue.iter().enumerate().find_map(|(at, waiter)| Some((at, enters(waiter)?)))
        {
            let waiter = key.queue.remove(place);
            self.enter(waiter.request, hold);
            return true;
        }
        let Some(first) = key.queue.first() else { return false };
        let want = wants[first.request];
        let own_is_gone =
            first.upgrades.is_none_or(|own| key.holds.iter().all(|hold| hold.grant != own));
        let mut next = None;
        if own_is_gone && key.fits(want.mode) {
            let someone_is_fair =
                key.queue.iter().any(|waiter| wants[waiter.request].fair == Some(true));
            let by_chance = want.mode == Mode::Exclusive
                && first.upgrades.is_none()
                && !someone_is_fair
                && now - first.since < PATIENCE;
            if by_chance {
                key.queue[0].called = true;
            } else {
                next = Some(0);
            }
        }
        let unfair = |waiter: &Waiter| {
            wants[waiter.request].fair == Some(false) && key.fits(wants[waiter.request].mode)
        };
        let Some(next) = next.or_else(|| key.queue.iter().position(unfair)) else { return false };
        let waiter = key.queue.remove(next);
        self.grant(waiter.request);
        true
    }
}
