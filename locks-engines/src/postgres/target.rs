//! A PostgreSQL server as what a client connects to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use locks_core::{ErrorKind, LockError};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Durability;
use super::fault::{During, PostgresFault, Wanted, is_full, is_unsettable};
use super::listener::{self, ListenTarget, Listening};
use super::schema::Schema;
use super::session::Session;
use super::statements::{Statements, Texts};
use crate::link::{Connected, Link, Target};

/// A server, and what is asked of it.
pub(super) struct PostgresServer {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) hints: HintsBy,
    pub(super) schema: Schema,
    pub(super) texts: Texts,
    pub(super) durability: Durability,
    /// How long an attempt to connect may take.
    pub(super) reach: Duration,
    /// Notifications have been seen to arrive by the connection of the steps; or have once been
    /// waited for, where another one listens.
    pub(super) proven: AtomicBool,
    /// What a session is set to has been refused at the start of one, as poolers do.
    pub(super) unset: AtomicBool,
}

/// How those who wait are called.
pub(super) enum HintsBy {
    /// By the connection of the steps.
    Same,
    /// By one of their own, which goes past a pooler, to one of these.
    Apart(Vec<ListenTarget>),
    /// Not at all.
    Polling,
}

/// What steps are sent by.
#[derive(Clone)]
pub(super) struct PostgresConnection {
    pub(super) session: Arc<Session>,
    /// Prepared, where nothing stands between that could not keep them.
    pub(super) statements: Option<Arc<Statements>>,
    /// Kept for as long as the connection.
    _listening: Option<Arc<Listening>>,
}

impl Target for PostgresServer {
    type Connection = PostgresConnection;

    async fn connect(
        link: &Arc<Link<Self>>,
        number: u64,
    ) -> Result<(PostgresConnection, String), LockError> {
        let server = &link.target;
        let fault = |error: Error| server.fault(&link.name, &error, During::Connecting).error;
        let late =
            |_| LockError::unavailable(&link.name, "it does not answer an attempt to connect");
        let connecting = async {
            let session = Arc::new(server.open(link, number).await.map_err(fault)?);
            let sent = Instant::now();
            let (mut version, is_there) = server.examine(&link.name, &session.client).await?;
            link.trip.took(sent.elapsed());
            let mut connection = PostgresConnection { session, statements: None, _listening: None };
            let session = &connection.session;
            match &server.hints {
                HintsBy::Same => {
                    server.hear(link, session).await?;
                    server.make(&link.name, &session.client, is_there).await?;
                    let prepared = Statements::prepare(&session.client, &server.texts).await;
                    connection.statements = Some(Arc::new(prepared.map_err(fault)?));
                }
                HintsBy::Apart(_) => {
                    server.make(&link.name, &session.client, is_there).await?;
                    let (listening, first) =
                        Listening::start(link, session.clone(), number, version.clone());
                    connection._listening = Some(Arc::new(listening));
                    // Nothing is held by a process that has not been connected before, so that it
                    // can wait to know.
                    if !server.proven.swap(true, Ordering::Relaxed)
                        && let Ok(Ok(Some(why))) = tokio::time::timeout(server.reach, first).await
                    {
                        version = listener::unheard(&version, &why);
                    }
                }
                HintsBy::Polling => server.make(&link.name, &session.client, is_there).await?,
            }
            Ok((connection, version))
        };
        // Several hosts are tried one after the other.
        let hosts = u32::try_from(server.config.get_hosts().len()).unwrap_or(1).max(1);
        tokio::time::timeout(server.reach * (hosts + 1), connecting).await.map_err(late)?
    }
}

/// Before a question to a session that nothing is set for: names are those of PostgreSQL, and it
/// ends in time.
const GUARDED: &str =
    "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL statement_timeout = 5000; ";

/// What a session is set to, whatever the role's settings are.
fn settings(durability: Durability) -> [(&'static str, &'static str); 5] {
    [
        ("search_path", "pg_catalog, pg_temp"),
        ("default_transaction_isolation", "read committed"),
        ("statement_timeout", "5000"),
        ("jit", "off"),
        // Unlogged rows do not outlive a crash, so their commits need not; what has to, says so
        // itself.
        ("synchronous_commit", if durability == Durability::Unlogged { "off" } else { "on" }),
    ]
}

/// Sets a session that is known to be one's own.
pub(super) fn set(durability: Durability) -> String {
    let set = settings(durability).map(|(name, value)| match name {
        "search_path" => format!("SET {name} = {value}; "),
        _ => format!("SET {name} = '{value}'; "),
    });
    // Which of these limits there are is a matter of the version.
    let unlimited = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('lock_timeout', \
                     'idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";
    set.concat() + unlimited
}

/// The same as what a session is started with: a pooler refuses or ignores it, so that nobody else
/// gets it.
fn options(durability: Durability) -> String {
    let limits = [("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];
    let set = settings(durability).into_iter().chain(limits);
    set.map(|(name, value)| format!("-c {name}={} ", value.replace(' ', "\\ "))).collect()
}

/// Takes a failed step into account, and returns its error.
pub(super) fn failed(
    link: &Link<PostgresServer>,
    connected: &Connected<PostgresConnection>,
    error: &Error,
    during: During,
) -> LockError {
    let PostgresFault { error, reconnect } = link.target.fault(&link.name, error, during);
    if reconnect {
        link.lost(connected.number(), &error.to_string());
    }
    error
}

impl PostgresServer {
    /// What this client is called by.
    pub(super) fn channel(&self, link: &Link<Self>) -> String {
        format!("locks_{}", link.client)
    }

    /// Has the connection of the steps listen, and sets it, once it is known to be nobody else's.
    async fn hear(&self, link: &Arc<Link<Self>>, session: &Session) -> Result<(), LockError> {
        let fault = |error: Error| self.fault(&link.name, &error, During::Connecting).error;
        let channel = self.channel(link);
        session.client.batch_execute(&format!("LISTEN {channel}")).await.map_err(fault)?;
        if !self.proven.load(Ordering::Relaxed) {
            // By another connection: a pooler would pass on what comes with an answer.
            let other = Session::open(&self.config, self.tls.as_ref(), link, None).await;
            let other = other.map_err(|error| match is_full(&error) {
                true => self.needs_another(&link.name, &error),
                false => fault(error),
            })?;
            if !session.hears(&other.client, &channel, self.reach / 2).await.map_err(fault)? {
                return Err(self.unheard(&link.name));
            }
            self.proven.store(true, Ordering::Relaxed);
        }
        session.client.batch_execute(&set(self.durability)).await.map_err(fault)
    }

    pub(super) fn fault(&self, name: &str, error: &Error, during: During) -> PostgresFault {
        self.fault_at(&self.config, name, error, during)
    }

    /// The same of a server that is connected to by these settings.
    pub(super) fn fault_at(
        &self,
        config: &Config,
        name: &str,
        error: &Error,
        during: During,
    ) -> PostgresFault {
        let is_logged = self.durability != Durability::Unlogged;
        PostgresFault::of(name, &Wanted { config, schema: &self.schema, is_logged }, error, during)
    }

    /// Opens the connection of the steps.
    async fn open(&self, link: &Arc<Link<Self>>, number: u64) -> Result<Session, Error> {
        let tls = self.tls.as_ref();
        // One that turns out to be ours is set then. Of the others it is not known whose they are.
        if !matches!(self.hints, HintsBy::Same) && !self.unset.load(Ordering::Relaxed) {
            let mut config = self.config.clone();
            config.options(options(self.durability));
            match Session::open(&config, tls, link, Some(number)).await {
                Err(error) if is_unsettable(&error) => self.unset.store(true, Ordering::Relaxed),
                opened => return opened,
            }
        }
        Session::open(&self.config, tls, link, Some(number)).await
    }

    /// Looks whether the server can keep locks. Returns its version, and whether the schema is
    /// there.
    async fn examine(&self, name: &str, client: &Client) -> Result<(String, bool), LockError> {
        let fault = |error: Error| self.fault(name, &error, During::Connecting).error;
        let refused = |why: String| {
            LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
        };
        let ask = self.schema.fill(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int < 130000, \
             pg_is_in_recovery(), current_setting('server_encoding'), \
             current_setting('transaction_read_only'), current_setting('fsync'), \
             current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), \
             to_regnamespace('{schema}') IS NULL",
        );
        let rows = client.simple_query(&format!("{GUARDED}{ask}")).await.map_err(fault)?;
        let row = first(&rows).ok_or_else(super::reply::unintelligible)?;
        let at = |column| row.get(column).unwrap_or("");
        let version = at(0).split(' ').next().unwrap_or("").to_owned();
        if at(1) == "t" {
            let why = format!("`{name}` is PostgreSQL {version}, and locks need 13 or later");
            return Err(refused(why));
        }
        if at(2) == "t" {
            let why = "it is a standby, which grants no locks: name the primary, or all hosts of the \
                       cluster, as in `postgres://a,b/db`";
            return Err(LockError::unavailable(name, why));
        }
        if at(3) != "UTF8" {
            let why = format!(
                "`{name}` keeps this database in {}, in which not every key can be written: name one in \
                 UTF8 (`CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`)",
                at(3)
            );
            return Err(refused(why));
        }
        if at(4) == "on" {
            let why = format!(
                "`{name}`: transactions of this role are read-only (`default_transaction_read_only`), \
                 and a lock is written: `ALTER ROLE … RESET default_transaction_read_only`"
            );
            return Err(refused(why));
        }
        self.check_durability(name, at(5), at(6), at(7))?;
        Ok((version, at(8) != "t"))
    }

    /// Makes the schema, or what is missing of it.
    async fn make(&self, name: &str, client: &Client, is_there: bool) -> Result<(), LockError> {
        let fault = |error: Error| self.fault(name, &error, During::Connecting).error;
        if !is_there || !self.is_complete(client).await.map_err(fault)? {
            let script = self.schema.script(self.durability != Durability::Unlogged);
            let script = format!("{GUARDED}{script}");
            client.batch_execute(&script).await.map_err(fault)?;
        }
        self.check_rows(name, client).await
    }

    fn check_durability(
        &self,
        name: &str,
        fsync: &str,
        commit: &str,
        standbys: &str,
    ) -> Result<(), LockError> {
        let refused = |why: &str| {
            let why = format!("`{name}`: `?durable` cannot be kept: {why}");
            Err(LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why))
        };
        if self.durability == Durability::Unlogged {
            return Ok(());
        }
        if fsync != "on" {
            return refused(
                "the server has `fsync = off`, and loses what it acknowledged in a crash",
            );
        }
        // A connection of our own sets it; one of a pooler's does not keep what we set.
        if !matches!(self.hints, HintsBy::Same) && !matches!(commit, "on" | "remote_apply") {
            return refused(
                "this role has another `synchronous_commit`: `ALTER ROLE … SET synchronous_commit = on`",
            );
        }
        if self.durability == Durability::Replicated && standbys.is_empty() {
            return refused(
                "no standby is synchronous: set `synchronous_standby_names` at the server, or ask for \
                 `?durable=logged`",
            );
        }
        Ok(())
    }

    /// Whether all functions are there.
    async fn is_complete(&self, client: &Client) -> Result<bool, Error> {
        let ask = self.schema.fill("SELECT to_regproc('{schema}.list_{v}') IS NOT NULL");
        let rows = client.simple_query(&format!("{GUARDED}{ask}")).await?;
        Ok(first(&rows).and_then(|row| row.get(0)) == Some("t"))
    }

    /// Looks whether rows are logged as was asked for.
    async fn check_rows(&self, name: &str, client: &Client) -> Result<(), LockError> {
        let fault = |error: Error| self.fault(name, &error, During::Connecting).error;
        let ask = "SELECT relpersistence FROM pg_class WHERE oid = '{schema}.entry'::regclass";
        let ask = format!("{GUARDED}{}", self.schema.fill(ask));
        let rows = client.simple_query(&ask).await.map_err(fault)?;
        let unlogged = first(&rows).and_then(|row| row.get(0)) == Some("u");
        if unlogged && self.durability != Durability::Unlogged {
            let schema = &self.schema.name;
            let why = format!(
                "`{name}`: schema `{schema}` was made with rows that are not logged: while nobody holds \
                 a lock, run `ALTER TABLE {schema}.entry SET LOGGED; ALTER TABLE {schema}.epoch SET \
                 LOGGED`, or name another schema by `?schema=`"
            );
            return Err(LockError::new(ErrorKind::NotConfigured, "")
                .with_backend(name)
                .with_message(why));
        }
        Ok(())
    }

    /// The error where the connection by which notifications are tried is one too many.
    fn needs_another(&self, name: &str, error: &Error) -> LockError {
        let why = format!(
            "`{name}` lets this role have no second connection ({}): a client needs one for a moment, to \
             see that notifications arrive; raise the limit (`ALTER ROLE … CONNECTION LIMIT`, \
             `max_connections`), or do without notifications by `?poll=yes`",
            error.as_db_error().map_or("", |said| said.message())
        );
        LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
    }

    fn unheard(&self, name: &str) -> LockError {
        let why = format!(
            "`{name}`: notifications do not arrive by this address, as through a pooler in transaction \
             mode: name the server itself for them by `?listen=host:port`, or have waiters look again \
             and again by `?poll=yes`"
        );
        LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
    }
}

fn first(rows: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
