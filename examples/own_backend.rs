//! A backend of one's own: locks in a table of an SQLite database, shared by all processes of a
//! machine that open it. A store has five steps; the rest comes from `Leased`.
//!
//! `cargo run --example own_backend --features sqlite` counts to 200 with two processes.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use locks::backend::{
    About, BootClock, Capabilities, Claimed, Clock, EntryState, Exclusion, LeaseClaim, LeaseEnd,
    LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore, Leased, Op, Query, Refusal, Renewed,
    TokenScope, Wake,
};
use locks::{Backend, LockError, LostCause, Mode, Token};
use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params,
};

/// Times are nanoseconds on the machine's clock, which starts anew with it: holds of another
/// boot are void, and only the counter of tokens remains.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS locks (
        id TEXT PRIMARY KEY, key TEXT NOT NULL, token INTEGER NOT NULL, shared INTEGER NOT NULL,
        since INTEGER NOT NULL, lease_ends INTEGER NOT NULL, reserved INTEGER NOT NULL,
        note TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS locks_of_key ON locks (key);
    CREATE TABLE IF NOT EXISTS machine (one INTEGER PRIMARY KEY, boot TEXT, token INTEGER);
    INSERT OR IGNORE INTO machine VALUES (1, '', 0);
";

struct SqliteStore {
    about: About,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    fn open(path: &Path) -> rusqlite::Result<Self> {
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
        (can.shared, can.steal, can.bounds) = (true, true, true);
        (can.listing, can.evict, can.ages) = (true, true, true);
        let about = About::new(format!("sqlite:{}", path.display()), can);
        Ok(Self { about, connection: Mutex::new(connection) })
    }

    /// One atomic step; on the machine's clock, which goes on while it sleeps.
    fn step<T>(&self, act: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<T>) -> Op<'_, T> {
        let mut connection = self.connection();
        let run = || {
            // Takes the write lock first: what is read below is still true when it is written.
            let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = act(&step, nanos(Duration::from_nanos(BootClock.now().nanos())))?;
            step.commit()?;
            Ok(outcome)
        };
        let failed = |error: rusqlite::Error| LockError::unavailable(&self.about.name, error);
        Op::Now(run().map_err(failed))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseStore for SqliteStore {
    fn about(&self) -> &About {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        self.step(|step, now| {
            step.execute("DELETE FROM locks WHERE max(lease_ends, reserved) <= ?1", [now])?;
            // Claimed before, and the answer was lost: the same answer.
            let again = "SELECT token FROM locks WHERE id = ?1 AND lease_ends > ?2";
            let id = claim.id.to_string();
            if let Some(token) = step.query_row(again, params![id, now], number).optional()? {
                return Ok(Claimed::Granted(Token::new(token.unsigned_abs())));
            }
            let shared = claim.mode == Mode::Shared;
            let in_the_way = entries(
                step,
                now,
                "key = ?2 AND NOT (?3 AND shared AND lease_ends > ?1)",
                &[&now, &claim.keys[0], &shared],
            )?;
            // All of them or none, and nothing that is reserved.
            let steals = in_the_way.iter().all(|(entry, reserved_until)| {
                entry.state == EntryState::Held
                    && *reserved_until <= now
                    && claim.steal_after.is_some_and(|after| entry.age >= Some(after))
            });
            if !steals {
                let entries = in_the_way.into_iter().map(|(entry, _)| entry);
                return Ok(Claimed::Refused(Refusal::new(entries.collect())));
            }
            for (victim, _) in in_the_way {
                step.execute("DELETE FROM locks WHERE id = ?1", [victim.id.to_string()])?;
            }
            let next = "UPDATE machine SET token = token + 1 RETURNING token";
            let token = step.query_row(next, [], number)?;
            let lease_ends = now + nanos(claim.lease);
            let reserved = now + nanos(claim.hold_at_least.unwrap_or_default());
            step.execute(
                "INSERT INTO locks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![id, claim.keys[0], token, shared, now, lease_ends, reserved, claim.note],
            )?;
            Ok(Claimed::Granted(Token::new(token.unsigned_abs())))
        })
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let renew = |step: &Transaction<'_>, now, renewal: &LeaseRenewal| {
            let kept = step.execute(
                "UPDATE locks SET lease_ends = ?3, since = iif(?4, ?2, since)
                 WHERE id = ?1 AND lease_ends > ?2",
                params![renewal.id.to_string(), now, now + nanos(renewal.lease), renewal.refresh],
            )?;
            Ok(if kept == 1 { Renewed::Kept } else { Renewed::Gone(LostCause::Forgotten) })
        };
        self.step(|step, now| renewals.iter().map(|renewal| renew(step, now, renewal)).collect())
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        self.step(|step, now| {
            // Released: what is reserved stays until then, held by nobody.
            let change = match ending.how {
                LeaseEnd::Release { reserve: true } => {
                    "UPDATE locks SET lease_ends = ?2 WHERE id = ?1 AND lease_ends > ?2"
                }
                _ => "DELETE FROM locks WHERE id = ?1 AND max(lease_ends, reserved) > ?2",
            };
            Ok(step.execute(change, params![ending.id.to_string(), now])? == 1)
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        self.step(|step, now| {
            let found = entries(step, now, "max(lease_ends, reserved) > ?1", &[&now])?;
            let found = found.into_iter().map(|(entry, _)| entry);
            Ok(found.filter(|entry| query.matches(&entry.key)).collect())
        })
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None // SQLite does not tell other processes; waiters look from time to time.
    }
}

/// The rows that `condition` picks, as entries, each with the end of its reservation.
fn entries(
    step: &Transaction<'_>,
    now: i64,
    condition: &str,
    values: &[&dyn ToSql],
) -> rusqlite::Result<Vec<(LeaseEntry, i64)>> {
    let mut select = step.prepare_cached(&format!("SELECT * FROM locks WHERE {condition}"))?;
    let entry = |row: &Row<'_>| {
        let (lease_ends, reserved) = (row.get("lease_ends")?, row.get::<_, i64>("reserved")?);
        let until = |end: i64| Duration::from_nanos(end.saturating_sub(now).max(0) as u64);
        let id = row.get::<_, String>("id")?.parse().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
        })?;
        let token = Token::new(row.get::<_, i64>("token")?.unsigned_abs());
        let key = row.get::<_, String>("key")?;
        let mut entry = LeaseEntry::new(key, id, token, until(lease_ends));
        if lease_ends <= now {
            (entry.state, entry.ends_in) = (EntryState::Reserved, until(reserved));
        }
        entry.mode = if row.get("shared")? { Mode::Shared } else { Mode::Exclusive };
        entry.age = Some(Duration::from_nanos((now - row.get::<_, i64>("since")?) as u64));
        entry.note = row.get("note")?;
        Ok((entry, reserved))
    };
    select.query_map(values, entry)?.collect()
}

fn number(row: &Row<'_>) -> rusqlite::Result<i64> {
    row.get(0)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 2)
}

fn open(path: &Path) -> rusqlite::Result<Backend> {
    let store = SqliteStore::open(path)?;
    Ok(Leased::builder(store).lease(Duration::from_secs(5)).build().into_backend())
}

fn main() -> Result<(), Box<dyn Error>> {
    const STEPS: i64 = 100;
    if let Some(path) = std::env::args_os().nth(1) {
        return count(Path::new(&path), STEPS);
    }
    let directory = std::env::temp_dir().join(format!("locks-own-backend-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("locks.db");
    let books = Connection::open(directory.join("books.db"))?;
    books.execute_batch("CREATE TABLE books (total INTEGER); INSERT INTO books VALUES (0);")?;

    let backend = open(&path)?;
    let guard = backend.named("books").acquire()?;
    println!("held here, with token {}", guard.token());
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(Command::new(std::env::current_exe()?).arg(&path).spawn()?);
    }
    drop(guard);
    for mut child in children {
        assert!(child.wait()?.success());
    }
    let total = books.query_row("SELECT total FROM books", [], number)?;
    println!("two processes counted to {total}");
    assert_eq!(total, 2 * STEPS, "an update was lost");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Reads the total and writes it back one greater: right only if nobody else does meanwhile.
fn count(path: &Path, steps: i64) -> Result<(), Box<dyn Error>> {
    let backend = open(path)?;
    let books = Connection::open(path.with_file_name("books.db"))?;
    if let Err(error) = backend.named("books").wait(false).acquire() {
        println!("process {} has to wait: {error}", std::process::id());
    }
    for _ in 0..steps {
        let guard = backend.named("books").acquire()?;
        let total = books.query_row("SELECT total FROM books", [], number)?;
        guard.check()?;
        books.execute("UPDATE books SET total = ?1", [total + 1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! The conformance kit, also with a rival that opens the same file and with other processes.

    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use locks::conformance::{Fixture, serve};

    use super::*;

    const PATH: &str = "OWN_BACKEND_TEST_PATH";

    struct File {
        directory: PathBuf,
        ours: Backend,
        theirs: Backend,
    }

    fn client(path: &Path) -> Backend {
        let store = SqliteStore::open(path).expect("the file can be opened");
        Leased::builder(store).poll(Duration::from_millis(10)).build().into_backend()
    }

    fn fresh() -> File {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-own-backend-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        let path = directory.join("locks.db");
        File { ours: client(&path), theirs: client(&path), directory }
    }

    impl Fixture for File {
        fn backend(&self) -> Backend {
            self.ours.clone()
        }

        fn tick(&self) -> Duration {
            Duration::from_millis(25)
        }

        fn rival(&self) -> Option<Backend> {
            Some(self.theirs.clone())
        }

        fn child(&self) -> Option<Command> {
            let mut child = Command::new(std::env::current_exe().ok()?);
            child.args(["--exact", "tests::serve_the_kit", "--nocapture"]);
            child.env(PATH, self.directory.join("locks.db"));
            Some(child)
        }

        fn restart(&self) -> Option<Backend> {
            Some(client(&self.directory.join("locks.db")))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            // On some systems it cannot be removed while it is open; it is temporary anyway.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    /// The other end of [`Fixture::child`]; as a test of its own it has nothing to do.
    #[test]
    fn serve_the_kit() {
        if let Some(path) = std::env::var_os(PATH) {
            serve(&client(Path::new(&path))).expect("the kit listens");
        }
    }

    locks::conformance!(sqlite, fresh);
}
