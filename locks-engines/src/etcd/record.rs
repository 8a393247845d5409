//! What is written down of a hold, a reservation or a place.

use std::time::Duration;

use locks_core::Mode;

use super::clock::Instant;

/// How long the answer to a claim may take before the time that the claim has written down is
/// written once more. So nothing has begun later than that after the time in its record.
pub(super) const LATE: Duration = Duration::from_millis(250);

/// How long one may take to claim that could take the key.
const ABSENT: Duration = Duration::from_millis(250);
/// The same for one that waits for other keys as well: it is heard of each second.
const ABSENT_SET: Duration = Duration::from_millis(2500);

/// An entry's value. Times are microseconds on the clock of the election `term`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) mode: Mode,
    /// The lease that was asked for, in seconds, as etcd counts it.
    pub(super) ttl: u64,
    pub(super) term: u64,
    /// Since when it is held or waited for, or was last refreshed; zero where that is not known.
    pub(super) since: u64,
    /// When it was granted, which its bounds count from.
    pub(super) granted: u64,
    /// For how long the key stays reserved; zero: not at all.
    pub(super) least: u64,
    /// How long it is held at most; zero: for as long as it is renewed.
    pub(super) most: u64,
    /// How many keys the acquisition is of.
    pub(super) keys: usize,
    /// How much longer than others one that waits may take to claim, since its link is slow:
    /// microseconds.
    pub(super) grace: u64,
    /// Who asks, by the name of its inbox.
    pub(super) client: String,
    pub(super) note: String,
    /// Another version has written it, in words that this one does not know.
    pub(super) is_strange: bool,
}

/// A mode as records have it.
fn number(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => 0,
        Mode::Shared => -1,
        Mode::Permit { of, .. } => of.into(),
    }
}

impl Record {
    pub(super) fn write(&self) -> Vec<u8> {
        let Self {
            mode,
            ttl,
            term,
            since,
            granted,
            least,
            most,
            keys,
            grace,
            client,
            note,
            is_strange: _,
        } = self;
        let mode = number(*mode);
        let times = format!("{term} {since} {granted} {least} {most}");
        format!("1 {mode} {ttl} {times} {keys} {grace} {client} {note}").into_bytes()
    }

    /// Reads a value; `None` if it is none of ours.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.splitn(12, ' ');
        let mut next = || parts.next();
        if next()? != "1" {
            return None;
        }
        let mode = match next()?.parse().ok()? {
            0_i64 => Mode::Exclusive,
            -1 => Mode::Shared,
            of => Mode::Permit { take: 1, of: of.try_into().ok()? },
        };
        Some(Self {
            mode,
            ttl: next()?.parse().ok()?,
            term: next()?.parse().ok()?,
            since: next()?.parse().ok()?,
            granted: next()?.parse().ok()?,
            least: next()?.parse().ok()?,
            most: next()?.parse().ok()?,
            keys: next()?.parse().ok()?,
            grace: next()?.parse().ok()?,
            client: next()?.to_owned(),
            note: next()?.to_owned(),
            is_strange: false,
        })
    }

    /// Stands for one that cannot be read: of a hold of the key alone, for as long as its entry is
    /// there.
    pub(super) fn strange() -> Self {
        Self {
            mode: Mode::Exclusive,
            ttl: 0,
            term: 0,
            since: 0,
            granted: 0,
            least: 0,
            most: 0,
            keys: 1,
            grace: 0,
            client: String::new(),
            note: String::new(),
            is_strange: true,
        }
    }

    /// Writes down that it begins at this instant, which may be a little before it does.
    pub(super) fn stamp(&mut self, now: Option<Instant>, ago: Duration) {
        self.stamp_both(now, ago, ago);
    }

    /// Writes down that it was granted, and refreshed, so long ago.
    pub(super) fn stamp_both(
        &mut self,
        now: Option<Instant>,
        granted: Duration,
        refreshed: Duration,
    ) {
        let before = |now: Instant, ago: Duration| {
            let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
            // Never zero, which is not known.
            now.latest.saturating_sub(ago).max(1)
        };
        (self.term, self.since, self.granted) = match now {
            Some(now) => (now.term, before(now, refreshed), before(now, granted)),
            None => (0, 0, 0),
        };
    }

    /// Whether its times can be told by this clock.
    pub(super) fn is_timed(&self, now: Instant) -> bool {
        // One in the future is of a clock that was wound up again.
        self.since > 0
            && self.term == now.term
            && self.since <= now.latest.saturating_add(2_000_000)
    }

    /// How old it is for certain; nothing, where that is not known.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.certain_since(self.since, now)
    }

    /// How long ago it was granted for certain.
    pub(super) fn held_for(&self, now: Instant) -> Duration {
        self.certain_since(self.granted, now)
    }

    fn certain_since(&self, since: u64, now: Instant) -> Duration {
        if !self.is_timed(now) {
            return Duration::ZERO;
        }
        Duration::from_micros(now.earliest.saturating_sub(since)).saturating_sub(LATE)
    }

    /// For how long it has waited; there the later bound matters to nobody.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        if !self.is_timed(now) {
            return Duration::ZERO;
        }
        Duration::from_micros(now.latest.saturating_sub(self.since))
    }

    /// One that could take the key and has not for so long is taken to be gone.
    pub(super) fn absent_after(&self) -> Duration {
        Duration::from_micros(self.grace) + if self.keys > 1 { ABSENT_SET } else { ABSENT }
    }

    pub(super) fn least(&self) -> Duration {
        Duration::from_micros(self.least)
    }

    pub(super) fn most(&self) -> Option<Duration> {
        (self.most > 0).then(|| Duration::from_micros(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            mode: Mode::Permit { take: 1, of: 3 },
            ttl: 10,
            term: 4,
            since: 5_000_000,
            granted: 3_000_000,
            least: 1,
            most: 2,
            keys: 1,
            grace: 5,
            client: "c".into(),
            note: "a note\nof several words".into(),
            is_strange: false,
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        for mode in [Mode::Exclusive, Mode::Shared, Mode::Permit { take: 1, of: 7 }] {
            let record = Record { mode, note: String::new(), ..record() };
            assert_eq!(Record::read(&record.write()), Some(record));
        }
        assert_eq!(Record::read(&record().write()), Some(record()));
        assert_eq!(Record::read(b"something else"), None);
        assert_eq!(Record::read(b"2 0 10 1 1 1 0 0 1 0 c "), None);
    }

    #[test]
    fn ages_are_never_too_high_and_nothing_across_an_election() {
        let now = |term, earliest, latest| Instant { term, earliest, latest };
        let age = record().age(now(4, 8_000_000, 8_500_000));
        assert_eq!(age, Duration::from_secs(3) - LATE);
        let held = record().held_for(now(4, 8_000_000, 8_500_000));
        assert_eq!(held, Duration::from_secs(5) - LATE);
        assert_eq!(record().age(now(5, 8_000_000, 8_500_000)), Duration::ZERO);
        assert_eq!(record().age(now(4, 0, 1_000_000)), Duration::ZERO);
    }
}
