//! The store: each step one statement.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use locks_core::{
    BackendInfo, Claimed, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeaseRenewal,
    LeaseStore, LockError, Mode, Op, Query, Renewed, Reserve, Wake, WakeSink,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::Durability;
use super::fault::During;
use super::reply;
use super::statements::{self, Step, Value};
use super::target::{HintsBy, PostgresServer, failed};
use crate::link::{Link, Links, SILENCE, renewal_silence};

/// The locks of one schema.
pub(super) struct PostgresStore {
    pub(super) about: BackendInfo,
    pub(super) links: Arc<Links<PostgresServer>>,
    /// The longest lease of the schema, which all of its clients agree on.
    pub(super) longest: Duration,
    /// Whether the schema, if it was just made, is not one that was dropped.
    pub(super) fresh: bool,
}

/// A duration as functions take it.
fn micros(duration: Duration) -> i64 {
    // More than a century is for ever; sums stay far from the end of what they calculate with.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).min(4_000_000_000_000_000)
}

/// A bound that may be left out: `0`.
fn bound(most: Option<Duration>) -> i64 {
    // One of less than a microsecond is a bound all the same.
    most.map_or(0, |most| micros(most).max(1))
}

/// A duration that may be left out: `-1`.
fn optional(duration: Option<Duration>) -> i64 {
    duration.map_or(-1, micros)
}

/// A mode as functions take it.
fn mode(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => 0,
        Mode::Shared => -1,
        Mode::Permit { of, .. } => of.into(),
    }
}

impl PostgresStore {
    /// Sends a step, and has `parse` make sense of its rows, on the driver.
    fn step<'a, T: Send + 'static>(
        &self,
        step: Step,
        values: Vec<Value>,
        parse: impl FnOnce(&[Row]) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'a, T> {
        self.step_within(SILENCE, step, values, parse)
    }

    /// As [`step`](Self::step); without an answer in that time the connection is given up.
    fn step_within<'a, T: Send + 'static>(
        &self,
        silence: Duration,
        step: Step,
        mut values: Vec<Value>,
        parse: impl FnOnce(&[Row]) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'a, T> {
        let during = if step == Step::Claim { During::Claim } else { During::Upkeep };
        self.links.drive(async move |link: Arc<Link<PostgresServer>>| {
            let connected = link.connected().await?;
            if step == Step::Claim {
                values.push(Box::new(micros(link.trip.grace())));
            }
            let (client, texts) = (&connected.session.client, &link.target.texts);
            let sent = Instant::now();
            let asked =
                statements::call(client, texts, connected.statements.as_deref(), step, &values);
            let answered = link.answer(connected.number(), silence, "a step", asked).await?;
            link.trip.took(sent.elapsed());
            let rows = answered.map_err(|error| failed(&link, &connected, &error, during))?;
            parse(&rows).map_err(|error| error.with_backend(&link.name))
        })
    }
}

/// The one value of an answer.
fn only<T>(rows: &[Row]) -> Result<T, LockError>
where
    T: for<'r> FromSql<'r>,
{
    let row = rows.first().ok_or_else(reply::unintelligible)?;
    row.try_get(0).map_err(|_| reply::unintelligible())
}

impl LeaseStore for PostgresStore {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let (name, longest) = (&self.about.name, self.longest);
        if claim.lease > longest {
            let text = format!(
                "`{name}` has leases of at most {longest:?}: a longer one is set by `?lease=` in the \
                 URL, for all clients of the schema alike"
            );
            return Op::failed(LockError::new(ErrorKind::LimitExceeded, "").with_message(text));
        }
        let (waited, keep) = match claim.place {
            Some(place) => (micros(place.waited), micros(place.keep)),
            None => (-1, 0),
        };
        let none = Duration::ZERO;
        let values: Vec<Value> = vec![
            Box::new(claim.keys.clone()),
            Box::new(claim.id.to_string()),
            Box::new(self.links.of_this_process().client.clone()),
            Box::new(mode(claim.mode)),
            Box::new(claim.note.clone()),
            Box::new(micros(claim.lease)),
            Box::new(optional(claim.steal_after)),
            Box::new(match claim.reserve {
                Reserve::Always => micros(claim.hold_at_least.unwrap_or(none)),
                Reserve::IfDone => -micros(claim.hold_at_least.unwrap_or(none)),
            }),
            Box::new(bound(claim.hold_at_most)),
            Box::new(waited),
            Box::new(keep),
            Box::new(micros(longest)),
            Box::new(self.fresh),
            Box::new(self.links.target.durability == Durability::Replicated),
        ];
        let keys = claim.keys.clone();
        self.step(Step::Claim, values, move |rows| {
            reply::claimed(&only::<Vec<String>>(rows)?, &keys)
        })
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let keys = renewals.iter().flat_map(|renewal| renewal.keys.iter().cloned());
        let ids = renewals.iter().map(|renewal| renewal.id.to_string());
        let leases = renewals.iter().map(|renewal| micros(renewal.lease));
        let refresh = renewals.iter().map(|renewal| renewal.refresh);
        let count = |renewal: &LeaseRenewal| i32::try_from(renewal.keys.len()).unwrap_or(i32::MAX);
        let values: Vec<Value> = vec![
            Box::new(ids.collect::<Vec<_>>()),
            Box::new(leases.collect::<Vec<_>>()),
            Box::new(refresh.collect::<Vec<_>>()),
            Box::new(renewals.iter().map(count).collect::<Vec<_>>()),
            Box::new(keys.collect::<Vec<_>>()),
        ];
        self.step_within(renewal_silence(renewals), Step::Renew, values, |rows| {
            reply::renewed(&only::<Vec<i32>>(rows)?)
        })
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let how = match ending.how {
            LeaseEnd::Release { reserve: false } => 0,
            LeaseEnd::Release { reserve: true } => 1,
            LeaseEnd::Remove => 2,
            _ => {
                let name = &self.about.name;
                return Op::failed(LockError::unsupported(name, "this end", ""));
            }
        };
        let values: Vec<Value> = vec![
            Box::new(ending.keys.clone()),
            Box::new(ending.id.to_string()),
            Box::new(self.links.of_this_process().client.clone()),
            Box::new(how),
            Box::new(optional(ending.next)),
        ];
        self.step(Step::End, values, only::<bool>)
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let (exact, prefix) = match query {
            Query::Key(key) => (Some(key.clone()), String::new()),
            Query::Prefix(prefix) => (None, prefix.clone()),
            _ => (None, String::new()),
        };
        let values: Vec<Value> = vec![Box::new(exact), Box::new(prefix)];
        self.step(Step::List, values, |rows| rows.iter().map(reply::listed).collect())
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }

    fn subscribe(&self, sink: WakeSink) -> bool {
        !matches!(self.links.target.hints, HintsBy::Polling) && self.links.subscribe(sink)
    }

    fn leases(&self) -> RangeInclusive<Duration> {
        Duration::ZERO..=self.longest
    }

    fn served_by(&self) -> Option<String> {
        self.links.served_by("PostgreSQL ")
    }

    fn works_in_children(&self) -> bool {
        true
    }
}
