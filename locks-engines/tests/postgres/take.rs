//! `locks.take` in the transactions of other programs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use locks_core::Backend;

use super::server::{schema, shared};

/// A session of `psql`.
struct Psql {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Psql {
    fn start() -> Self {
        let mut command = shared().psql();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("`psql` runs");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    fn says(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// Carries out what has no answer.
    fn does(&mut self, sql: &str) {
        assert_eq!(self.says(&format!("{sql}; SELECT 'done';")), "done");
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(schema: &str) -> Backend {
    shared().builder().schema(schema).build().expect("a client").into_backend()
}

#[test]
fn a_transaction_takes_a_key_until_it_ends() {
    let schema = schema();
    let ours = client(&schema);
    drop(ours.named("k").acquire().unwrap());
    let take = format!("SELECT \"{schema}\".take('k');");
    for end in ["COMMIT", "ROLLBACK"] {
        let mut psql = Psql::start();
        psql.does("BEGIN");
        assert_eq!(psql.says(&take), "t");
        assert_eq!(psql.says(&take), "t", "once more in the same transaction");
        let error = ours.named("k").wait(false).acquire().unwrap_err();
        assert!(error.is_contended(), "{error}");
        let holders = error.holders().iter().map(|holder| (holder.party.pid, holder.token));
        assert_eq!(holders.collect::<Vec<_>>(), [(None, None)], "{error}");
        assert!(error.to_string().contains("a transaction"), "{error}");
        assert!(!error.to_string().contains("token"), "it has none: {error}");
        // The table of holds has nothing of it.
        assert!(ours.list().unwrap().is_empty());
        assert!(ours.all(["a", "k"]).wait(false).acquire().unwrap_err().is_contended());
        let mut other = Psql::start();
        assert_eq!(other.says(&take), "f");
        drop(ours.named("another").wait(false).acquire().unwrap());
        let waiter = std::thread::spawn({
            let ours = ours.clone();
            move || drop(ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap())
        });
        psql.does(end);
        waiter.join().unwrap();
    }
}

#[test]
fn a_transaction_does_not_get_what_is_held_or_waited_for() {
    let schema = schema();
    let (ours, theirs) = (client(&schema), client(&schema));
    let take = format!("SELECT \"{schema}\".take('k');");
    let guard = ours.named("k").shared().acquire().unwrap();
    let mut psql = Psql::start();
    psql.does("BEGIN");
    assert_eq!(psql.says(&take), "f");
    // The transaction is as good as before.
    assert_eq!(psql.says("SELECT current_setting('lock_timeout');"), "0");
    let waiter = std::thread::spawn(move || theirs.named("k").acquire().unwrap().into_owned());
    super::support::until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    drop(guard);
    let held = waiter.join().unwrap();
    assert_eq!(psql.says(&take), "f");
    held.release().unwrap();
    assert_eq!(psql.says(&take), "t");
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
    psql.does("COMMIT");
    drop(ours.named("k").wait(false).acquire().unwrap());
    // Free, but called for somebody who waits.
    let version = shared().sql(&format!(
        "SELECT substring(proname FROM 6) FROM pg_proc WHERE proname LIKE 'claim\\_%' \
         AND pronamespace = '\"{schema}\"'::regnamespace"
    ));
    let claim = |id| {
        format!(
            "SELECT count(\"{schema}\".claim{version}('{{w}}', '{id}', '{id}', 0, '', 10000000, -1, 0, 0, 0, \
             3000000, 10000000, false, false, 0));"
        )
    };
    psql.says(&claim("1"));
    psql.says(&claim("2"));
    let then =
        format!("\"{schema}\".end{version}('{{w}}', '1', '1', 0, -1), \"{schema}\".take('w')");
    assert_eq!(psql.says(&format!("SELECT {then};")), "t|f");
}

#[test]
fn a_transaction_with_an_old_snapshot_is_refused_by_name() {
    let schema = schema();
    drop(client(&schema).named("k").acquire().unwrap());
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let sql = format!("BEGIN ISOLATION LEVEL {level}; SELECT \"{schema}\".take('k');");
        let error = shared().try_sql(&sql).unwrap_err();
        assert!(error.contains("READ COMMITTED"), "{error}");
    }
    let error = shared().try_sql(&format!("SELECT \"{schema}\".take('')")).unwrap_err();
    assert!(error.contains("1 to 1024 bytes"), "{error}");
}
