//! How a request stands at a key: what is in its way there, who is ahead of it, whom it may rob.

use std::collections::BTreeMap;
use std::time::Duration;

use locks_core::{AcquisitionId, EntryState, LeaseEntry, Mode, Token};

use super::clock::Instant;
use super::layout::{EtcdLayout, Kind};
use super::record::Record;
use super::wire::KeyValue;

/// An entry as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) created: i64,
    pub(super) lease: i64,
    pub(super) record: Record,
}

/// A hold, or what is reserved by one.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) id: AcquisitionId,
    /// `None`: it was released, or its lease is over, and the key is still reserved.
    pub(super) held: Option<Entry>,
    pub(super) reserved: Option<Entry>,
}

/// A place in the queue.
#[derive(Clone, Debug)]
pub(super) struct QueuedClaim {
    pub(super) id: AcquisitionId,
    pub(super) entry: Entry,
}

/// The entries of a key: when each was created, and how long it may take to claim if it waits.
pub(super) type Entries = BTreeMap<Vec<u8>, (i64, Duration)>;

/// Everything of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) holds: Vec<Hold>,
    /// In their order.
    pub(super) places: Vec<QueuedClaim>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) id: AcquisitionId,
    pub(super) mode: Mode,
    pub(super) steal_after: Option<Duration>,
    /// Whether those who wait count.
    pub(super) is_fair: bool,
    /// How long the head of the queue has been able to take the key and has not, as far as is
    /// known.
    pub(super) idle: Duration,
}

/// How it stands.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It can have the key, once these are gone.
    Free { robbed: Vec<Hold>, over: Vec<Hold>, absent: Vec<QueuedClaim> },
    /// It cannot. When to look again, if that is known; and who is gone from the head of the queue.
    Taken { by: Vec<Hold>, again_in: Option<Duration>, absent: Vec<QueuedClaim> },
    /// Locks and permits do not mix.
    Mismatch,
}

impl Hold {
    /// The record of the hold, or else of the reservation.
    pub(super) fn record(&self) -> Option<&Record> {
        self.held.as_ref().or(self.reserved.as_ref()).map(|entry| &entry.record)
    }

    pub(super) fn token(&self) -> Token {
        let entry = self.held.as_ref().or(self.reserved.as_ref());
        Token::new(entry.map_or(0, |entry| entry.created.cast_unsigned()))
    }

    /// For how long the key stays reserved.
    pub(super) fn reserved_for(&self, now: Instant) -> Duration {
        // A hold is kept from thieves by its own record, whether or not a reservation will stay.
        let left = |entry: &Entry| entry.record.least().saturating_sub(entry.record.held_for(now));
        self.held.iter().chain(&self.reserved).map(left).max().unwrap_or_default()
    }

    /// Whether it is held: not merely reserved, and not for longer than it may be.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held.as_ref().is_some_and(|entry| {
            entry.record.most().is_none_or(|most| entry.record.held_for(now) < most)
        })
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.is_held(now) && self.reserved_for(now).is_zero()
    }

    /// When it ends by what is written down.
    fn ends_in(&self, now: Instant) -> Option<Duration> {
        let held = self.held.as_ref().and_then(|entry| {
            entry.record.most().map(|most| most.saturating_sub(entry.record.held_for(now)))
        });
        match self.is_held(now) {
            true => held.map(|held| held.max(self.reserved_for(now))),
            false => Some(self.reserved_for(now)),
        }
    }

    /// When it can be stolen.
    fn stealable_in(&self, now: Instant, after: Duration) -> Option<Duration> {
        let record = &self.held.as_ref().filter(|_| self.is_held(now))?.record;
        if record.is_strange {
            // It may be a reservation.
            return None;
        }
        Some(after.saturating_sub(record.age(now)).max(self.reserved_for(now)))
    }

    /// What others read of it. How long its lease runs is not known here.
    pub(super) fn describe(&self, key: &str, now: Instant) -> Option<LeaseEntry> {
        let record = self.record()?;
        let held = self.is_held(now);
        let ends_in = match held {
            true => {
                let lease = Duration::from_secs(record.ttl);
                self.ends_in(now).map_or(lease, |ends| ends.min(lease))
            }
            false => self.reserved_for(now),
        };
        let mut entry = LeaseEntry::new(key, self.id, self.token(), ends_in);
        entry.mode = record.mode;
        entry.age = Some(record.age(now));
        entry.state = if held { EntryState::Held } else { EntryState::Reserved };
        entry.note.clone_from(&record.note);
        Some(entry)
    }
}

impl QueuedClaim {
    pub(super) fn describe(&self, key: &str, now: Instant) -> LeaseEntry {
        let record = &self.entry.record;
        let lease = Duration::from_secs(record.ttl);
        let mut entry = LeaseEntry::new(key, self.id, Token::new(0), lease);
        (entry.mode, entry.state) = (record.mode, EntryState::Waiting);
        entry.age = Some(record.waited(now));
        entry.note.clone_from(&record.note);
        entry
    }
}

impl Standing {
    /// Makes sense of what was found at a key. Entries that are none of ours are left alone. What
    /// another version has written keeps the key, whatever it is: it cannot be told that it does
    /// not.
    pub(super) fn read(layout: &EtcdLayout, found: Vec<KeyValue>) -> Self {
        let mut standing = Self::default();
        for kv in found {
            let Some((id, kind)) = layout.name(&kv.key).map(|name| (name.id, name.kind)) else {
                continue;
            };
            let (record, kind) = match Record::read(&kv.value) {
                Some(record) => (record, kind),
                None if kind == Kind::Place => continue,
                None => (Record::strange(), Kind::Hold),
            };
            let entry =
                Entry { name: kv.key, created: kv.create_revision, lease: kv.lease, record };
            match kind {
                Kind::Place => standing.places.push(QueuedClaim { id, entry }),
                Kind::Hold => standing.hold(id).held = Some(entry),
                Kind::Reservation => standing.hold(id).reserved = Some(entry),
            }
        }
        standing.places.sort_by_key(|place| place.entry.created);
        standing
    }

    fn hold(&mut self, id: AcquisitionId) -> &mut Hold {
        let at = self.holds.iter().position(|hold| hold.id == id).unwrap_or_else(|| {
            self.holds.push(Hold { id, held: None, reserved: None });
            self.holds.len() - 1
        });
        &mut self.holds[at]
    }

    pub(super) fn own(&self, id: AcquisitionId) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.id == id)
    }

    pub(super) fn own_place(&self, id: AcquisitionId) -> Option<&QueuedClaim> {
        self.places.iter().find(|place| place.id == id)
    }

    /// Everything there is: when it was created, and how long it may take to claim if it waits.
    pub(super) fn entries(&self) -> Entries {
        let holds = self.holds.iter().flat_map(|hold| hold.held.iter().chain(&hold.reserved));
        let entries = holds.chain(self.places.iter().map(|place| &place.entry));
        entries
            .map(|entry| (entry.name.clone(), (entry.created, entry.record.absent_after())))
            .collect()
    }

    /// The entries whose times this clock cannot tell, though somebody has to know them.
    pub(super) fn untimed(&mut self, now: Instant, steals: bool) -> Vec<&mut Entry> {
        let entries = self.holds.iter_mut().flat_map(|hold| {
            let matters = |entry: &&mut Entry| steals || entry.record.most > 0;
            let held = hold.held.as_mut().filter(matters);
            held.into_iter().chain(hold.reserved.as_mut())
        });
        entries.filter(|entry| !entry.record.is_strange && !entry.record.is_timed(now)).collect()
    }

    /// How `asker` stands at this instant.
    pub(super) fn judge(&self, asker: &Asker, now: Instant) -> Verdict {
        let permits = |mode| matches!(mode, Mode::Permit { .. });
        let others = || self.holds.iter().filter(|hold| hold.id != asker.id);
        let (over, live): (Vec<&Hold>, Vec<&Hold>) = others().partition(|hold| hold.is_over(now));
        let queue: Vec<&QueuedClaim> =
            self.places.iter().filter(|place| place.id != asker.id).collect();
        let modes = live.iter().filter_map(|hold| Some(hold.record()?.mode));
        let modes = modes.chain(queue.iter().map(|place| place.entry.record.mode));
        if modes.into_iter().any(|mode| permits(mode) != permits(asker.mode)) {
            return Verdict::Mismatch;
        }
        let conflicts = |mode| asker.mode != Mode::Shared || mode != Mode::Shared;
        let mode_of = |hold: &Hold| hold.record().map_or(Mode::Exclusive, |record| record.mode);
        let mut way: Vec<&Hold> =
            live.iter().copied().filter(|hold| conflicts(mode_of(hold))).collect();
        let used = live.len();
        let need = match asker.mode {
            Mode::Permit { of, .. } => (used + 1).saturating_sub(of as usize),
            _ => way.len(),
        };
        let over = || over.iter().map(|hold| (*hold).clone()).collect();
        if need > 0 {
            // The oldest first.
            way.sort_by_key(|hold| {
                let record = hold.record();
                (std::cmp::Reverse(record.map(|record| record.age(now))), hold.token())
            });
            let stealable =
                |hold: &&Hold| asker.steal_after.and_then(|after| hold.stealable_in(now, after));
            let due: Vec<&Hold> = way
                .iter()
                .copied()
                .filter(|hold| stealable(hold) == Some(Duration::ZERO))
                .collect();
            if due.len() >= need {
                let robbed = due[..need].iter().map(|hold| (*hold).clone()).collect();
                return Verdict::Free { robbed, over: over(), absent: Vec::new() };
            }
            let ends = way
                .iter()
                .map(|hold| [hold.ends_in(now), stealable(hold)].into_iter().flatten().min());
            let mut ends: Vec<Option<Duration>> = ends.collect();
            // What has no known end comes last.
            ends.sort_by_key(|end| end.unwrap_or(Duration::MAX));
            let by = way.into_iter().cloned().collect();
            return Verdict::Taken { by, again_in: ends[need - 1], absent: Vec::new() };
        }
        // Whether the holds that there are leave room for one who waits.
        let can_go = |place: &QueuedClaim| match place.entry.record.mode {
            Mode::Exclusive => used == 0,
            Mode::Shared => live.iter().all(|hold| mode_of(hold) == Mode::Shared),
            Mode::Permit { of, .. } => used < of as usize,
        };
        let head_is_absent = queue.first().is_some_and(|first| {
            asker.is_fair && can_go(first) && asker.idle >= first.entry.record.absent_after()
        });
        self.queue(asker, &queue, head_is_absent, used, over())
    }

    /// Nothing is held in its way: is somebody ahead?
    fn queue(
        &self,
        asker: &Asker,
        queue: &[&QueuedClaim],
        head_is_absent: bool,
        used: usize,
        over: Vec<Hold>,
    ) -> Verdict {
        let mine = self.own_place(asker.id).map(|place| place.entry.created);
        let is_ahead = |place: &&QueuedClaim| mine.is_none_or(|mine| place.entry.created < mine);
        let mut ahead: Vec<&QueuedClaim> = queue.iter().copied().take_while(is_ahead).collect();
        let mut absent = Vec::new();
        // One is taken to be gone at a time: the next one has its moment after it.
        if head_is_absent && !ahead.is_empty() {
            absent.push(ahead.remove(0).clone());
        }
        let blocks = |(before, place): (usize, &&QueuedClaim)| match asker.mode {
            Mode::Shared => place.entry.record.mode != Mode::Shared,
            Mode::Exclusive => true,
            Mode::Permit { of, .. } => {
                let theirs = match place.entry.record.mode {
                    Mode::Permit { of, .. } => of as usize,
                    _ => 0,
                };
                used + before + 2 > of as usize || used + before + 1 > theirs
            }
        };
        let blocked = asker.is_fair && ahead.iter().enumerate().any(blocks);
        if !blocked {
            return Verdict::Free { robbed: Vec::new(), over, absent };
        }
        // Its watch tells when the head is taken to be gone.
        Verdict::Taken { by: Vec::new(), again_in: None, absent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the next version, say.
    #[test]
    fn c1_a_hold_whose_record_cannot_be_read_keeps_its_key() {
        let layout = EtcdLayout::new("n");
        let [theirs, ours] = [(); 2].map(|()| AcquisitionId::unique());
        let entry = |kind| KeyValue {
            key: layout.entry("k", kind, Mode::Exclusive, theirs),
            value: b"2 something else".to_vec(),
            ..KeyValue::default()
        };
        let now = Instant { term: 1, earliest: 60_000_000, latest: 60_000_000 };
        for mode in [Mode::Exclusive, Mode::Shared] {
            let steal_after = Some(Duration::ZERO);
            let asker =
                Asker { id: ours, mode, steal_after: None, is_fair: true, idle: Duration::ZERO };
            for (asker, kind) in [
                (&asker, Kind::Hold),
                (&asker, Kind::Reservation),
                (&Asker { steal_after, ..asker }, Kind::Reservation),
            ] {
                let mut standing = Standing::read(&layout, vec![entry(kind)]);
                assert!(standing.untimed(now, true).is_empty(), "it is not written anew");
                let verdict = standing.judge(asker, now);
                assert!(matches!(verdict, Verdict::Taken { .. }), "{mode:?} {kind:?}: {verdict:?}");
            }
            let mut place = Standing::read(&layout, vec![entry(Kind::Place)]);
            assert!(place.untimed(now, true).is_empty());
            assert!(matches!(place.judge(&asker, now), Verdict::Free { .. }));
        }
    }
}
