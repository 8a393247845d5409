//! Servers that cannot keep locks, and what they say about it.

use std::time::Duration;

use locks_core::{Backend, ErrorKind, LockError};
use locks_engines::postgres::{Durability, Postgres, PostgresBuilder, Tls};

use super::pooler::Pooler;
use super::server::{Server, as_owner, builder, schema, shared};
use super::support::certificates::Certificates;

fn refusal(builder: PostgresBuilder) -> LockError {
    let backend = builder.build().expect("a client").into_backend();
    let error = backend.named("k").wait(Duration::from_secs(10)).acquire().unwrap_err();
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    error
}

fn works(builder: PostgresBuilder) -> Backend {
    let backend =
        builder.connect(Duration::from_secs(20)).build().expect("a client").into_backend();
    backend.named("k").acquire().expect("it is free").release().expect("it was held");
    backend
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let server = Server::start();
    server
        .sql("CREATE ROLE app LOGIN PASSWORD 'hunter2'; GRANT CREATE ON DATABASE postgres TO app");
    server.rules("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    let app = || server.builder().user("app");
    let error = refusal(app());
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("wants a password"), "{error}");
    let wrong = app().password("hunter3");
    assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
    let error = refusal(wrong);
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("PGPASSWORD"), "{error}");
    let right = app().password("hunter2").build().unwrap();
    assert!(!format!("{right:?}").contains("hunter"), "{right:?}");
    works(app().password("hunter2"));
    assert!(!server.log().contains("hunter2"), "the log does not have it either");
}

#[test]
fn the_rights_that_the_manual_names_are_enough_and_fewer_are_told() {
    let server = Server::start();
    // Where functions are not everybody's, as some have it.
    server.sql(
        "CREATE ROLE app LOGIN; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    );
    let app = || server.builder().user("app");
    let error = refusal(app());
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("locks postgres schema"), "{error}");

    server.sql(&locks_engines::postgres::schema("locks", false).unwrap());
    let error = refusal(app());
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let text = error.to_string();
    let grants = text.split('`').find(|part| part.contains("GRANT USAGE")).expect("it names them");
    server.sql(&grants.replace("TO role", "TO app"));
    let client = works(app());
    let guard = client.all(["a", "b"]).acquire().unwrap();
    guard.refresh().unwrap();
    assert_eq!(client.list().unwrap().len(), 2);
    let take = "SET ROLE app; SELECT locks.take('a'), locks.take('c')";
    assert_eq!(server.sql(take), "f|t");
    guard.release().unwrap();
}

#[test]
fn who_has_a_schema_of_another_name_hears_how_to_make_that_one() {
    let server = shared();
    server.sql("CREATE ROLE powerless LOGIN");
    let app = || server.builder().user("powerless").schema("order");
    let text = refusal(app()).to_string();
    assert!(text.contains("`locks postgres schema --schema order` prints"), "{text}");
    server.sql(&locks_engines::postgres::schema("order", false).unwrap());
    let grants = text.split('`').find(|part| part.contains("GRANT USAGE")).expect("it names them");
    server.sql(&grants.replace("TO role", "TO powerless"));
    works(app());
}

#[test]
fn a_role_with_other_defaults_hears_which() {
    let server = Server::start();
    server.sql("CREATE ROLE reader LOGIN SUPERUSER; ALTER ROLE reader SET default_transaction_read_only = on");
    let error = refusal(server.builder().user("reader"));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");

    // A connection of one's own is set right; a pooler's is not.
    server.sql("ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'");
    works(server.builder());
    works(server.builder().poll(true));
    let pooler = Pooler::start(&server);
    let error = refusal(builder(pooler.port).poll(true));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("READ COMMITTED"), "{error}");
}

/// What is set for a role, so that other programs of it behave, does not concern a connection of
/// our own.
#[test]
fn a_roles_limits_and_names_are_not_those_of_locks() {
    let server = Server::start();
    server.sql(
        "CREATE SCHEMA hostile; CREATE FUNCTION hostile.pg_notify(text, text) RETURNS void LANGUAGE sql AS ''; \
         CREATE FUNCTION hostile.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'; \
         CREATE TABLE hostile.unnest (); CREATE ROLE app LOGIN SUPERUSER",
    );
    for setting in [
        "search_path = 'hostile', 'pg_catalog'",
        "statement_timeout = 1",
        "lock_timeout = 1",
        "idle_session_timeout = 200",
        "idle_in_transaction_session_timeout = 1",
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "enable_seqscan = off",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "row_security = off",
    ] {
        server.sql(&format!("ALTER ROLE app SET {setting}"));
    }
    let client = || {
        let builder = server.builder().user("app").connect(Duration::from_secs(20));
        builder.build().unwrap().into_backend()
    };
    let (ours, theirs) = (client(), client());
    // Of which some are no words of anybody's encoding but UTF-8, or of anybody's quoting.
    for key in ["k", "é 鍵 🔑", "a'b\"c\\d$$e%f_g", "\u{1}\n\t", &"長".repeat(341)] {
        let guard = ours.named(key).acquire().unwrap();
        let waiter = std::thread::spawn({
            let (theirs, key) = (theirs.clone(), key.to_owned());
            move || theirs.named(key).acquire().unwrap().into_owned()
        });
        super::support::until(|| {
            let found = ours.list().unwrap();
            found.iter().any(|lock| lock.key == key && !lock.waiters.is_empty())
        });
        // As long as a session of the role may be idle elsewhere.
        std::thread::sleep(Duration::from_millis(300));
        let token = guard.token();
        guard.release().unwrap();
        let next = waiter.join().unwrap();
        assert!(next.token() > token);
        next.release().unwrap();
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'locks' \
                    AND backend_start < now() - interval '1 s'";
    assert_eq!(server.sql(sessions), "2", "nobody's connection was ended");
}

#[test]
fn a_role_that_may_connect_once_hears_what_a_second_connection_is_for() {
    let server = Server::start();
    server.sql("CREATE ROLE app LOGIN SUPERUSER CONNECTION LIMIT 5; ALTER ROLE app NOSUPERUSER; GRANT CREATE ON DATABASE postgres TO app");
    works(server.builder().user("app"));
    server.sql("ALTER ROLE app CONNECTION LIMIT 1");
    super::support::until(|| {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == "0"
    });
    let error = refusal(server.builder().user("app"));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    let text = error.to_string();
    assert!(text.contains("CONNECTION LIMIT") && text.contains("?poll=yes"), "{text}");
    let client = works(server.builder().user("app").poll(true));
    // Another process, when all that there may be are in use.
    let error = refusal(server.builder().user("app").poll(true));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
    drop(client);
}

/// An earlier build's functions of the same names would be called by a later one.
#[test]
fn functions_of_another_text_have_other_names_and_stay_side_by_side() {
    let server = Server::start();
    let text = locks_engines::postgres::schema("locks", false).unwrap();
    let name = text.split("FUNCTION locks.").find_map(|part| {
        let name = part.split('(').next()?;
        name.strip_prefix("list_").map(str::to_owned)
    });
    let mark = name.expect("it makes a list function");
    assert!(mark.len() >= 8, "{mark}");
    // An earlier one, which grants nothing.
    let earlier = text.replace(&mark, "1").replace("RETURN ARRAY['1',", "RETURN ARRAY['0',");
    server.sql(&earlier);
    let count =
        || server.sql("SELECT count(*) FROM pg_proc WHERE pronamespace = 'locks'::regnamespace");
    let before: u32 = count().parse().unwrap();
    // A role that has not made it, and may make functions there.
    server.sql(
        "CREATE ROLE app LOGIN; GRANT USAGE, CREATE ON SCHEMA locks TO app; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA locks TO app; \
         GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA locks TO app",
    );
    works(server.builder().user("app"));
    let after: u32 = count().parse().unwrap();
    // All but `take`, which stays its owner's.
    assert_eq!(after, before * 2 - 1);
    assert_eq!(server.sql("SELECT locks.take('k')"), "t");
    let present = format!("SELECT prosrc LIKE '%{mark}%' FROM pg_proc WHERE proname = 'take'");
    assert_eq!(server.sql(&present), "f");
    server.sql(&text);
    assert_eq!(server.sql(&present), "t", "its owner has made it anew");
    assert_eq!(server.sql("SELECT locks.take('k')"), "t");
    // One that may not hears what to have run.
    server.sql("CREATE ROLE guest LOGIN; GRANT app TO guest; REVOKE CREATE ON SCHEMA locks FROM app; DROP OWNED BY app; CREATE ROLE next LOGIN; GRANT USAGE ON SCHEMA locks TO next");
    let error = refusal(server.builder().user("next"));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("locks postgres schema"), "{error}");
}

#[test]
fn databases_that_cannot_have_every_key_or_are_not_there_are_refused() {
    let server = shared();
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let error = refusal(server.builder().database("latin"));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("LATIN1"), "{error}");
    let error = refusal(server.builder().database("nowhere"));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn what_is_to_be_durable_is_refused_where_it_is_not() {
    let server = shared();
    let error = refusal(server.builder().schema(schema()).durability(Durability::Logged));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("fsync"), "{error}");
    let kept = Server::start_with(&[]);
    let error = refusal(kept.builder().durability(Durability::Replicated));
    assert!(error.to_string().contains("synchronous_standby_names"), "{error}");
    works(kept.builder());
    let error = refusal(kept.builder().durability(Durability::Logged));
    assert!(error.to_string().contains("SET LOGGED"), "{error}");
}

#[test]
fn clients_of_a_schema_agree_on_its_longest_lease() {
    let (server, schema) = (shared(), schema());
    let client = works(server.builder().schema(&schema));
    let error = refusal(server.builder().schema(&schema).lease(Duration::from_secs(3)));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("10s"), "{error}");
    let error = client.named("k").lease(Duration::from_secs(11)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("`?lease=`"), "{error}");
    let short = Duration::from_millis(100);
    let error = client.named("k").lease(short).acquire().unwrap_err();
    assert!(error.to_string().contains("takes 300 ms to 10 s"), "{error}");
    // As the manual says how it is changed.
    server.sql(&format!("UPDATE \"{schema}\".promise SET longest = 3000000"));
    works(server.builder().schema(&schema).lease(Duration::from_secs(3)));
}

#[test]
fn tls_is_checked_unless_that_is_waived() {
    let mut server = Server::start();
    let authority = server.directory().join("data/server.crt");
    certificate(&server.directory().join("data"));
    server.sql("ALTER SYSTEM SET ssl = on");
    server.stop();
    server.start_again();
    let tls = |tls| {
        let builder = Postgres::builder("localhost").port(server.port).user("app");
        builder.database("postgres").password("hunter2").tls(tls).fresh(true)
    };
    server.sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'hunter2'");
    server.rules("host all postgres 127.0.0.1/32 trust\nhostssl all all all scram-sha-256\n");
    works(tls(Tls::Verified).authority(&authority));
    works(tls(Tls::Unverified));
    // An authority that is named is asked, whatever the name of the server.
    let by = |authority: &std::path::Path| {
        let other = Postgres::builder("127.0.0.1").port(server.port).user("app").fresh(true);
        let other = other.database("postgres").password("hunter2").tls(Tls::Unverified);
        other.authority(authority)
    };
    works(by(&authority));
    let error = refusal(by(&Certificates::new().path("ca.pem")));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("?sslrootcert="), "{error:?}");
    let error = refusal(tls(Tls::Off));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("?sslmode=verify-full"), "{error}");
    // By the system's authorities, or for another name.
    let error = refusal(tls(Tls::Verified));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("?sslrootcert="), "{error:?}");
    let other = Postgres::builder("127.0.0.1").port(server.port).user("app").database("postgres");
    let error = refusal(other.tls(Tls::Verified).authority(&authority));
    assert!(format!("{error:?}").contains("certificate"), "{error:?}");
    let plain = shared().builder().tls(Tls::Unverified).schema(schema());
    assert!(refusal(plain).to_string().contains("?sslmode=disable"));
}

#[test]
fn row_38_a_server_without_room_grants_nothing() {
    // No rights to a disk of its own are needed for this: a tablespace that is full behaves alike.
    let server = shared();
    let schema = schema();
    let client = works(server.builder().schema(&schema));
    let guard = client.named("held").acquire().unwrap();
    server.sql(&format!(
        "CREATE FUNCTION \"{schema}\".no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER no_room BEFORE INSERT ON \"{schema}\".entry EXECUTE FUNCTION \"{schema}\".no_room()"
    ));
    let error = client.named("k").wait(Duration::from_secs(5)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    guard.refresh().unwrap();
    guard.release().unwrap();
    server.sql(&format!("DROP TRIGGER no_room ON \"{schema}\".entry"));
    drop(client.named("k").acquire().unwrap());
}

/// Makes what a server's TLS needs.
fn certificate(directory: &std::path::Path) {
    let made = as_owner("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(directory.join("server.key"))
        .arg("-out")
        .arg(directory.join("server.crt"))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(made.expect("`openssl` runs: install the package openssl").success());
}
