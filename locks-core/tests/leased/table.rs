//! What a store with leases does, in memory: holds, reservations, and a queue across clients.

use std::time::Duration;

use locks_core::{
    AcquisitionId, Claimed, EntryState, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeaseRenewal, LockError, LostCause, Mode, Moment, Refusal, Renewed, Reserve, Token,
};

/// How long one that is called has to claim.
const GRACE: Duration = Duration::from_millis(250);

/// Which clients are to look at which keys.
pub(crate) type Calls = Vec<(String, usize)>;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// In the order in which they were taken.
    places: Vec<Place>,
    promised: Vec<Promised>,
    token: u64,
    robbed: Vec<AcquisitionId>,
    /// Nothing is granted before.
    pub(crate) fresh_at: Option<Moment>,
}

pub(crate) struct Row {
    pub(crate) entry: LeaseEntry,
    client: usize,
    pub(crate) id: AcquisitionId,
    since: Moment,
    /// Since it was claimed or renewed last.
    pub(crate) renewed: Moment,
    pub(crate) lease: Duration,
    pub(crate) lease_ends: Moment,
    reserved_until: Moment,
    if_done: bool,
    ends_at: Option<Moment>,
}

struct Place {
    key: String,
    id: AcquisitionId,
    client: usize,
    mode: Mode,
    note: String,
    since: Moment,
    kept_until: Moment,
    called_at: Option<Moment>,
}

/// Kept for a request of this client that is about to claim.
struct Promised {
    key: String,
    client: usize,
    since: Moment,
    until: Moment,
}

/// Of one key: what is in the way, what of that can be taken, and whether the queue is.
struct Stand {
    in_the_way: Vec<usize>,
    victims: Vec<AcquisitionId>,
    /// How many more would have to go.
    lacks: usize,
    waits: bool,
}

impl Table {
    /// The answer, and whom it concerns.
    pub(crate) fn claim(
        &mut self,
        asked: &LeaseClaim,
        client: usize,
        now: Moment,
    ) -> Result<(Claimed, Calls), LockError> {
        self.expire(now);
        if let Some(fresh_at) = self.fresh_at.filter(|at| *at > now) {
            return Ok((Claimed::NotYet(fresh_at.since(now)), Vec::new()));
        }
        if let Some(row) = self.rows.iter().find(|row| row.id == asked.id && row.is_held(now)) {
            return Ok((Claimed::Granted(row.entry.token), Vec::new()));
        }
        self.promised.retain(|kept| kept.client != client || !asked.keys.contains(&kept.key));
        let stands = asked.keys.iter().map(|key| self.stand(key, asked, now));
        let stands = stands.collect::<Result<Vec<_>, _>>()?;
        if stands.iter().any(|stand| stand.lacks > 0 || stand.waits && stand.victims.is_empty()) {
            let refused = Claimed::Refused(self.refuse(asked, client, &stands, now));
            return Ok((refused, asked.keys.iter().flat_map(|key| self.call(key, now)).collect()));
        }
        let victims: Vec<_> = stands.into_iter().flat_map(|stand| stand.victims).collect();
        let robbed = || self.rows.iter().filter(|row| victims.contains(&row.id));
        let mut called: Calls = robbed().map(|row| (row.entry.key.clone(), row.client)).collect();
        let from = robbed().map(|row| row.shown(now)).collect::<Vec<_>>();
        self.rows.retain(|row| !victims.contains(&row.id));
        self.places.retain(|place| place.id != asked.id);
        self.robbed.extend(&victims);
        self.token += 1;
        let token = Token::new(self.token);
        for key in &asked.keys {
            let mut entry = LeaseEntry::new(key, asked.id, token, Duration::ZERO);
            entry.mode = asked.mode;
            entry.note = asked.note.clone();
            let mut row = Row {
                entry,
                client,
                id: asked.id,
                since: now,
                renewed: now,
                lease: asked.lease,
                lease_ends: now,
                reserved_until: asked.hold_at_least.map_or(now, |least| now.after(least)),
                if_done: asked.reserve == Reserve::IfDone,
                ends_at: asked.hold_at_most.map(|most| now.after(most)),
            };
            row.renew(asked.lease, now);
            self.rows.push(row);
        }
        // Those who fit beside it.
        called.extend(asked.keys.iter().flat_map(|key| self.call(key, now)));
        let claimed = match from.is_empty() {
            true => Claimed::Granted(token),
            false => Claimed::Stolen { token, from },
        };
        Ok((claimed, called))
    }

    fn stand(&self, key: &str, asked: &LeaseClaim, now: Moment) -> Result<Stand, LockError> {
        let rivals = || (0..self.rows.len()).filter(|&at| self.rows[at].entry.key == key);
        if rivals().any(|at| is_permit(self.rows[at].entry.mode) != is_permit(asked.mode)) {
            return Err(LockError::new(ErrorKind::PermitsMismatch, key));
        }
        let mut in_the_way: Vec<_> =
            rivals().filter(|&at| self.rows[at].bars(asked.mode, now)).collect();
        in_the_way.sort_by_key(|&at| self.rows[at].since);
        let room = room(asked.mode);
        let excess = (in_the_way.len() + 1).saturating_sub(room);
        let due = |at: &&usize| {
            let row = &self.rows[**at];
            let old = asked.steal_after.is_some_and(|after| now.since(row.since) >= after);
            old && row.is_held(now) && row.reserved_until <= now
        };
        let victims = in_the_way.iter().filter(due).take(excess);
        let victims: Vec<_> = victims.map(|&at| self.rows[at].id).collect();
        let waits = asked.place.is_some_and(|place| {
            let own = self.places.iter().find(|own| own.id == asked.id && own.key == key);
            let since = own.map_or(before(now, place.waited), |own| own.since);
            let ahead = |place: &&Place| {
                place.key == key
                    && place.id != asked.id
                    && place.since < since
                    && (place.mode != Mode::Shared || asked.mode != Mode::Shared)
            };
            let promised = |kept: &&Promised| kept.key == key && kept.since < since;
            let promised = self.promised.iter().filter(promised).count();
            if !is_permit(asked.mode) {
                return promised > 0 || self.places.iter().any(|place| ahead(&place));
            }
            // First come, first served: one that has no room yet keeps all behind it back.
            let mut ahead: Vec<_> = self.places.iter().filter(ahead).collect();
            ahead.sort_by_key(|place| place.since);
            let in_line = ahead.iter().map(|place| place.mode).chain([asked.mode]);
            let taken = in_the_way.len() + promised;
            in_line.enumerate().any(|(before, mode)| taken + before >= self::room(mode))
        });
        Ok(Stand { lacks: excess - victims.len(), in_the_way, victims, waits })
    }

    fn refuse(
        &mut self,
        asked: &LeaseClaim,
        client: usize,
        stands: &[Stand],
        now: Moment,
    ) -> Refusal {
        let in_the_way = stands.iter().flat_map(|stand| &stand.in_the_way);
        let in_the_way = in_the_way.map(|&at| self.rows[at].shown(now));
        let mut refusal = Refusal::new(in_the_way.collect());
        if let Some(place) = asked.place.filter(|place| !place.keep.is_zero()) {
            refusal.placed = true;
            for key in &asked.keys {
                let kept_until = now.after(place.keep);
                match self.places.iter_mut().find(|own| own.id == asked.id && own.key == *key) {
                    Some(own) => (own.kept_until, own.called_at) = (kept_until, None),
                    None => self.places.push(Place {
                        key: key.clone(),
                        id: asked.id,
                        client,
                        mode: asked.mode,
                        note: asked.note.clone(),
                        since: before(now, place.waited),
                        kept_until,
                        called_at: None,
                    }),
                }
            }
        }
        let concerns = |key: &String| asked.keys.contains(key);
        let ends = refusal.in_the_way.iter().map(|entry| entry.ends_in);
        let due = stands.iter().flat_map(|stand| &stand.in_the_way).filter_map(|&at| {
            let row = &self.rows[at];
            Some(row.since.after(asked.steal_after?).max(row.reserved_until).since(now))
        });
        let due: Vec<_> = due.filter(|due| !due.is_zero()).collect();
        let called = self.places.iter().filter(|place| concerns(&place.key));
        let called = called.filter_map(|place| Some(place.called_at?.after(GRACE).since(now)));
        let promised = self.promised.iter().filter(|kept| concerns(&kept.key));
        let promised = promised.map(|kept| kept.until.since(now));
        refusal.again_in = ends.chain(due).chain(called).chain(promised).min();
        refusal
    }

    pub(crate) fn renew(&mut self, asked: &LeaseRenewal, now: Moment) -> Renewed {
        let held = |row: &Row| row.id == asked.id && row.is_held(now);
        let stands = |key: &String| self.rows.iter().any(|row| held(row) && row.entry.key == *key);
        if !asked.keys.iter().all(stands) {
            let robbed = self.robbed.contains(&asked.id);
            return Renewed::Gone(if robbed { LostCause::Stolen } else { LostCause::Forgotten });
        }
        for row in self.rows.iter_mut().filter(|row| row.id == asked.id) {
            row.renew(asked.lease, now);
            if asked.refresh {
                row.since = now;
            }
        }
        Renewed::Kept
    }

    /// Whether there was something to end, and whom it concerns.
    pub(crate) fn end(&mut self, asked: &LeaseEnding, client: usize, now: Moment) -> (bool, Calls) {
        self.expire(now);
        let ends = |key: &String, id| id == asked.id && asked.keys.contains(key);
        let reserve = asked.how == LeaseEnd::Release { reserve: true };
        let (mut ended, mut called) = (false, Vec::new());
        self.rows.retain_mut(|row| {
            if !ends(&row.entry.key, row.id) {
                return true;
            }
            if row.client != client {
                called.push((row.entry.key.clone(), row.client));
            }
            ended |= row.is_held(now) || !reserve;
            row.lease_ends = now;
            row.if_done &= !reserve;
            reserve && row.stands(now)
        });
        self.places.retain(|place| !ends(&place.key, place.id));
        for key in &asked.keys {
            if let Some(waited) = asked.next {
                let (since, until) = (before(now, waited), now.after(GRACE));
                self.promised.push(Promised { key: key.clone(), client, since, until });
            }
            called.extend(self.call(key, now));
        }
        (ended, called)
    }

    /// Calls those whose turn it is, unless the key is promised to one that has waited for longer.
    fn call(&mut self, key: &str, now: Moment) -> Calls {
        let mut places: Vec<_> = (0..self.places.len()).collect();
        places.retain(|&at| self.places[at].key == key);
        places.sort_by_key(|&at| self.places[at].since);
        let (mut ahead, mut called, mut before) = (0, Vec::new(), Mode::Shared);
        for at in places {
            let mode = self.places[at].mode;
            let in_the_way = self.rows.iter().filter(|row| row.entry.key == key);
            let in_the_way = in_the_way.filter(|row| row.bars(mode, now)).count();
            let beside = mode == Mode::Shared && before == Mode::Shared;
            let is_later = self.promised.iter().any(|kept| {
                let place = &self.places[at];
                kept.key == key && kept.client != place.client && kept.since <= place.since
            });
            if is_later || in_the_way + if beside { 0 } else { ahead } >= room(mode) {
                break;
            }
            if self.places[at].called_at.replace(now).is_none() {
                called.push((key.to_owned(), self.places[at].client));
            }
            (ahead, before) = (ahead + 1, mode);
        }
        called
    }

    pub(crate) fn entries(&self, now: Moment) -> Vec<LeaseEntry> {
        let rows = self.rows.iter().filter(|row| row.stands(now)).map(|row| row.shown(now));
        let waiting = self.places.iter().filter(|place| place.kept_until > now).map(|place| {
            let left = place.kept_until.since(now);
            let mut entry = LeaseEntry::new(&*place.key, place.id, Token::new(0), left);
            entry.mode = place.mode;
            entry.state = EntryState::Waiting;
            entry.age = Some(now.since(place.since));
            entry.note = place.note.clone();
            entry
        });
        rows.chain(waiting).collect()
    }

    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    fn expire(&mut self, now: Moment) {
        self.rows.retain(|row| row.stands(now));
        self.promised.retain(|kept| kept.until > now);
        let absent = |place: &Place| place.called_at.is_some_and(|at| at.after(GRACE) <= now);
        self.places.retain(|place| place.kept_until > now && !absent(place));
    }
}

impl Row {
    pub(crate) fn is_held(&self, now: Moment) -> bool {
        self.lease_ends > now
    }

    pub(crate) fn stands(&self, now: Moment) -> bool {
        self.is_held(now) || self.reserved_until > now && !self.if_done
    }

    fn renew(&mut self, lease: Duration, now: Moment) {
        let until = now.after(lease);
        (self.renewed, self.lease) = (now, lease);
        self.lease_ends = self.ends_at.map_or(until, |end| end.min(until));
    }

    fn bars(&self, mode: Mode, now: Moment) -> bool {
        let exclusive = mode == Mode::Exclusive || self.entry.mode == Mode::Exclusive;
        exclusive || is_permit(mode) || !self.is_held(now)
    }

    fn shown(&self, now: Moment) -> LeaseEntry {
        let mut entry = self.entry.clone();
        let held = self.is_held(now);
        entry.state = if held { EntryState::Held } else { EntryState::Reserved };
        let ends = if held { self.lease_ends } else { self.reserved_until };
        entry.ends_in = ends.since(now);
        entry.age = Some(now.since(self.since));
        entry
    }
}

fn is_permit(mode: Mode) -> bool {
    matches!(mode, Mode::Permit { .. })
}

fn room(mode: Mode) -> usize {
    if let Mode::Permit { of, .. } = mode { of as usize } else { 1 }
}

/// The moment so long before.
fn before(now: Moment, waited: Duration) -> Moment {
    Moment::from_nanos(now.nanos().saturating_sub(waited.as_nanos() as u64))
}
