//! Everything the store knows, and its steps: pure, given the time.

use std::collections::BTreeMap;
use std::time::Duration;

use locks_core::{
    AcquisitionId, Claimed, EntryState, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeaseRenewal, LockError, LostCause, Mode, Query, Refusal, Renewed, Reserve, Token,
};

use crate::flaw::Flaw;
use crate::queue::Queue;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) flaw: Option<Flaw>,
    pub(crate) now: Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) queue: Queue,
    pub(crate) token: u64,
    pub(crate) tokens: BTreeMap<u32, u64>,
}

/// A hold or reservation of one key.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) id: AcquisitionId,
    pub(crate) client: u32,
    pub(crate) mode: Mode,
    token: Token,
    note: String,
    since: Duration,
    /// Since it was claimed or renewed last.
    renewed: Duration,
    lease_ends: Duration,
    ends: Option<Duration>,
    reserved_until: Duration,
    if_done: bool,
    robbed: bool,
}

impl Row {
    pub(crate) fn is_held(&self, now: Duration) -> bool {
        self.lease_ends > now && !self.robbed
    }

    fn stands(&self, now: Duration) -> bool {
        self.is_held(now) || self.reserved_until > now && !self.if_done
    }

    /// Whether whoever renews it should have done so.
    pub(crate) fn is_overdue(&self, now: Duration) -> bool {
        let bounded = self.ends == Some(self.lease_ends);
        self.is_held(now) && !bounded && now - self.renewed >= (self.lease_ends - self.renewed) / 3
    }
}

impl Table {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn name(&self, key: &str, client: u32) -> String {
        match self.flaw {
            Some(Flaw::KeysFoldCase) => key.to_lowercase(),
            Some(Flaw::KeysAreComposed) => key.replace("e\u{301}", "\u{e9}"),
            Some(Flaw::ClientsApart) => format!("{client} {key}"),
            _ => key.to_owned(),
        }
    }

    fn names(&self, keys: &[String], client: u32) -> Vec<String> {
        keys.iter().map(|key| self.name(key, client)).collect()
    }

    fn expire(&mut self) {
        let now = self.now;
        if self.has(Flaw::ExpiryDropsReservation) {
            self.rows.retain(|row| row.is_held(now) || row.reserved_until <= row.lease_ends);
        }
        if !self.has(Flaw::NeverExpires) {
            self.rows.retain(|row| row.stands(now));
        }
        let stand_for_ever = self.has(Flaw::PlacesStandForEver);
        let call_for_ever = self.has(Flaw::CalledForEver);
        self.queue.expire(now, stand_for_ever, call_for_ever);
    }

    pub(crate) fn claim(&mut self, client: u32, asked: &LeaseClaim) -> Result<Claimed, LockError> {
        self.expire();
        let now = self.now;
        let keys = self.names(&asked.keys, client);
        let own = self.rows.iter().find(|row| row.id == asked.id && row.is_held(now)).cloned();
        if let Some(own) = own {
            match self.flaw {
                Some(Flaw::RepeatRefused) => return Ok(refused(vec![self.entry(&own)])),
                Some(Flaw::RepeatStealsFromItself) if asked.steal_after.is_some() => {
                    self.rows.retain(|row| row.id != asked.id);
                }
                Some(Flaw::RepeatMakesSecondHold) => {
                    let copies = self.rows.iter().filter(|row| row.id == asked.id).cloned();
                    let copies = copies.collect::<Vec<_>>();
                    self.rows.extend(copies);
                    return Ok(Claimed::Granted(own.token));
                }
                Some(Flaw::RepeatGetsNewToken) => self.rows.retain(|row| row.id != asked.id),
                _ => return Ok(Claimed::Granted(own.token)),
            }
        }
        let mut bars = Vec::new();
        let mut victims = Vec::new();
        let mut free = Vec::new();
        for key in &keys {
            self.check_mode(key, asked)?;
            let mut in_the_way = self.in_the_way(key, client, asked);
            let excess = match asked.mode {
                Mode::Permit { of, .. } => (in_the_way.len() + 1).saturating_sub(of as usize),
                Mode::Exclusive | Mode::Shared => in_the_way.len(),
            };
            let due = self.due(&mut in_the_way, asked, excess);
            if due.len() < excess {
                bars.extend(in_the_way);
            } else {
                free.push(key.clone());
                victims.extend(due);
            }
        }
        if self.has(Flaw::SetStealsHalf) {
            self.rob(&victims);
        }
        let steals = !victims.is_empty() && !self.has(Flaw::StealsQueue);
        let place = asked.place.filter(|_| !steals);
        let looks = place.or(self
            .has(Flaw::UnfairQueues)
            .then(|| locks_core::LeasePlace::new(Duration::ZERO, Duration::ZERO)));
        let by_arrival = self.has(Flaw::PlacesByArrival);
        let kept = looks.is_some_and(|place| {
            let waited = if by_arrival { Duration::ZERO } else { place.waited };
            self.queue.is_behind(client, &keys, asked, waited, bars.is_empty(), now)
        });
        if !bars.is_empty() || kept {
            let half = self.has(Flaw::SetGrantsHalf) && !kept;
            if half && !free.is_empty() {
                self.write(client, asked, &free);
            }
            return Ok(self.refuse(client, asked, &keys, &bars));
        }
        let from = victims.iter().map(|row| self.entry(row)).collect::<Vec<_>>();
        self.rob(&victims);
        self.queue.leave(asked.id, &keys);
        self.queue.came(client, &keys);
        let token = self.write(client, asked, &keys);
        Ok(match from.is_empty() || self.has(Flaw::TheftNamesNobody) {
            true => Claimed::Granted(token),
            false => Claimed::Stolen { token, from },
        })
    }

    /// What a claim would get, without getting it.
    pub(crate) fn look(&mut self, client: u32, asked: &LeaseClaim) -> Result<Claimed, LockError> {
        let looked = self.claim(client, asked);
        self.rows.retain(|row| row.id != asked.id);
        looked
    }

    fn check_mode(&self, key: &str, asked: &LeaseClaim) -> Result<(), LockError> {
        let agrees = |mode: Mode| match (mode, asked.mode) {
            (Mode::Permit { of, .. }, Mode::Permit { of: mine, .. }) => {
                of == mine || !self.has(Flaw::PermitsAgree)
            }
            (Mode::Permit { .. }, _) | (_, Mode::Permit { .. }) => self.has(Flaw::ModesMix),
            _ => true,
        };
        let mut rows = self.rows.iter().filter(|row| row.key == key);
        if rows.all(|row| agrees(row.mode)) {
            return Ok(());
        }
        Err(LockError::new(ErrorKind::PermitsMismatch, key))
    }

    fn in_the_way(&self, key: &str, client: u32, asked: &LeaseClaim) -> Vec<Row> {
        let now = self.now;
        let bars = |row: &&Row| {
            if row.key != key {
                return false;
            }
            let reserved = !row.is_held(now);
            match (self.flaw, asked.mode, row.mode) {
                (Some(Flaw::ReservationFreeForClient), ..) if reserved => row.client != client,
                (Some(Flaw::SharedBesideTheirs), Mode::Shared, _) => row.client == client,
                (Some(Flaw::SharedExcludesShared), Mode::Shared, Mode::Shared) => true,
                (Some(Flaw::StealsFromReaders), Mode::Shared, Mode::Shared) => {
                    asked.steal_after.is_some()
                }
                (Some(Flaw::ExclusiveBesideShared), Mode::Exclusive, Mode::Shared) => false,
                (Some(Flaw::PermitsOfClients), Mode::Permit { .. }, _) => row.client == client,
                (Some(Flaw::ReservedPermitsFree), Mode::Permit { .. }, _) => !reserved,
                (_, Mode::Shared, Mode::Shared) => reserved,
                _ => true,
            }
        };
        self.rows.iter().filter(bars).cloned().collect()
    }

    /// Those that may be stolen, as many as have to go.
    fn due(&self, in_the_way: &mut [Row], asked: &LeaseClaim, excess: usize) -> Vec<Row> {
        let Some(age) = asked.steal_after else { return Vec::new() };
        let age = if self.has(Flaw::StealsEarly) { age / 2 } else { age };
        in_the_way.sort_by_key(|row| (row.since, row.token));
        if self.has(Flaw::StealsYoungestPermit) {
            in_the_way.reverse();
        }
        let is_due = |row: &&Row| {
            let old = self.now - row.since >= age;
            match row.is_held(self.now) {
                true => {
                    let least = row.reserved_until > self.now;
                    old && (!least || self.has(Flaw::StealsWithinLeast))
                }
                false => old && self.has(Flaw::StealsReservation),
            }
        };
        if self.has(Flaw::StealsAllForOneOld) && in_the_way.iter().any(|row| is_due(&row)) {
            return in_the_way.to_vec();
        }
        in_the_way.iter().filter(is_due).take(excess).cloned().collect()
    }

    fn rob(&mut self, victims: &[Row]) {
        let lives_on = self.has(Flaw::RobbedLivesOn);
        let is_victim =
            |row: &Row| victims.iter().any(|victim| victim.id == row.id && victim.key == row.key);
        if lives_on {
            let rows = self.rows.iter_mut().filter(|row| is_victim(row));
            rows.for_each(|row| (row.robbed, row.reserved_until) = (true, Duration::MAX));
        } else {
            self.rows.retain(|row| !is_victim(row));
        }
    }

    fn refuse(
        &mut self,
        client: u32,
        asked: &LeaseClaim,
        keys: &[String],
        bars: &[Row],
    ) -> Claimed {
        let mut refusal = Refusal::new(bars.iter().map(|row| self.entry(row)).collect());
        if self.has(Flaw::RefusalNamesNobody) {
            refusal.in_the_way.clear();
        }
        let late = if self.has(Flaw::AsksToComeLate) { 2 } else { 1 };
        refusal.again_in = bars.iter().map(|row| self.ends_in(row) * late).min();
        let looks = self.has(Flaw::LooksTakeAPlace);
        let place = asked.place.filter(|place| looks || !place.keep.is_zero());
        let unasked = locks_core::LeasePlace::new(Duration::ZERO, Duration::from_secs(60));
        let place = place.or(self.has(Flaw::RefusedLeavesPlace).then_some(unasked));
        if let Some(mut place) = place {
            if self.has(Flaw::PlacesByArrival) {
                place.waited = Duration::ZERO;
            }
            if place.keep.is_zero() {
                place.keep = Duration::from_secs(60);
            }
            self.queue.enter(client, keys, asked, place, self.now);
            refusal.placed = true;
        }
        Claimed::Refused(refusal)
    }

    pub(crate) fn write(&mut self, client: u32, asked: &LeaseClaim, keys: &[String]) -> Token {
        let now = self.now;
        let mut token = self.next_token(client, asked, keys);
        let lease = if self.has(Flaw::ExpiresEarly) { asked.lease / 2 } else { asked.lease };
        let ends = asked.hold_at_most.map(|most| now.saturating_add(most));
        let note = match self.has(Flaw::NoteForgotten) {
            true => String::new(),
            false => asked.note.clone(),
        };
        for key in keys {
            if self.has(Flaw::SetTokenOfEachKey) {
                token = self.next_token(client, asked, keys);
            }
            self.rows.push(Row {
                key: key.clone(),
                id: asked.id,
                client,
                mode: asked.mode,
                token,
                note: note.clone(),
                since: now,
                renewed: now,
                lease_ends: ends.map_or(now + lease, |ends| ends.min(now + lease)),
                ends,
                reserved_until: asked
                    .hold_at_least
                    .map_or(Duration::ZERO, |least| now.saturating_add(least)),
                if_done: asked.reserve == Reserve::IfDone && !self.has(Flaw::ReservesTheUndone),
                robbed: false,
            });
        }
        token
    }

    fn next_token(&mut self, client: u32, asked: &LeaseClaim, keys: &[String]) -> Token {
        match self.flaw {
            Some(Flaw::TokensOfClients) => {
                let last = self.tokens.entry(client).or_default();
                *last += 1;
                return Token::new(*last);
            }
            // It counts what stands in the table.
            Some(Flaw::TokenRepeatsAfterExpiry) => {
                let greatest = self.rows.iter().map(|row| row.token.get()).max();
                return Token::new(greatest.unwrap_or(0) + 1);
            }
            Some(Flaw::SharersShareToken) if asked.mode == Mode::Shared => {
                let beside = self.rows.iter().find(|row| keys.contains(&row.key));
                if let Some(beside) = beside {
                    return beside.token;
                }
            }
            Some(Flaw::TokensAreClocks) => {
                self.token += 1;
                return Token::new((1 << 61) + self.token);
            }
            _ => {}
        }
        self.token += 1;
        Token::new(self.token)
    }

    pub(crate) fn renew(&mut self, client: u32, renewals: &[LeaseRenewal]) -> Vec<Renewed> {
        self.expire();
        let mut answers =
            renewals.iter().map(|renewal| self.renew_one(client, renewal)).collect::<Vec<_>>();
        if self.has(Flaw::BatchReversed) {
            answers.reverse();
        }
        answers
    }

    fn renew_one(&mut self, client: u32, asked: &LeaseRenewal) -> Renewed {
        let (now, keys) = (self.now, self.names(&asked.keys, client));
        let by_key = self.has(Flaw::RenewalByKey);
        let robbed = self.has(Flaw::RobbedLivesOn);
        let is_its = |row: &Row| {
            (row.id == asked.id || by_key)
                && keys.contains(&row.key)
                && (row.is_held(now) || robbed && row.robbed)
        };
        let found = self.rows.iter().filter(|row| is_its(row)).count();
        let enough = if self.has(Flaw::SetLossUnnoticed) { 1 } else { keys.len() };
        if found < enough {
            if self.has(Flaw::RenewalRevives)
                && self.rows.iter().all(|row| !keys.contains(&row.key))
            {
                let mut claim = LeaseClaim::all(keys.clone(), asked.id, asked.lease);
                claim.note = String::new();
                self.write(client, &claim, &keys);
                return Renewed::Kept;
            }
            if self.has(Flaw::SetLossEndsTheRest) {
                self.rows.retain(|row| row.id != asked.id);
            }
            return Renewed::Gone(match self.has(Flaw::GoneByEviction) {
                true => LostCause::Evicted,
                false => LostCause::Forgotten,
            });
        }
        let (forgotten, most_ignored) =
            (self.has(Flaw::RenewalForgotten), self.has(Flaw::MostIgnoredByRenewal));
        let refresh =
            asked.refresh && !self.has(Flaw::RefreshForgotten) || self.has(Flaw::RenewalRefreshes);
        for row in self.rows.iter_mut().filter(|row| is_its(row)) {
            row.renewed = now;
            if !forgotten {
                let lease_ends = now + asked.lease;
                let ends = row.ends.filter(|_| !most_ignored);
                row.lease_ends = ends.map_or(lease_ends, |ends| ends.min(lease_ends));
            }
            if refresh {
                row.since = now;
            }
        }
        Renewed::Kept
    }

    pub(crate) fn end(&mut self, client: u32, asked: &LeaseEnding) -> bool {
        self.expire();
        let (now, keys) = (self.now, self.names(&asked.keys, client));
        let (by_key, by_token) = (self.has(Flaw::EndByKey), self.has(Flaw::EndByToken));
        let whole = self.has(Flaw::SetEndsAltogether);
        let is_its = |row: &Row| {
            let named = row.id == asked.id
                || by_key
                || by_token && u128::from(row.token.get()) == asked.id.get();
            named && (keys.contains(&row.key) || whole)
        };
        let found = self.rows.iter().any(|row| is_its(row) && row.stands(now));
        let was_held = self.rows.iter().any(|row| is_its(row) && row.is_held(now));
        let reserve = match asked.how {
            LeaseEnd::Release { reserve } => {
                (reserve || self.has(Flaw::ReleaseAlwaysReserves))
                    && !self.has(Flaw::ReleaseDropsReservation)
            }
            _ => self.has(Flaw::RemoveReserves),
        };
        if reserve {
            let rows = self.rows.iter_mut().filter(|row| is_its(row));
            let is_done = !self.flaw.is_some_and(|flaw| flaw == Flaw::DoneIsForgotten);
            rows.for_each(|row| {
                row.lease_ends = row.lease_ends.min(now);
                row.if_done &= !is_done;
            });
        } else {
            self.rows.retain(|row| !is_its(row));
        }
        if !(self.has(Flaw::WithdrawnKeepsPlace) && asked.how == LeaseEnd::Remove) {
            self.queue.leave(asked.id, &keys);
        }
        let next = asked.next.filter(|_| !self.has(Flaw::LocalWaiterForgotten));
        let next = match self.has(Flaw::LocalWaiterFirst) {
            true => next.map(|_| Duration::MAX),
            false => next,
        };
        self.expire();
        self.queue.call(client, &keys, next, now);
        let there = match asked.how {
            LeaseEnd::Release { reserve: true } => was_held,
            _ => found,
        };
        there || self.has(Flaw::EndAlwaysThere)
    }

    pub(crate) fn list(&mut self, query: &Query) -> Vec<LeaseEntry> {
        self.expire();
        let by_pattern = self.has(Flaw::ListByPattern);
        let matches = |key: &str| match query {
            Query::Prefix(prefix) if by_pattern => {
                let mut text = key.chars();
                let pattern = prefix.split('%').next().unwrap_or("");
                pattern
                    .chars()
                    .all(|wanted| text.next().is_some_and(|found| wanted == '_' || wanted == found))
            }
            _ => query.matches(key),
        };
        let rows = self.rows.iter().filter(|row| matches(&row.key));
        let mut entries = rows.map(|row| self.entry(row)).collect::<Vec<_>>();
        if self.has(Flaw::ListOmitsReservations) {
            entries.retain(|entry| entry.state != EntryState::Reserved);
        }
        if !self.has(Flaw::ListOmitsPlaces) {
            entries.extend(self.queue.entries(self.now).into_iter().filter(|e| matches(&e.key)));
        }
        entries
    }

    fn ends_in(&self, row: &Row) -> Duration {
        let ends = if row.is_held(self.now) { row.lease_ends } else { row.reserved_until };
        ends.saturating_sub(self.now)
    }

    fn entry(&self, row: &Row) -> LeaseEntry {
        let late = if self.has(Flaw::EndsInIsLate) { 2 } else { 1 };
        let ends_in = self.ends_in(row) * late;
        let mut entry = LeaseEntry::new(&*row.key, row.id, row.token, ends_in);
        entry.mode = row.mode;
        entry.age = Some(match self.has(Flaw::AgesBackwards) {
            true => self.ends_in(row),
            false => self.now - row.since,
        });
        if !row.is_held(self.now) {
            entry.state = EntryState::Reserved;
        }
        entry.note = row.note.clone();
        entry
    }
}

fn refused(in_the_way: Vec<LeaseEntry>) -> Claimed {
    Claimed::Refused(Refusal::new(in_the_way))
}
