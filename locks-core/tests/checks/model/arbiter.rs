//! The contract for single keys, as plainly as it can be written down: lists, and no haste.

use locks_core::{ErrorKind, LostCause, Mode};

use super::key::{Guard, Hold, Key, Time, Waiter, Want, is_permit};

/// How long others may barge past the first waiter (C3).
const WINDOW: Time = 500;

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    /// Granted, and not looked at yet.
    Granted,
    Held,
    /// Granted, and ended before it was looked at: it asks again (C8).
    Revoked,
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
    pub(super) since: Vec<Time>,
    /// The number of its grant; grants are numbered in their order.
    pub(super) numbers: Vec<u64>,
    grants: u64,
}

impl Arbiter {
    /// A new request, which has been looked at once.
    pub(super) fn ask(&mut self, want: Want) -> usize {
        let request = self.wants.len();
        self.wants.push(want);
        self.fates.push(Fate::Waiting);
        self.numbers.push(0);
        self.since.push(self.now);
        self.expire(want.key);
        self.ask_as_new(request);
        self.look(request);
        request
    }

    fn ask_as_new(&mut self, request: usize) {
        let want = self.wants[request];
        self.fates[request] = Fate::Waiting;
        let key = &self.keys[want.key];
        let called = key.queue.first().and_then(|first| first.called);
        if called.is_some_and(|at| at + WINDOW <= self.now) && key.holds.is_empty() {
            // It finds the key free, and completes the hand-over.
            self.serve(want.key);
        }
        match self.admit(request, want) {
            Err(kind) => self.fates[request] = Fate::Refused(kind),
            Ok(()) if self.fates[request] == Fate::Granted => {
                // It is told so at once, also if somebody steals that at once, or nests in it.
                self.fates[request] = Fate::Held;
                self.serve(want.key);
            }
            Ok(()) => {}
        }
    }

    fn admit(&mut self, request: usize, want: Want) -> Result<(), ErrorKind> {
        let now = self.now;
        let key = &mut self.keys[want.key];
        let held = key.holds.iter().map(Hold::mode);
        let reserved = key.reserved.iter().map(|left| left.mode);
        let queued = key.queue.iter().map(|waiter| self.wants[waiter.request].mode);
        let mut used = held.chain(reserved).chain(queued);
        if used.any(|mode| is_permit(mode) != is_permit(want.mode)) {
            return Err(ErrorKind::PermitsMismatch);
        }
        let waits = want.wait != Some(0);
        let mut waiter =
            Waiter { request, since: self.since[request], upgrades: None, called: None };
        if let Some(hold) = key.nest(&want) {
            if !key.needs_upgrade(hold, &want) || key.is_alone(hold) {
                self.enter(request, hold);
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
            if key.queue.first().is_some_and(|first| first.upgrades.is_some()) {
                return Err(ErrorKind::Deadlock);
            }
            waiter.upgrades = Some(key.holds[hold].grant);
            key.barge_from = if key.queue.is_empty() { now } else { key.barge_from };
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
                    && want.mode == Mode::Exclusive
                    && self.wants[first.request].mode == Mode::Exclusive
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
        key.barge_from = if key.queue.is_empty() { now } else { key.barge_from };
        let later = |other: &Waiter| other.upgrades.is_none() && other.since > waiter.since;
        let place = key.queue.iter().position(later).unwrap_or(key.queue.len());
        key.queue.insert(place, waiter);
        Ok(())
    }

    /// The request is polled.
    pub(super) fn look(&mut self, request: usize) {
        let want = self.wants[request];
        self.expire(want.key);
        match self.fates[request] {
            Fate::Granted => self.fates[request] = Fate::Held,
            Fate::Revoked => {
                self.ask_as_new(request);
                self.look(request);
            }
            Fate::Waiting => self.look_again(request, &want),
            _ => {}
        }
    }

    fn look_again(&mut self, request: usize, want: &Want) {
        let key = &mut self.keys[want.key];
        let at = key.queue.iter().position(|waiter| waiter.request == request).unwrap();
        let waiter = &mut key.queue[at];
        waiter.called = None;
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
        match self.fates[request] {
            Fate::Granted => {
                // It never ran, so it reserves nothing of its own (C14).
                let holds = self.keys[at].holds.iter_mut();
                for hold in holds.filter(|hold| hold.request == request) {
                    hold.at_least = None;
                }
                let _ = self.release(request);
            }
            Fate::Waiting => {
                self.keys[at].queue.retain(|waiter| waiter.request != request);
                self.serve(at);
            }
            // Ended before it was looked at: there is nothing to give back.
            _ => self.expire(at),
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
            (0..3).filter_map(|key| Some((self.next_event(key)?, key))).min()
            && next <= end
        {
            self.now = self.now.max(next);
            self.expire(key);
        }
        self.now = end;
    }

    /// When something happens by itself: a bound is reached, a reservation ends, a steal is due.
    fn next_event(&self, at: usize) -> Option<Time> {
        let key = &self.keys[at];
        let ends = key.holds.iter().filter_map(|hold| hold.at_most);
        let reserved = key.reserved.iter().map(|left| left.until);
        let wants = key.queue.iter().map(|waiter| &self.wants[waiter.request]);
        let thefts = wants.filter_map(|want| key.victims(want)).map(|(due, _)| due);
        ends.chain(reserved).chain(thefts).min()
    }

    /// Reservations and bounded holds whose time has come end (C14), and what is due is stolen
    /// (C6).
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
        if changed || self.first_due(at).is_some() {
            self.serve(at);
        }
    }

    fn revoke(&mut self, at: usize, index: usize, cause: LostCause) {
        let (key, now) = (&mut self.keys[at], self.now);
        let hold = key.holds.remove(index);
        let is_taken = |guard: &Guard| self.fates[guard.request] != Fate::Granted;
        if cause != LostCause::Evicted && hold.guards.iter().any(is_taken) {
            key.reserved.extend(hold.reservation(now));
        }
        for guard in hold.guards {
            let fate = &mut self.fates[guard.request];
            *fate = if *fate == Fate::Granted { Fate::Revoked } else { Fate::Lost(cause) };
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
            request,
            grant: self.grants,
            guards: vec![Guard { request, grant: self.grants, want }],
            since: now,
            at_least: want.at_least.map(|least| now + least),
            at_most: want.at_most.map(|most| now + most),
        });
        self.fates[request] = Fate::Granted;
        self.numbers[request] = self.grants;
    }

    /// Lets a request into the hold of its owner; only an upgrade is a new grant (C7).
    fn enter(&mut self, request: usize, hold: usize) {
        let mut want = self.wants[request];
        if is_permit(want.mode) {
            // It has no others than the hold around it.
            want.mode = self.keys[want.key].holds[hold].mode();
        }
        let key = &mut self.keys[want.key];
        let grant = if key.needs_upgrade(hold, &want) {
            self.grants += 1;
            self.grants
        } else {
            key.holds[hold].guards.last().unwrap().grant
        };
        key.holds[hold].guards.push(Guard { request, grant, want });
        self.fates[request] = Fate::Granted;
        self.numbers[request] = grant;
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
        if let Some(thief) = self.first_due(at) {
            let thief = self.keys[at].queue.remove(thief);
            self.steal(thief.request);
            return true;
        }
        let (key, wants) = (&mut self.keys[at], &self.wants);
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
                && now - key.barge_from < WINDOW;
            if by_chance {
                key.queue[0].called.get_or_insert(now);
            } else {
                next = Some(0);
                key.barge_from = now;
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
