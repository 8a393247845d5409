//! The errors of the client in the words of locks.

use locks_core::{ErrorKind, LockError};
use redis::RedisError;

/// What helps where a server refuses the user.
pub(super) const REMEDY: &str =
    "name the user in the URL, and the file of the password by `password_file=`";

/// What a failed command means, and whether its connection is of further use.
pub(super) struct Fault {
    pub(super) error: LockError,
    /// The connection is gone, or leads to a server that cannot help.
    pub(super) reconnect: bool,
}

impl Fault {
    /// `name` is what the backend is called.
    pub(super) fn of(name: &str, error: RedisError) -> Self {
        let code = error.code().unwrap_or("").to_owned();
        let detail = error.detail().unwrap_or("").to_owned();
        let refused = |kind, text: String| Self {
            error: LockError::new(kind, "").with_backend(name).with_message(text),
            reconnect: false,
        };
        match code.as_str() {
            "OOM" => refused(
                ErrorKind::LimitExceeded,
                format!(
                    "`{name}` grants nothing more: its memory is full; raise `maxmemory`, or make room"
                ),
            ),
            "NOPERM" => refused(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` refuses this user a command ({detail}): it needs `+eval +evalsha \
                     +script|load +info +subscribe +publish +scan +hgetall` and the other commands \
                     of hashes, on the keys and channels of its namespace"
                ),
            ),
            "NOAUTH" | "WRONGPASS" => Self { error: unauthorized(name, REMEDY), reconnect: true },
            "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "MOVED" | "ASK" => {
                Self { error: LockError::unavailable(name, error), reconnect: true }
            }
            "TRYAGAIN" => {
                let why =
                    "the keys of this namespace are being moved to another node of the cluster";
                Self { error: LockError::unavailable(name, why), reconnect: false }
            }
            _ => {
                let reconnect =
                    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout();
                Self { error: LockError::unavailable(name, error), reconnect }
            }
        }
    }

    /// What a failed attempt to connect means; `remedy` is what helps where the user is refused.
    pub(super) fn on_connecting(name: &str, error: RedisError, remedy: &str) -> LockError {
        let detail = error.detail().unwrap_or("").to_owned();
        if matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
            || error.kind() == redis::ErrorKind::AuthenticationFailed
        {
            return unauthorized(name, remedy);
        }
        let why = match () {
            () if detail.contains("SELECT is not allowed in cluster mode") => {
                "is a cluster, which has one database: leave the number out of the URL".to_owned()
            }
            () if detail.contains("DB index is out of range") => {
                "has no database of that number: name another one, or raise `databases` there"
                    .to_owned()
            }
            () => return Self::of(name, error).error,
        };
        LockError::new(ErrorKind::NotConfigured, "")
            .with_backend(name)
            .with_message(format!("`{name}` {why}"))
    }
}

fn unauthorized(name: &str, remedy: &str) -> LockError {
    let text = format!("`{name}` refuses the user or its password: {remedy}");
    LockError::new(ErrorKind::Unauthorized, "").with_backend(name).with_message(text)
}
