//! The store: each step of `LeaseStore` is a transaction.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use locks::backend::{
    AcquisitionId, BackendInfo, BootClock, Capabilities, Claimed, Clock, Exclusion, LeaseClaim,
    LeaseEnd, LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore, Op, Query, Renewed, TokenScope,
    WaiterOrder, Wake,
};
use locks::{LockError, LostCause};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::claim::claim;
use crate::rows::{Row, nanos, rows};

/// Times are nanoseconds on the machine's clock, which starts anew with it: holds of another boot
/// are void, and only the counter of tokens remains. It is one for all keys, as sets of keys need.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS locks (
        key TEXT NOT NULL, id TEXT NOT NULL,
        token INTEGER NOT NULL,     -- 0: it waits
        units INTEGER NOT NULL,     -- -1 exclusive, 0 shared, n: one of n permits
        since INTEGER NOT NULL,     -- granted, refreshed; for those who wait, asked for
        ends INTEGER NOT NULL,      -- of the lease, or of a place that is not asked for again
        ends_by INTEGER NOT NULL,   -- of `hold_at_most`
        reserved INTEGER NOT NULL,  -- until when; negative: only if it is released so
        called INTEGER,             -- a place whose turn it is, since when
        client TEXT NOT NULL, note TEXT NOT NULL,
        PRIMARY KEY (key, id)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS locks_by_id ON locks (id);
    CREATE TABLE IF NOT EXISTS machine (one INTEGER PRIMARY KEY, boot TEXT, token INTEGER);
    INSERT OR IGNORE INTO machine VALUES (1, '', 0);
";

/// How long one whose turn it is has to claim.
pub(crate) const GRACE: i64 = 250_000_000;

pub(crate) struct SqliteStore {
    about: BackendInfo,
    connection: Mutex<Connection>,
    /// The name of this client of the table.
    client: String,
}

impl SqliteStore {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        // A step blocks whoever takes it, so it has to end soon; see the contract of `LeaseStore`.
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Tokens may not go back, also if the machine loses power.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(SCHEMA)?;
        if step.execute("UPDATE machine SET boot = ?1 WHERE boot <> ?1", [boot])? > 0 {
            step.execute("DELETE FROM locks", [])?;
        }
        step.commit()?;
        let mut can = Capabilities::plain(Exclusion::Lease, TokenScope::Durable);
        can.order = WaiterOrder::All;
        (can.shared, can.permits, can.several_keys) = (true, true, true);
        (can.steal, can.bounds, can.evict) = (true, true, true);
        (can.listing, can.ages) = (true, true);
        let about = BackendInfo::new(format!("sqlite:{}", path.display()), can);
        let client = AcquisitionId::unique().to_string();
        Ok(Self { about, connection: Mutex::new(connection), client })
    }

    /// One atomic step; on the machine's clock, which goes on while it sleeps.
    fn step<T>(&self, act: impl FnOnce(&Transaction<'_>, i64) -> Result<T, Refused>) -> Op<'_, T> {
        let mut connection = self.connection();
        let run = || {
            // Takes the write lock first: what is read below is still true when it is written.
            let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let now = nanos(Duration::from_nanos(BootClock.now().nanos()));
            step.execute(
                "DELETE FROM locks WHERE max(ends, reserved) <= ?1 OR called + ?2 <= ?1",
                [now, GRACE],
            )?;
            let outcome = act(&step, now)?;
            step.commit()?;
            Ok(outcome)
        };
        Op::Now(run().map_err(|refused| match refused {
            Refused::ByTable(error) => LockError::unavailable(&self.about.name, error),
            Refused::ByStore(error) => error,
        }))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a step was not taken.
pub(crate) enum Refused {
    ByTable(rusqlite::Error),
    ByStore(LockError),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Refused::ByTable(error)
    }
}

impl LeaseStore for SqliteStore {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, asked: &'a LeaseClaim) -> Op<'a, Claimed> {
        self.step(|step, now| claim(step, now, asked, &self.client))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let renew = |step: &Transaction<'_>, now, renewal: &LeaseRenewal| {
            let (id, ends) = (renewal.id.to_string(), now + nanos(renewal.lease));
            // Keys of the set that have ended before are not there any more, or reserved.
            let held = "SELECT count(*) FROM locks WHERE id = ?1 AND token > 0 AND ends > ?2";
            let held: i64 = step.query_row(held, params![id, now], |row| row.get(0))?;
            if (held as usize) < renewal.keys.len() {
                return Ok(Renewed::Gone(LostCause::Forgotten));
            }
            step.execute(
                "UPDATE locks SET ends = min(?3, ends_by), since = iif(?4, ?2, since)
                 WHERE id = ?1 AND token > 0 AND ends > ?2",
                params![id, now, ends, renewal.refresh],
            )?;
            Ok(Renewed::Kept)
        };
        self.step(|step, now| renewals.iter().map(|renewal| renew(step, now, renewal)).collect())
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        self.step(|step, now| {
            let id = ending.id.to_string();
            let mut ended = 0;
            for key in &ending.keys {
                // Released: what is reserved stays until then, held by nobody.
                ended += match ending.how {
                    LeaseEnd::Release { reserve: true } => step.execute(
                        "UPDATE locks SET ends = ?3, reserved = abs(reserved) WHERE key = ?1 AND id = ?2 AND ends > ?3",
                        params![key, id, now],
                    )?,
                    _ => step.execute(
                        "DELETE FROM locks WHERE key = ?1 AND id = ?2",
                        params![key, id],
                    )?,
                };
                if let Some(waited) = ending.next {
                    // A place for a request of this client, until that claims itself.
                    step.execute(
                        "INSERT OR REPLACE INTO locks
                         VALUES (?1, ?2, 0, -1, ?3, ?4, 0, 0, NULL, ?2, '')",
                        params![key, self.client, now - nanos(waited), now + GRACE],
                    )?;
                }
            }
            Ok(ended > 0)
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        self.step(|step, now| {
            // A place that is kept for a client is no request of anybody's yet.
            let found = rows(step, "id <> client", &[])?;
            let found = found.iter().map(|row: &Row| row.entry(now));
            Ok(found.filter(|entry| query.matches(&entry.key)).collect())
        })
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None // SQLite does not tell other processes; waiters look from time to time.
    }
}
