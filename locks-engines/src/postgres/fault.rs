//! The errors of the client in the words of locks.

use std::error::Error as _;

use locks_core::{ErrorKind, LockError};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Config, Error};

use super::host::sockets;
use super::schema::Schema;

/// What a failed statement means, and whether its connection is of further use.
pub(super) struct PostgresFault {
    pub(super) error: LockError,
    /// The connection is gone, or leads to a server that cannot help.
    pub(super) reconnect: bool,
}

/// What a failed statement was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    Connecting,
    /// A step that asks for something new.
    Claim,
    /// A step about what is there already.
    Upkeep,
}

/// What a client wants of its server.
pub(super) struct Wanted<'a> {
    pub(super) config: &'a Config,
    pub(super) schema: &'a Schema,
    pub(super) is_logged: bool,
}

impl PostgresFault {
    /// `name` is what the backend is called.
    pub(super) fn of(name: &str, wanted: &Wanted<'_>, error: &Error, during: During) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::said(name, wanted, said, during);
        }
        let mut text = innermost(error);
        let sockets = sockets(wanted.config);
        if text.starts_with("error connecting to server") && !sockets.is_empty() {
            text = format!(
                "{text}: a server listens at `{}`; where its port is another one, it is named as in \
                 `?host=/run/postgresql:5433`",
                sockets.join("` or `")
            );
        }
        // Connections break in many ways, and none of them tells anything about a lock.
        Self { error: Self::unsaid(name, text), reconnect: true }
    }

    /// What the client found out by itself.
    fn unsaid(name: &str, text: String) -> LockError {
        let refused = |kind, text| LockError::new(kind, "").with_backend(name).with_message(text);
        if text.contains("password missing") {
            let text = format!(
                "`{name}` wants a password: put it into `PGPASSWORD`, a `passfile=` or a `password_file=`"
            );
            return refused(ErrorKind::Unauthorized, text);
        }
        if text.contains("invalid peer certificate") {
            let text = format!(
                "`{name}` has a certificate that is not trusted ({text}): name the file of its authority \
                 by `?sslrootcert=`, and the host as the certificate does"
            );
            return refused(ErrorKind::NotConfigured, text);
        }
        if text.contains("does not support TLS") {
            let text = format!(
                "`{name}` has no TLS: set it up there, or accept a connection that is not encrypted by \
                 `?sslmode=disable`"
            );
            return refused(ErrorKind::NotConfigured, text);
        }
        LockError::unavailable(name, text)
    }

    fn said(name: &str, wanted: &Wanted<'_>, said: &DbError, during: During) -> Self {
        let text = said.message();
        let schema = wanted.schema;
        let is = |kind, text: String, reconnect| Self {
            error: LockError::new(kind, "").with_backend(name).with_message(text),
            reconnect,
        };
        let away = |reconnect| Self {
            error: LockError::unavailable(name, format!("{text} ({})", said.code().code())),
            reconnect,
        };
        match said.code().code() {
            "28000" if text.contains("no encryption") => is(
                ErrorKind::NotConfigured,
                format!(
                    "`{name}` takes no connection that is not encrypted ({text}): ask for TLS by \
                     `?sslmode=verify-full`"
                ),
                true,
            ),
            "28P01" | "28000" => is(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` refuses the user or its password ({text}): name the user in the URL, and \
                     the password in `PGPASSWORD`, a `passfile=` or a `password_file=`"
                ),
                true,
            ),
            "3D000" => is(
                ErrorKind::NotConfigured,
                format!("`{name}`: {text}: name one that exists in the URL, or create it"),
                true,
            ),
            "42501" => is(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` refuses this role what locks need ({text}): have an owner of the database \
                     run what `locks postgres schema{}` prints, and then `{}`",
                    schema.options(wanted.is_logged),
                    schema.fill(GRANTS)
                ),
                false,
            ),
            "53100" | "53200" if during == During::Claim => is(
                ErrorKind::LimitExceeded,
                format!("`{name}` grants nothing more: {text}; make room there"),
                false,
            ),
            "LK001" => is(
                ErrorKind::NotConfigured,
                format!(
                    "the longest lease of schema `{}` at `{name}` is {}, and this client would \
                     have another: give all clients the same `?lease=`",
                    schema.name,
                    said.detail().and_then(lease).unwrap_or_default()
                ),
                false,
            ),
            "LK002" => is(
                ErrorKind::NotConfigured,
                format!(
                    "`{name}`: locks need transactions that are READ COMMITTED, and this role has \
                     another default: `ALTER ROLE … SET default_transaction_isolation = 'read committed'`"
                ),
                false,
            ),
            // It may be another process that has them, for a moment only.
            "53300" => {
                let text = format!(
                    "{text}: raise the limit (`max_connections`, or `CONNECTION LIMIT` of the role or the \
                     database), or put a pooler in front"
                );
                Self { error: LockError::unavailable(name, text), reconnect: true }
            }
            // Read-only transactions and standbys; what went with a schema; a server that ends or
            // begins.
            "25006" | "0A000" | "3F000" | "42P01" | "42883" => away(true),
            code => away(
                code.starts_with("08") || code.starts_with("57P") || during == During::Connecting,
            ),
        }
    }
}

/// The rights of the manual.
const GRANTS: &str = "GRANT USAGE ON SCHEMA {schema} TO role; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN \
     SCHEMA {schema} TO role; GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO role; \
     GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO role";

/// Whether there were too many connections for another one.
pub(super) fn is_full(error: &Error) -> bool {
    error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
}

/// Whether a session could not be started with what it was to be set to.
pub(super) fn is_unsettable(error: &Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::PROTOCOL_VIOLATION) || code == Some(&SqlState::UNDEFINED_OBJECT)
}

/// A number of microseconds, as it is given to `?lease=`.
fn lease(micros: &str) -> Option<String> {
    micros.parse().ok().map(|micros| format!("{:?}", std::time::Duration::from_micros(micros)))
}

/// What is behind "error connecting to server".
fn innermost(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = deeper.source();
    }
    text
}
