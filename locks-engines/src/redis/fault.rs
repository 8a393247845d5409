//! The errors of the client in the words of locks.

use locks_core::{ErrorKind, LockError};
use redis::RedisError;

/// What helps where servers of one kind refuse the user.
#[derive(Clone, Copy)]
pub(super) struct Remedy {
    /// Against an unknown user or a wrong password.
    pub(super) user: &'static str,
    /// Whether a user was named, and no password.
    pub(super) is_without_password: bool,
    /// Against a missing right.
    pub(super) rights: &'static str,
}

/// At servers. The rights are those of the manual.
pub(super) const SERVER: Remedy = Remedy {
    user: "name the user in the URL, and the file of the password by `password_file=`",
    is_without_password: false,
    rights: "`+info +hello +asking +eval +evalsha +script|load +subscribe +scan +time +hmget +hget +hset \
             +hdel +hgetall +hincrby +exists +pexpire +pttl +publish`, on the keys and channels of its \
             namespace, as in `~{billing}:* &{billing}:*`",
};

/// At Sentinels.
pub(super) const SENTINEL: Remedy = Remedy {
    user: "Sentinels have users of their own: name the file of the password by \
           `sentinel_password_file=`, and the user, if it is not the default one, by `sentinel_user=`",
    is_without_password: false,
    rights: "`+hello +sentinel|master +sentinel|masters +subscribe` at the Sentinels, on their channel \
             `&+switch-master`",
};

/// What a failed command means, and whether its connection is of further use.
pub(super) struct RedisFault {
    pub(super) error: LockError,
    /// The connection is gone, or leads to a server that cannot help.
    pub(super) reconnect: bool,
}

impl RedisFault {
    /// Of a server; `name` is what the backend is called.
    pub(super) fn of(name: &str, error: RedisError) -> Self {
        Self::remedied(name, error, SERVER)
    }

    fn remedied(name: &str, error: RedisError, remedy: Remedy) -> Self {
        let code = error.code().unwrap_or("").to_owned();
        let detail = error.detail().unwrap_or("").to_owned();
        let refused = |kind, text: String| Self {
            error: LockError::new(kind, "").with_backend(name).with_message(text),
            reconnect: false,
        };
        match code.as_str() {
            "NOPERM" => missing(name, &detail, remedy),
            // What a script may not do has no code: so does Redis 7.0 say it, and so do later ones,
            // and Valkey.
            _ if detail.contains("The user executing the script can't")
                || detail.contains("ACL failure in script") =>
            {
                missing(name, &detail, remedy)
            }
            "OOM" => refused(
                ErrorKind::LimitExceeded,
                format!(
                    "`{name}` grants nothing more: its memory is full; raise `maxmemory`, or make room"
                ),
            ),
            "NOAUTH" | "WRONGPASS" => Self { error: unauthorized(name, remedy), reconnect: true },
            "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "MOVED" | "ASK" => {
                Self { error: unable(name, &code, &detail, error), reconnect: true }
            }
            "TRYAGAIN" => {
                let why =
                    "the keys of this namespace are being moved to another node of the cluster";
                Self { error: LockError::unavailable(name, why), reconnect: false }
            }
            // A script has stumbled over it. One that an operator has killed can be tried again.
            "WRONGTYPE" | "ERR" if is_stumble(&code, &detail) => refused(
                ErrorKind::Protocol,
                format!(
                    "`{name}` has something in this namespace that no client of locks has written: \
                     remove it, or take another `namespace=` ({code} {detail})"
                ),
            ),
            _ => {
                let reconnect =
                    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout();
                let error = match code.as_str() {
                    "" => LockError::unavailable(name, error),
                    _ => unable(name, &code, &detail, error),
                };
                Self { error, reconnect }
            }
        }
    }

    /// What a failed attempt to connect means; `remedy` is what helps where the user is refused.
    pub(super) fn on_connecting(name: &str, error: RedisError, remedy: Remedy) -> LockError {
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
            () if detail.contains("has no permissions to run the 'select' command") => {
                let text = format!(
                    "`{name}` refuses this user a command ({detail}): a database other than 0 needs \
                     `+select`"
                );
                return LockError::new(ErrorKind::Unauthorized, "")
                    .with_backend(name)
                    .with_message(text);
            }
            () => return Self::remedied(name, error, remedy).error,
        };
        LockError::new(ErrorKind::NotConfigured, "")
            .with_backend(name)
            .with_message(format!("`{name}` {why}"))
    }
}

/// Whether an error comes of what a script has read.
fn is_stumble(code: &str, detail: &str) -> bool {
    code == "WRONGTYPE" || detail.contains("user_script:") && !detail.contains("killed")
}

/// The error of a server that was reached, and cannot do at present what it was asked for.
fn unable(name: &str, code: &str, detail: &str, error: RedisError) -> LockError {
    // Where it is asked for a database, the client drops the code.
    let text = match detail.contains("is busy running a ") {
        true => format!(
            "`{name}` is busy with a script or a function of some client, and does nothing else before \
             that ends: `SCRIPT KILL` or `FUNCTION KILL` ends it ({detail})"
        ),
        false => format!("`{name}` cannot do it at present: {detail} ({code})"),
    };
    LockError::new(ErrorKind::Unavailable, "")
        .with_backend(name)
        .with_message(text)
        .with_source(error)
}

fn missing(name: &str, detail: &str, remedy: Remedy) -> RedisFault {
    let text =
        format!("`{name}` refuses this user a command ({detail}): it needs {}", remedy.rights);
    let error = LockError::new(ErrorKind::Unauthorized, "").with_backend(name).with_message(text);
    RedisFault { error, reconnect: false }
}

fn unauthorized(name: &str, remedy: Remedy) -> LockError {
    // The user is not repeated: it may be a password that was written in its place.
    let what = match remedy.is_without_password {
        true => "the user that is named to it without a password",
        false => "the user or its password",
    };
    let text = format!("`{name}` refuses {what}: {}", remedy.user);
    LockError::new(ErrorKind::Unauthorized, "").with_backend(name).with_message(text)
}
