//! Through a pooler in transaction mode, where no session is anybody's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use locks_core::{Backend, ErrorKind};
use locks_engines::LinkState;
use locks_engines::postgres::{Postgres, PostgresBuilder};

use super::server::{Server, as_owner, shared};
use super::support::process::Process;
use super::support::{BUSY, free_port, until};

/// A pooler in front of a server.
pub(crate) struct Pooler {
    pub(crate) port: u16,
    process: Process,
    settings: PathBuf,
}

impl Pooler {
    pub(crate) fn start(server: &Server) -> Self {
        Self::start_to(server, "postgres")
    }

    /// To this database of it.
    pub(crate) fn start_to(server: &Server, database: &str) -> Self {
        Self::start_as(server, database, "transaction")
    }

    fn start_as(server: &Server, database: &str, mode: &str) -> Self {
        let settings = server.directory().join(format!("pooler-{database}-{mode}.ini"));
        for _ in 0..20 {
            let port = free_port();
            let text = format!(
                "[databases]\n{database} = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n\
                 default_pool_size = 3\nunix_socket_dir =\n",
                server.port
            );
            std::fs::write(&settings, text).expect("its settings can be written");
            if let Some(process) = Self::run(&settings, port) {
                return Self { port, process, settings };
            }
        }
        panic!("no pooler came up");
    }

    /// Runs it, unless it ends at once.
    fn run(settings: &Path, port: u16) -> Option<Process> {
        let mut command = as_owner("pgbouncer");
        command.arg("-q").arg(settings).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut command, "pgbouncer");
        let mut answers = false;
        until(|| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", port));
            answers = stream.is_ok();
            answers || process.has_ended()
        });
        answers.then_some(process)
    }

    fn stop(&mut self) {
        self.process.kill();
    }

    fn start_again(&mut self) {
        until(|| {
            let started = Self::run(&self.settings, self.port);
            started.map(|process| self.process = process).is_some()
        });
    }

    fn builder(&self, schema: &str) -> PostgresBuilder {
        let builder = Postgres::builder("127.0.0.1").port(self.port);
        let builder = builder.user("postgres").database("postgres").schema(schema).fresh(true);
        builder.connect(BUSY)
    }
}

fn client(builder: PostgresBuilder) -> Backend {
    builder.build().expect("a client").into_backend()
}

/// Two clients that do what clients do.
fn works(ours: &Backend, theirs: &Backend) {
    let guard = ours.named("k").acquire().unwrap();
    let waiter = thread::spawn({
        let theirs = theirs.clone();
        move || theirs.named("k").acquire().unwrap().into_owned()
    });
    until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    guard.refresh().unwrap();
    let token = guard.token();
    drop(guard);
    let guard = waiter.join().unwrap();
    assert!(guard.token() > token);
    assert!(ours.all(["a", "k"]).wait(false).acquire().unwrap_err().is_contended());
    guard.release().unwrap();
    let handles: Vec<_> = (0..8)
        .map(|number| {
            let client = if number % 2 == 0 { ours.clone() } else { theirs.clone() };
            thread::spawn(move || {
                for _ in 0..20 {
                    client.named("k").acquire().unwrap().release().unwrap();
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
}

#[test]
fn a_pooler_in_transaction_mode_is_told_from_a_server_and_works_with_one_beside_it() {
    let server = shared();
    let pooler = Pooler::start(server);
    let schema = super::server::schema();
    let alone = client(pooler.builder(&schema));
    let error = alone.named("k").wait(Duration::from_secs(20)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(
        error.to_string().contains("?listen=") && error.to_string().contains("?poll="),
        "{error}"
    );
    let listening = || client(pooler.builder(&schema).listen("127.0.0.1", server.port));
    works(&listening(), &listening());
    let polling = || client(pooler.builder(&schema).poll(true));
    works(&polling(), &polling());
    works(&polling(), &listening());
}

#[test]
fn hints_come_again_after_their_connection_was_lost() {
    let server = Server::start();
    let pooler = Pooler::start(&server);
    let listening = || client(pooler.builder("locks").listen("127.0.0.1", server.port));
    let (ours, theirs) = (listening(), listening());
    works(&ours, &theirs);
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SET search_path%'");
    works(&ours, &theirs);
    until(|| server.sql(LISTENS) == "2");
}

/// The session that listens, and that of the steps, of a client that has both.
const LISTENS: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SET search_path%'";

fn version(client: &Postgres) -> String {
    let LinkState::Connected { version } = client.state() else { panic!("{:?}", client.state()) };
    version
}

/// A hint costs time and no more.
#[test]
fn who_cannot_listen_waits_and_holds_all_the_same() {
    let server = Server::start();
    let other = Server::start();
    let nowhere = free_port();
    let pooler = Pooler::start(&server);
    for (what, port) in
        [("nobody", nowhere), ("another server", other.port), ("a pooler", pooler.port)]
    {
        let make = || {
            let builder = server.builder().lease(Duration::from_secs(2));
            builder.listen("127.0.0.1", port).build().expect("a client")
        };
        let (ours, theirs) = (make(), make());
        works(&ours.clone().into_backend(), &theirs.clone().into_backend());
        for client in [&ours, &theirs] {
            until(|| version(client).contains("waiters look again and again"));
            assert!(version(client).contains(&format!("`?listen=127.0.0.1:{port}`")), "{what}");
        }
    }
}

#[test]
fn a_listener_that_goes_away_takes_nothing_with_it_and_comes_again() {
    let server = Server::start();
    // The way to the server by which it listens, which fails alone.
    let mut way = Pooler::start_as(&server, "postgres", "session");
    let make = || server.builder().listen("127.0.0.1", way.port).build().expect("a client");
    let (ours, theirs) = (make(), make());
    works(&ours.clone().into_backend(), &theirs.clone().into_backend());
    assert!(!version(&ours).contains("waiters"), "{}", version(&ours));
    let guard = ours.clone().into_backend().named("held").acquire().unwrap();
    let steps = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity \
                 WHERE application_name = 'locks' AND query NOT LIKE 'SET search_path%'";
    let before = server.sql(steps);
    way.stop();
    for client in [&ours, &theirs] {
        until(|| version(client).contains("waiters look again and again"));
    }
    works(&ours.clone().into_backend(), &theirs.clone().into_backend());
    guard.refresh().unwrap();
    way.start_again();
    for client in [&ours, &theirs] {
        until(|| !version(client).contains("waiters"));
    }
    works(&ours.clone().into_backend(), &theirs.clone().into_backend());
    assert_eq!(server.sql(steps), before, "the connections of the steps are those of before");
    guard.release().unwrap();
}

#[test]
fn of_several_places_to_listen_the_primary_is_found() {
    let server = Server::start();
    let standby = server.standby(&super::server::CARELESS);
    let pooler = Pooler::start(&server);
    let make = || {
        let builder = pooler.builder("locks").listen("127.0.0.1", standby.port);
        let builder = builder.listen("127.0.0.1", server.port).listen("127.0.0.1", free_port());
        builder.build().expect("a client")
    };
    let (ours, theirs) = (make(), make());
    works(&ours.clone().into_backend(), &theirs.clone().into_backend());
    until(|| !version(&ours).contains("waiters") && server.sql(LISTENS) == "2");
}
