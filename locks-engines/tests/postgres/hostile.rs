//! A role that may make functions where those of others look for theirs.

use std::thread;
use std::time::Duration;

use locks_core::Backend;
use locks_engines::postgres::schema;

use super::pooler::Pooler;
use super::server::{Server, shared};
use super::support::until;

/// Functions and operators that fit the calls of locks better than PostgreSQL's own, wherever those
/// are called by their names alone and not with exactly the types that they have.
const TRAPS: &str = r#"
GRANT CREATE ON SCHEMA public TO eve;
SET ROLE eve;
CREATE FUNCTION public.trap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
DO $$
DECLARE
  types text[] := '{int4,int8,float8,numeric,text,"\"char\"",bool,timestamptz,regclass,text[],int4[],int8[]}';
  trap text := 'CREATE FUNCTION public.%I(%s) RETURNS int LANGUAGE sql AS $f$ SELECT public.trap() $f$';
  name text; a text; b text;
BEGIN
  FOREACH a IN ARRAY types LOOP
    FOREACH b IN ARRAY types LOOP
      EXECUTE format(trap, 'trap', a || ',' || b);
    END LOOP;
  END LOOP;
  FOREACH name IN ARRAY ARRAY['hashtextextended', 'cardinality', 'current_setting', 'set_config',
    'pg_advisory_xact_lock', 'pg_try_advisory_xact_lock', 'pg_try_advisory_xact_lock_shared', 'nextval', 'setval',
    'array_position', 'array_fill', 'repeat', 'pg_notify', 'abs', 'left', 'pg_walfile_name', 'starts_with',
    'octet_length', 'format', 'ceil', 'to_regnamespace', 'to_regproc', 'pg_has_role', 'unnest']
  LOOP
    FOREACH a IN ARRAY types LOOP
      EXECUTE format(trap, name, a);
      FOREACH b IN ARRAY types LOOP
        EXECUTE format(trap, name, a || ',' || b);
      END LOOP;
    END LOOP;
  END LOOP;
  FOREACH name IN ARRAY ARRAY['+', '-', '*', '/', '%', '#', '=', '<>', '<', '<=', '>', '>=', '||'] LOOP
    FOREACH a IN ARRAY types LOOP
      FOREACH b IN ARRAY types LOOP
        EXECUTE 'CREATE OPERATOR public.' || name || ' (FUNCTION = public.trap, LEFTARG = ' || a || ', RIGHTARG = ' || b || ')';
      END LOOP;
    END LOOP;
  END LOOP;
END $$;
"#;

/// A database in which `eve` has set them.
fn trapped(server: &Server, database: &str) {
    server.sql(&format!("CREATE DATABASE {database}"));
    server.sql("DO $$ BEGIN CREATE ROLE eve; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    server.try_sql_in(database, TRAPS).expect("they are set");
    let call = server.try_sql_in(database, "SELECT hashtextextended('k', 0)").unwrap_err();
    assert!(call.contains("trapped"), "{call}");
}

/// What clients do.
fn works(ours: &Backend, theirs: &Backend) {
    let patience = Duration::from_secs(60);
    let guard = ours.named("k").wait(patience).acquire().unwrap();
    let waiter = thread::spawn({
        let theirs = theirs.clone();
        move || theirs.named("k").wait(patience).acquire().unwrap().into_owned()
    });
    until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    guard.refresh().unwrap();
    guard.release().unwrap();
    waiter.join().unwrap().release().unwrap();
    let set = ours.all(["a", "b"]).acquire().unwrap();
    assert!(theirs.all(["b", "c"]).wait(false).acquire().unwrap_err().is_contended());
    let thief = theirs.named("a").steal_after(Duration::from_millis(1)).acquire().unwrap();
    drop(set);
    thief.release().unwrap();
    let permit = || ours.named("p").permits(2).wait(false).acquire();
    let permits = (permit().unwrap(), permit().unwrap());
    assert!(permit().unwrap_err().is_contended());
    drop(permits);
}

#[test]
fn functions_of_others_are_not_taken_for_postgresqls_own() {
    let server = shared();
    trapped(server, "trapped");
    // Of an owner, whose session looks in `public` as well.
    server.try_sql_in("trapped", &schema("made", false).unwrap()).expect("none is called");
    for name in ["made", "new"] {
        let client = || {
            let builder = server.builder().database("trapped").schema(name);
            builder.build().expect("a client").into_backend()
        };
        works(&client(), &client());
        let take = format!("SELECT {name}.take('k'), {name}.take('k')");
        assert_eq!(server.try_sql_in("trapped", &take).as_deref(), Ok("t|t"));
        let guard = client().named("k").acquire().unwrap();
        assert_eq!(server.try_sql_in("trapped", &take).as_deref(), Ok("f|f"));
        guard.release().unwrap();
    }
}

#[test]
fn nor_are_they_where_sessions_are_not_ones_own() {
    let server = shared();
    trapped(server, "trapped_too");
    let pooler = Pooler::start_to(server, "trapped_too");
    for port in [server.port, pooler.port] {
        let client = || {
            let builder = super::server::builder(port).database("trapped_too").poll(true);
            builder.build().expect("a client").into_backend()
        };
        works(&client(), &client());
    }
    let client = || {
        let builder = super::server::builder(pooler.port).database("trapped_too");
        builder.listen("127.0.0.1", server.port).build().expect("a client").into_backend()
    };
    works(&client(), &client());
}
