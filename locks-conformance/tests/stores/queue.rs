//! The places of those who wait, of all clients.

use std::time::Duration;

use locks_core::{AcquisitionId, EntryState, LeaseClaim, LeaseEntry, LeasePlace, Mode, Token};

/// For how long a key is kept for one that was called.
const GRACE: Duration = Duration::from_millis(250);

/// Moments before the store's clock began are before it all the same.
type At = i128;

#[derive(Default)]
pub(crate) struct Queue {
    /// In the order in which they were taken.
    places: Vec<Place>,
    /// Keys that are kept for a waiter of a client that has released them: since when that waits.
    kept: Vec<Kept>,
}

struct Place {
    keys: Vec<String>,
    id: AcquisitionId,
    client: u32,
    mode: Mode,
    note: String,
    since: At,
    until: Duration,
    called: Option<Duration>,
}

struct Kept {
    key: String,
    client: u32,
    since: At,
    until: Duration,
}

fn ago(now: Duration, waited: Duration) -> At {
    now.as_nanos() as At - waited.as_nanos() as At
}

impl Queue {
    pub(crate) fn expire(&mut self, now: Duration, stand_for_ever: bool, call_for_ever: bool) {
        let absent = |place: &Place| place.called.is_some_and(|called| now >= called + GRACE);
        self.places.retain(|place| {
            (place.until > now || stand_for_ever) && (!absent(place) || call_for_ever)
        });
        self.kept.retain(|kept| kept.until > now);
    }

    /// Returns `true` if an older claim has precedence over this one; `is_free`: no hold is in its
    /// way.
    pub(crate) fn is_behind(
        &mut self,
        client: u32,
        keys: &[String],
        asked: &LeaseClaim,
        waited: Duration,
        is_free: bool,
        now: Duration,
    ) -> bool {
        let own = self.places.iter().position(|place| place.id == asked.id);
        let since = own.map_or(ago(now, waited), |own| self.places[own].since);
        // Of those who came at the same moment the one that has a place already.
        let rank = (since, own.unwrap_or(usize::MAX));
        let bars = |mode: Mode| mode != Mode::Shared || asked.mode != Mode::Shared;
        let mut places = self.places.iter_mut().enumerate();
        let before = places.find(|(index, place)| {
            place.id != asked.id
                && (place.since, *index) < rank
                && bars(place.mode)
                && place.keys.iter().any(|key| keys.contains(key))
        });
        if let Some((_, first)) = before {
            if is_free {
                // Nobody but it keeps this claim from the key.
                first.called.get_or_insert(now);
            }
            return true;
        }
        self.kept
            .iter()
            .any(|kept| kept.client != client && kept.since < since && keys.contains(&kept.key))
    }

    pub(crate) fn enter(
        &mut self,
        client: u32,
        keys: &[String],
        asked: &LeaseClaim,
        place: LeasePlace,
        now: Duration,
    ) {
        let until = now.saturating_add(place.keep);
        if let Some(own) = self.places.iter_mut().find(|own| own.id == asked.id) {
            own.until = until;
            own.called = None;
            return;
        }
        self.places.push(Place {
            keys: keys.to_vec(),
            id: asked.id,
            client,
            mode: asked.mode,
            note: asked.note.clone(),
            since: ago(now, place.waited),
            until,
            called: None,
        });
    }

    pub(crate) fn leave(&mut self, id: AcquisitionId, keys: &[String]) {
        self.places.retain(|place| place.id != id || !place.keys.iter().any(|k| keys.contains(k)));
    }

    /// The client has come for what was kept for it.
    pub(crate) fn came(&mut self, client: u32, keys: &[String]) {
        self.kept.retain(|kept| kept.client != client || !keys.contains(&kept.key));
    }

    /// These keys have ended, and this client may have one who waits for them.
    pub(crate) fn call(
        &mut self,
        client: u32,
        keys: &[String],
        next: Option<Duration>,
        now: Duration,
    ) {
        for key in keys {
            let waiting = self.places.iter_mut().filter(|place| place.keys.contains(key));
            let first = waiting.min_by_key(|place| place.since);
            let waited = next.map(|waited| ago(now, waited.min(Duration::from_secs(1 << 40))));
            let elsewhere = first.as_ref().map(|place| (place.client, place.since));
            match (waited, elsewhere) {
                (Some(since), elsewhere)
                    if elsewhere.is_none_or(|(other, first)| other == client || since < first) =>
                {
                    let until = now + GRACE;
                    self.kept.push(Kept { key: key.clone(), client, since, until });
                }
                _ => {
                    if let Some(first) = first {
                        first.called = Some(now);
                    }
                }
            }
        }
    }

    pub(crate) fn entries(&self, now: Duration) -> Vec<LeaseEntry> {
        let entries = self.places.iter().flat_map(|place| {
            place.keys.iter().map(move |key| {
                let ends_in = place.until.saturating_sub(now);
                let mut entry = LeaseEntry::new(&**key, place.id, Token::new(0), ends_in);
                let waited = u64::try_from(now.as_nanos() as At - place.since).unwrap_or(u64::MAX);
                (entry.mode, entry.state) = (place.mode, EntryState::Waiting);
                entry.age = Some(Duration::from_nanos(waited));
                entry.note = place.note.clone();
                entry
            })
        });
        entries.collect()
    }
}
