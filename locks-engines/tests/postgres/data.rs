//! Servers that lose what they have acknowledged (row 48), and those that lose nothing.

use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, Guard, LockError};
use locks_engines::postgres::Durability;

use super::server::{CARELESS, Server, builder, schema, shared};
use super::support::process::Directory;
use super::support::until;

const LEASE: Duration = Duration::from_secs(2);

fn client(server: &Server) -> Backend {
    server.builder().lease(LEASE).build().expect("a client").into_backend()
}

fn take(backend: &Backend, wait: Duration) -> Result<Guard, LockError> {
    backend.named("k").wait(wait).acquire()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn row_31_a_server_that_was_killed_grants_nothing_for_a_lease_and_goes_on_above() {
    let mut server = Server::start_with(&[]);
    let ours = client(&server);
    let guard = take(&ours, LONG).unwrap();
    server.kill();
    server.start_again();
    let started = Instant::now();
    let theirs = client(&server);
    let error = theirs.named("other").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.until().is_some(), "{error:?}");
    let error = server.try_sql("SELECT locks.take('other')").unwrap_err();
    assert!(error.contains("nothing is granted for another"), "{error}");
    let next = take(&theirs, LONG).unwrap();
    assert!(started.elapsed() + Duration::from_millis(300) >= LEASE);
    assert!(guard.is_lost(), "its holder has heard of it by then");
    assert!(next.token() > guard.token(), "{} after {}", next.token(), guard.token());
    drop(next);
    drop(take(&ours, LONG).expect("the first client is back as well"));
}

#[test]
fn a_server_that_was_stopped_and_started_has_lost_nothing() {
    let mut server = Server::start_with(&[]);
    let ours = server.builder().lease(LONG).build().unwrap().into_backend();
    let guard = take(&ours, LONG).unwrap();
    server.stop();
    server.start_again();
    let theirs = server.builder().lease(LONG).build().unwrap().into_backend();
    let error = theirs.named("k").wait(false).acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
    until(|| guard.refresh().is_ok());
    let other = theirs.named("other").wait(false).acquire().unwrap();
    assert!(other.token() > guard.token());
    guard.release().unwrap();
}

/// What a clock that was an hour ahead has written, when it is right again: the epoch, a hold whose
/// process is gone, and one at the head of the queue that was called and does not come.
#[test]
fn a_clock_that_was_ahead_and_is_put_right_costs_a_lease() {
    let (server, schema) = (shared(), schema());
    let client = || {
        let builder = server.builder().schema(&schema).lease(LEASE);
        builder.build().expect("a client").into_backend()
    };
    let ours = client();
    drop(take(&ours, LONG).unwrap());
    let change = |text: &str| server.sql(&text.replace("locks.", &format!("{schema}.")));
    let hour = 3_600_000_000_i64;
    change(&format!(
        "UPDATE locks.epoch SET fresh = fresh + {hour}; UPDATE locks.epoch SET writer = xmin::text"
    ));
    let taken = server.try_sql(&format!("SELECT {schema}.take('k')")).unwrap_err();
    assert!(taken.contains("no client of locks has asked"), "{taken}");
    drop(take(&ours, LONG).unwrap());
    assert_eq!(change("SELECT locks.take('k')"), "t");

    let now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let dead = |key: &str, columns: &str, values: &str| {
        let id = "repeat('1', 32)";
        change(&format!(
            "INSERT INTO locks.entry (key, id, ends, {columns}) \
             VALUES ('{key}', {id}, {now} + {hour}, {values})"
        ));
    };
    dead("k", "kind, since", &format!("'h', {now} + {hour}"));
    dead("began before", "kind, since", &format!("'h', {now} - 1000000"));
    dead("queue", "kind, since, called", &format!("'w', {now} - 1000000, {now} + {hour}"));
    dead(
        "reserved",
        "kind, since, reserved",
        &format!("'h', {now} + {hour}, {now} + {hour} + 1000000"),
    );
    for key in ["k", "began before", "queue", "reserved"] {
        let guard = ours.named(key).wait(LONG).acquire();
        guard.unwrap_or_else(|error| panic!("{key}: {error}")).release().unwrap();
    }
    // And those who are young can be robbed at their time.
    dead("k", "kind, since", &format!("'h', {now} + {hour}"));
    let thief = client();
    let thief = thief.named("k").wait(LONG).steal_after(Duration::from_millis(1)).acquire();
    drop(thief.expect("it has an age"));
}

/// Keys that are asked for once each leave nothing behind for ever: a reservation that is over, or
/// the hold of a process that died.
#[test]
fn what_is_over_is_swept_though_nobody_asks_for_it() {
    let server = shared();
    let schema = schema();
    let ours = builder(server.port).schema(&schema).build().unwrap().into_backend();
    drop(ours.named("m").acquire().unwrap());
    let rows = |when: &str| {
        let rows = format!("SELECT count(*) FROM {schema}.entry WHERE {when}");
        server.sql(&rows)
    };
    server.sql(&format!(
        "INSERT INTO {schema}.entry (key, kind, id, ends, reserved) \
         SELECT chr(97 + n % 26) || n, 'h', repeat('0', 32), 1, 1 FROM generate_series(1, 300) n; \
         INSERT INTO {schema}.entry (key, kind, id, ends) VALUES ('a', 'h', repeat('1', 32), 9000000000000000)"
    ));
    assert_eq!(rows("ends = 1"), "300");
    for _ in 0..32 * 12 {
        ours.named("m").acquire().unwrap().release().unwrap();
    }
    assert_eq!(rows("ends = 1"), "0");
    assert_eq!(rows("true"), "1", "what is held stays");
}

#[test]
fn a_thief_is_told_whom_it_has_robbed() {
    let schema = schema();
    let client = || builder(shared().port).schema(&schema).build().unwrap().into_backend();
    let victim = client().named("k").label("batch 7").acquire().unwrap();
    let thief = client().named("k").steal_after(Duration::from_millis(1)).acquire().unwrap();
    let robbed = thief.stolen_from();
    assert_eq!(robbed.len(), 1, "{robbed:?}");
    assert_eq!(robbed[0].token, Some(victim.token()), "{robbed:?}");
    assert_eq!(robbed[0].label.as_deref(), Some("batch 7"), "{robbed:?}");
}

#[test]
fn what_is_durable_stands_after_a_crash() {
    let mut server = Server::start_with(&[]);
    let client = |server: &Server| {
        let builder = server.builder().schema("kept").lease(LONG).durability(Durability::Logged);
        builder.build().unwrap().into_backend()
    };
    let guard = take(&client(&server), LONG).unwrap();
    server.kill();
    server.start_again();
    let error = client(&server).named("k").wait(false).acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
    until(|| guard.refresh().is_ok());
    let other = client(&server).named("other").wait(false).acquire().unwrap();
    assert!(other.token() > guard.token());
}

/// A primary, and a standby that is cut off before the primary grants once more. Returns that
/// grant, and what a counter in a row of its own has given out with it: the naive token.
fn diverged(make: impl Fn(&Server) -> Backend) -> (Server, Server, Guard, String) {
    let primary = Server::start_with(&CARELESS);
    primary.sql("CREATE TABLE naive (n bigint); INSERT INTO naive VALUES (0)");
    let naive = "UPDATE naive SET n = n + 1 RETURNING n";
    let ours = make(&primary);
    drop(take(&ours, LONG).unwrap());
    primary.sql(naive);
    let standby = primary.standby(&CARELESS);
    let now = primary.sql("SELECT pg_current_wal_lsn()");
    until(|| standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{now}'")) == "t");
    standby.sql("ALTER SYSTEM SET primary_conninfo = ''");
    standby.sql("SELECT pg_reload_conf()");
    until(|| standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    let lost = take(&ours, LONG).unwrap();
    let number = primary.sql(naive);
    (primary, standby, lost, number)
}

#[test]
fn row_48_a_standby_that_is_promoted_refuses_for_a_lease_and_goes_on_above() {
    let (primary, standby, lost, number) = diverged(client);
    let at_standby = client(&standby);
    until(|| {
        let error = take(&at_standby, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        error.to_string().contains("standby")
    });

    primary.kill();
    let killed = Instant::now();
    standby.promote();
    let theirs = client(&standby);
    let error = theirs.named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let next = take(&theirs, LONG).unwrap();
    assert!(killed.elapsed() >= LEASE, "the lost grant may still have been held");
    assert!(lost.is_lost(), "its holder has heard of it by then");
    assert!(next.token() > lost.token(), "{} after {}", next.token(), lost.token());
    let naive = standby.sql("UPDATE naive SET n = n + 1 RETURNING n");
    assert_eq!(naive, number, "the naive counter repeats its number");
}

#[test]
fn row_48_a_standby_refuses_also_where_rows_are_logged() {
    let logged = |server: &Server| {
        let builder = server.builder().lease(LEASE).durability(Durability::Logged);
        builder.build().unwrap().into_backend()
    };
    // Rows that are logged need `fsync`, or they would not stand.
    let settings: [&str; 0] = [];
    let primary = Server::start_with(&settings);
    let ours = logged(&primary);
    drop(take(&ours, LONG).unwrap());
    let standby = primary.standby(&settings);
    let now = primary.sql("SELECT pg_current_wal_lsn()");
    until(|| standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{now}'")) == "t");
    standby.sql("ALTER SYSTEM SET primary_conninfo = ''");
    standby.sql("SELECT pg_reload_conf()");
    until(|| standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    let lost = take(&ours, LONG).unwrap();
    primary.kill();
    let killed = Instant::now();
    standby.promote();
    let next = take(&logged(&standby), LONG).unwrap();
    assert!(killed.elapsed() >= LEASE && lost.is_lost());
    assert!(next.token() > lost.token(), "{} after {}", next.token(), lost.token());
}

/// What was granted is at the standby as well, so its holder goes on there.
#[test]
fn what_is_replicated_stands_after_a_promotion() {
    // The standby will need one of its own.
    let synchronous = ["synchronous_standby_names=*"];
    let primary = Server::start_with(&synchronous);
    let standby = primary.standby(&synchronous);
    let _next = standby.standby(&[]);
    let builder = |server: &Server| {
        let builder = server.builder().lease(LONG).connect(Duration::from_secs(20));
        builder.durability(Durability::Replicated)
    };
    let both = builder(&primary).or_host("127.0.0.1").port(standby.port);
    let ours = both.build().unwrap().into_backend();
    let guard = take(&ours, LONG).unwrap();
    primary.kill();
    standby.promote();
    let theirs = builder(&standby).build().unwrap().into_backend();
    let error = theirs.named("other").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.until().is_some(), "what was granted last may be missing here: {error:?}");
    until(|| match guard.refresh() {
        Ok(()) => true,
        Err(error) => {
            assert!(!guard.is_lost(), "{error}");
            false
        }
    });
    let listed = theirs.list().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].holders[0].token, Some(guard.token()), "{listed:?}");
    guard.release().unwrap();
}

#[test]
fn a_client_that_knows_all_hosts_goes_to_the_one_that_is_primary() {
    let (primary, standby, lost, _) = diverged(client);
    let builder = |first: &Server, second: &Server| {
        first.builder().or_host("127.0.0.1").port(second.port).lease(LEASE)
    };
    let both = builder(&standby, &primary).build().unwrap().into_backend();
    drop(both.named("other").wait(LONG).acquire().unwrap());
    primary.kill();
    standby.promote();
    let next = take(&both, LONG).unwrap();
    assert!(next.token() > lost.token());
}

#[test]
fn row_48_older_data_that_are_put_back_bring_no_token_twice() {
    let mut server = Server::start_with(&[]);
    drop(take(&client(&server), LONG).unwrap());
    server.stop();
    let saved = server.directory().join("saved");
    server.copy("data", "saved");
    server.start_again();
    let last = take(&client(&server), LONG).unwrap();
    let token = last.token();
    drop(last);
    server.stop();
    server.copy("saved", "data");
    server.start_again();
    assert!(saved.exists());
    let next = take(&client(&server), LONG).unwrap();
    assert!(next.token() > token, "{} after {token}", next.token());
}

/// The epoch of a dump is that of the server that still runs, with its start and its timeline.
#[test]
fn row_48_a_dump_that_is_restored_brings_no_token_twice_and_no_grant_beside_a_holder() {
    let server = shared();
    for (database, restore) in
        [("of_new", restored_anew as fn(&Server, &str, &str)), ("of_old", restored_over)]
    {
        server.sql(&format!("CREATE DATABASE {database}"));
        let client = || {
            let builder = server.builder().database(database).lease(LEASE);
            builder.build().expect("a client").into_backend()
        };
        drop(take(&client(), LONG).unwrap());
        let file = Directory::new("dump");
        let dump = file.path().join("dump");
        let dump = dump.to_str().expect("its name is text");
        server.run("pg_dump", &["-Fc", "-f", dump], database);
        drop(take(&client(), LONG).unwrap());
        let held = take(&client(), LONG).unwrap();
        restore(server, database, dump);
        let restored = Instant::now();
        let error = server.try_sql_in(database, "SELECT locks.take('k')").unwrap_err();
        assert!(error.contains("no client of locks has asked"), "{database}: {error}");
        let error = client().named("k").wait(false).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{database}: {error}");
        assert!(error.until().is_some(), "{database}: {error:?}");
        let error = server.try_sql_in(database, "SELECT locks.take('k')").unwrap_err();
        assert!(error.contains("nothing is granted for another"), "{database}: {error}");
        let next = take(&client(), LONG).unwrap();
        assert!(restored.elapsed() >= LEASE && held.is_lost(), "{database}");
        assert!(next.token() > held.token(), "{} after {}", next.token(), held.token());
    }
}

/// Into a new database, which then has the name of the old one.
fn restored_anew(server: &Server, database: &str, dump: &str) {
    server.sql("CREATE DATABASE restored");
    server.run("pg_restore", &[dump], "restored");
    server.sql(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    server.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ));
    let renamed = format!("ALTER DATABASE {database} RENAME TO before_it");
    until(|| server.try_sql(&renamed).is_ok());
    server.sql(&format!("ALTER DATABASE restored RENAME TO {database}"));
}

/// Over what is there.
fn restored_over(server: &Server, database: &str, dump: &str) {
    server.run("pg_restore", &["--clean", "--if-exists", "--single-transaction", dump], database);
}

#[test]
fn row_48_a_schema_that_is_dropped_and_made_anew_grants_nothing_for_a_lease() {
    let (server, schema) = (shared(), schema());
    let client = |is_new: bool| {
        let builder = server.builder().schema(&schema).lease(LEASE).fresh(is_new);
        builder.build().expect("a client").into_backend()
    };
    let held = client(true).named("k").wait(false).acquire().expect("nobody ever held it");
    server.sql(&format!("DROP SCHEMA {schema} CASCADE"));
    let dropped = Instant::now();
    let theirs = client(false);
    let error = theirs.named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.until().is_some(), "{error:?}");
    let error = server.try_sql(&format!("SELECT {schema}.take('k')")).unwrap_err();
    assert!(error.contains("nothing is granted for another"), "{error}");
    let next = take(&theirs, LONG).unwrap();
    assert!(dropped.elapsed() >= LEASE && held.is_lost());
    assert!(next.token() > held.token(), "{} after {}", next.token(), held.token());
}

/// By whom the schema is made before makes no difference, and the time counts from then on.
#[test]
fn a_schema_that_is_older_than_a_lease_grants_at_once() {
    let (server, schema) = (shared(), schema());
    server.sql(&locks_engines::postgres::schema(&schema, false).unwrap());
    let take = format!("SELECT {schema}.take('k')");
    let error = server.try_sql(&take).unwrap_err();
    assert!(error.contains("nothing is granted for another"), "{error}");
    let ago = format!("UPDATE {schema}.epoch SET fresh = fresh - 20000000");
    server.sql(&format!("{ago}; UPDATE {schema}.epoch SET writer = xmin::text"));
    assert_eq!(server.sql(&take), "t", "no lease is longer, unless it is set");
    let client = server.builder().schema(&schema).fresh(false).build().unwrap().into_backend();
    drop(client.named("k").wait(false).acquire().unwrap());
}

#[test]
fn what_a_server_does_with_its_rows_is_no_loss() {
    let mut server = Server::start_with(&[]);
    let client = |server: &Server| server.builder().lease(LONG).build().unwrap().into_backend();
    let guard = take(&client(&server), LONG).unwrap();
    for (what, works) in [
        ("VACUUM FREEZE", true),
        ("VACUUM FULL", true),
        ("a restart", false),
        ("VACUUM FREEZE", true),
    ] {
        if works {
            server.sql(&format!("{what} locks.epoch"));
        } else {
            server.stop();
            server.start_again();
        }
        let theirs = client(&server);
        let error = theirs.named("k").wait(false).acquire().unwrap_err();
        assert!(error.is_contended(), "{what}: {error}");
        let other = theirs.named("other").wait(false).acquire().expect(what);
        assert_eq!(server.sql("SELECT locks.take('third')"), "t", "{what}");
        other.release().unwrap();
    }
    until(|| guard.refresh().is_ok());
    guard.release().unwrap();
}

#[test]
fn six_clients_that_make_the_schema_at_once_make_one() {
    let server = super::server::shared();
    for _ in 0..5 {
        let schema = schema();
        std::thread::scope(|scope| {
            for number in 0..6 {
                let client = server.builder().schema(&schema).build().unwrap().into_backend();
                scope.spawn(move || drop(client.named(format!("k{number}")).acquire().unwrap()));
            }
        });
    }
    // One that fails is asked again, so the clients alone would not tell.
    let log = server.log();
    for race in ["violates unique constraint \"pg_", "tuple concurrently", "already exists"] {
        assert!(!log.contains(race), "{race}");
    }
}
