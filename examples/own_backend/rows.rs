//! The rows of the table.

use std::time::Duration;

use locks::backend::{AcquisitionId, EntryState, LeaseEntry};
use locks::{Mode, Token};
use rusqlite::types::Type;
use rusqlite::{ToSql, Transaction};

/// A hold, a reservation or a place in the queue.
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) token: i64,
    pub(crate) mode: Mode,
    pub(crate) since: i64,
    pub(crate) ends: i64,
    pub(crate) reserved: i64,
    name: AcquisitionId,
    note: String,
}

/// The rows that `condition` picks, the oldest first.
pub(crate) fn rows(
    step: &Transaction<'_>,
    condition: &str,
    values: &[&dyn ToSql],
) -> rusqlite::Result<Vec<Row>> {
    let text = format!("SELECT * FROM locks WHERE {condition} ORDER BY since");
    let mut select = step.prepare_cached(&text)?;
    let read = |row: &rusqlite::Row<'_>| {
        let id: String = row.get("id")?;
        let name = id.parse().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
        })?;
        Ok(Row {
            key: row.get("key")?,
            id,
            token: row.get("token")?,
            mode: mode(row.get("units")?),
            since: row.get("since")?,
            ends: row.get("ends")?,
            reserved: row.get("reserved")?,
            name,
            note: row.get("note")?,
        })
    };
    select.query_map(values, read)?.collect()
}

impl Row {
    pub(crate) fn waits(&self) -> bool {
        self.token == 0
    }

    pub(crate) fn is_held(&self, now: i64) -> bool {
        !self.waits() && self.ends > now
    }

    /// Whether it keeps a request from what it asks for. Permits count each other.
    pub(crate) fn bars(&self, asked: Mode, now: i64) -> bool {
        let exclusive = asked == Mode::Exclusive || self.mode == Mode::Exclusive;
        !self.waits() && (exclusive || permits(asked).is_some() || !self.is_held(now))
    }

    pub(crate) fn entry(&self, now: i64) -> LeaseEntry {
        let until = |end: i64| Duration::from_nanos((end - now).max(0).unsigned_abs());
        let token = Token::new(self.token.unsigned_abs());
        let mut entry = LeaseEntry::new(&*self.key, self.name, token, until(self.ends));
        if self.waits() {
            entry.state = EntryState::Waiting;
        } else if !self.is_held(now) {
            (entry.state, entry.ends_in) = (EntryState::Reserved, until(self.reserved));
        }
        entry.mode = self.mode;
        entry.age = Some(until(now + now - self.since));
        entry.note.clone_from(&self.note);
        entry
    }
}

pub(crate) fn permits(mode: Mode) -> Option<u32> {
    if let Mode::Permit { of, .. } = mode { Some(of) } else { None }
}

pub(crate) fn units(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => -1,
        Mode::Shared => 0,
        Mode::Permit { of, .. } => of.into(),
    }
}

fn mode(units: i64) -> Mode {
    match u32::try_from(units) {
        Ok(0) => Mode::Shared,
        Ok(of) => Mode::Permit { take: 1, of },
        Err(_) => Mode::Exclusive,
    }
}

pub(crate) fn nanos(duration: Duration) -> i64 {
    // So small that two of them can be added to a time.
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
