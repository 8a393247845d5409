//! The cluster's clock: a lease that nobody renews.
//!
//! etcd tells no time, but it tells how many whole seconds a lease has left, on the clock of the
//! member that leads. One lease of a name that all clients know, with decades to live, is a clock
//! for all of them. It is read as an interval that the time is in for certain; readings on both
//! sides of a full second narrow it down to milliseconds. An election winds the lease up again:
//! times of different elections do not compare.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use locks_core::{BootClock, Clock as _, Moment};
use tonic::Status;

use super::fault::is_lease_there;
use super::rpc::Rpc;

/// The lease's name, the same for everybody.
const LEASE: i64 = 0x6c6f_636b_2063_6c6b;
/// How long it lives: thirty years in seconds.
const LIFE: i64 = 1_000_000_000;
/// Local clocks are trusted to go right by one part in so many.
const DRIFT: u64 = 2000;
/// The clock is read so often until it has been seen to pass a full second.
const STEP: Duration = Duration::from_millis(40);
/// It is read again when the last reading is older than this.
const STALE: Duration = Duration::from_secs(60);

/// An instant on the cluster's clock: not before `earliest` and not after `latest`, in
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// The election since which the clock runs.
    pub(super) term: u64,
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

/// What a client knows of the clock.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<ClockState>);

#[derive(Debug, Default)]
struct ClockState {
    known: Option<Known>,
    /// Somebody is reading it.
    reading: bool,
}

/// How far the clock is ahead of the local one, in microseconds: more than `over`, at most `upto`.
#[derive(Clone, Copy, Debug)]
struct Known {
    term: u64,
    over: i64,
    upto: i64,
    /// When that was found.
    at: Moment,
}

/// What a reading says.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    term: u64,
    /// Whole seconds, rounded up.
    seconds: i64,
    sent: Moment,
    received: Moment,
}

fn micros(moment: Moment) -> i64 {
    (moment.nanos() / 1000).cast_signed()
}

impl Known {
    fn of(reading: &ClockReading) -> Self {
        let (begin, end) = ((reading.seconds - 1) * 1_000_000, reading.seconds * 1_000_000);
        Self {
            term: reading.term,
            over: begin - micros(reading.received),
            upto: end - micros(reading.sent),
            at: reading.received,
        }
    }

    /// What is still certain `now`.
    fn at(&self, now: Moment) -> Self {
        let drift = (now.since(self.at).as_micros() as u64 / DRIFT).cast_signed();
        Self { over: self.over - drift, upto: self.upto + drift, at: now, ..*self }
    }

    /// What is certain with another reading. One that contradicts what was known replaces it: a
    /// local clock has been set, or the lease has been wound up.
    fn with(&self, reading: &ClockReading) -> Self {
        let (new, old) = (Self::of(reading), self.at(reading.received));
        let both = Self { over: new.over.max(old.over), upto: new.upto.min(old.upto), ..new };
        if new.term != old.term || both.over >= both.upto { new } else { both }
    }
}

impl Clock {
    /// Returns the time as far as it is known without asking.
    pub(super) fn now(&self) -> Option<Instant> {
        let now = BootClock.now();
        let known = self.state().known?.at(now);
        let at = |ahead: i64| micros(now).saturating_add(ahead).max(0).cast_unsigned();
        Some(Instant { term: known.term, earliest: at(known.over), latest: at(known.upto) })
    }

    /// Reads the clock once, and winds it up where it is not there yet.
    ///
    /// # Errors
    /// Those of the calls.
    pub(super) async fn read(&self, rpc: &Rpc) -> Result<(), Status> {
        let mut sent = BootClock.now();
        let mut answer = rpc.time_to_live(LEASE).await?;
        if answer.ttl < 0 {
            match rpc.grant_lease(LIFE, LEASE).await {
                Err(status) if !is_lease_there(&status) => return Err(status),
                _ => {}
            }
            sent = BootClock.now();
            answer = rpc.time_to_live(LEASE).await?;
        }
        let term = answer.header.unwrap_or_default().raft_term;
        let seconds = answer.granted_ttl - answer.ttl;
        let reading = ClockReading { term, seconds, sent, received: BootClock.now() };
        let mut state = self.state();
        state.known = Some(match &state.known {
            // A member that does not know of an election yet says nothing about what comes after
            // it.
            Some(known) if known.term > term => return Ok(()),
            Some(known) => known.with(&reading),
            None => Known::of(&reading),
        });
        Ok(())
    }

    /// Has the clock read in the background until it is known well, if it is not, or not any more.
    /// There has been an election if `term` is later than that of the clock.
    pub(super) fn tend(this: &Arc<Self>, rpc: &Rpc, term: u64) {
        let mut state = this.state();
        let due = state
            .known
            .is_none_or(|known| known.term < term || BootClock.now().since(known.at) >= STALE);
        if due && !state.reading {
            state.reading = true;
            drop(state);
            tokio::spawn(Self::calibrate(Arc::downgrade(this), rpc.clone()));
        }
    }

    /// Reads it until it has passed a full second.
    async fn calibrate(this: Weak<Self>, rpc: Rpc) {
        // A second and a half of steps.
        for _ in 0..38 {
            let Some(clock) = this.upgrade() else { return };
            if clock.read(&rpc).await.is_err() || clock.is_known_well() {
                break;
            }
            drop(clock);
            tokio::time::sleep(STEP).await;
        }
        if let Some(clock) = this.upgrade() {
            clock.state().reading = false;
        }
    }

    fn is_known_well(&self) -> bool {
        self.state().known.is_some_and(|known| known.upto - known.over <= 100_000)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ClockState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::from_nanos(1_000_000_000_000).after(Duration::from_secs_f64(seconds))
    }

    /// A reading of a clock that began `ahead` seconds before the local one.
    fn reading(term: u64, ahead: f64, sent: f64, received: f64) -> ClockReading {
        let seconds = (ahead + f64::midpoint(sent, received)).ceil() as i64;
        ClockReading { term, seconds, sent: at(sent), received: at(received) }
    }

    fn bounds(known: &Known) -> (f64, f64) {
        let local = micros(at(0.0)) as f64;
        ((known.over as f64 + local) / 1e6, (known.upto as f64 + local) / 1e6)
    }

    #[test]
    fn readings_enclose_the_time_ever_closer() {
        let ahead = 100.37;
        let mut known = Known::of(&reading(4, ahead, 0.0, 0.002));
        let mut width = known.upto - known.over;
        for step in 1..40 {
            let sent = f64::from(step) * 0.04;
            known = known.with(&reading(4, ahead, sent, sent + 0.002));
            let (over, upto) = bounds(&known);
            assert!(over <= ahead && ahead <= upto, "{over} {upto}");
            assert!(known.upto - known.over <= width + 100, "it does not forget");
            width = known.upto - known.over;
        }
        assert!(width < 60_000, "{width}");
    }

    #[test]
    fn a_slow_answer_is_a_wide_one() {
        let known = Known::of(&reading(4, 100.0, 0.0, 5.0));
        let (over, upto) = bounds(&known);
        assert!(over <= 100.0 && 100.0 <= upto && upto - over >= 5.0);
    }

    #[test]
    fn an_election_or_a_jump_begins_anew() {
        let known = Known::of(&reading(4, 100.5, 0.0, 0.001));
        assert_eq!(known.with(&reading(5, 0.5, 1.0, 1.001)).term, 5);
        let (over, upto) = bounds(&known.with(&reading(4, 7000.5, 1.0, 1.001)));
        assert!(over <= 7000.5 && 7000.5 <= upto);
    }

    #[test]
    fn what_is_known_grows_old() {
        let known = Known::of(&reading(4, 100.5, 0.0, 0.001)).at(at(4000.0));
        let (over, upto) = bounds(&known);
        assert!(upto - over >= 4.0, "two seconds each way: {over} {upto}");
    }
}
