//! Through a pooler in transaction mode, where no session is anybody's.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use locks_core::{Backend, ErrorKind};
use locks_engines::postgres::{Postgres, PostgresBuilder};

use super::server::{Server, as_owner, shared};
use super::support::process::Process;
use super::support::{free_port, until};

/// A pooler in front of a server.
pub(crate) struct Pooler {
    pub(crate) port: u16,
    _process: Process,
}

impl Pooler {
    pub(crate) fn start(server: &Server) -> Self {
        Self::start_to(server, "postgres")
    }

    /// To this database of it.
    pub(crate) fn start_to(server: &Server, database: &str) -> Self {
        let settings = server.directory().join(format!("pooler-of-{database}.ini"));
        for _ in 0..20 {
            let port = free_port();
            let text = format!(
                "[databases]\n{database} = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n\
                 default_pool_size = 3\nunix_socket_dir =\n",
                server.port
            );
            std::fs::write(&settings, text).expect("its settings can be written");
            let mut command = as_owner("pgbouncer");
            command.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = Process::start(&mut command, "pgbouncer");
            let mut answers = false;
            until(|| {
                let stream = std::net::TcpStream::connect(("127.0.0.1", port));
                answers = stream.is_ok();
                answers || process.has_ended()
            });
            if answers {
                return Self { port, _process: process };
            }
        }
        panic!("no pooler came up");
    }

    fn builder(&self, schema: &str) -> PostgresBuilder {
        let builder = Postgres::builder("127.0.0.1").port(self.port);
        builder.user("postgres").database("postgres").schema(schema).fresh(true)
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
    let listens = || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SET search_path%'")
            == "2"
    };
    until(listens);
}
