//! The errors of the client in the words of locks.

use locks_core::{ErrorKind, LockError};
use redis::RedisError;

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
            "NOAUTH" | "WRONGPASS" => Self {
                error: LockError::new(ErrorKind::Unauthorized, "").with_backend(name).with_message(
                    format!(
                        "`{name}` refuses the user or its password: name the user in the URL, and \
                         the file of the password by `password_file=`"
                    ),
                ),
                reconnect: true,
            },
            "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" => {
                Self { error: LockError::unavailable(name, error), reconnect: true }
            }
            "MOVED" | "ASK" | "CROSSSLOT" => refused(
                ErrorKind::NotConfigured,
                format!(
                    "`{name}` is a node of a cluster, and another one keeps the keys of this \
                     namespace: name that node, or choose another namespace"
                ),
            ),
            _ => {
                let reconnect =
                    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout();
                Self { error: LockError::unavailable(name, error), reconnect }
            }
        }
    }
}
