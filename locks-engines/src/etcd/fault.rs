//! The errors of etcd in the words of locks.

use std::error::Error;

use locks_core::{ErrorKind, LockError};
use tonic::{Code, Status};

/// What a failed call means, and whether its connection is of further use.
pub(super) struct EtcdFault {
    pub(super) error: LockError,
    /// The connection is gone, or leads to a member that cannot help.
    pub(super) reconnect: bool,
}

impl EtcdFault {
    /// `name` is what the backend is called.
    pub(super) fn of(name: &str, status: &Status) -> Self {
        let text = status.message();
        let refused = |kind, text: String| Self {
            error: LockError::new(kind, "").with_backend(name).with_message(text),
            reconnect: false,
        };
        if status.code() == Code::PermissionDenied {
            return refused(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` refuses this user the keys of its namespace: \
                     `etcdctl role grant-permission ROLE readwrite NAMESPACE 'NAMESPACE '`, with a space \
                     at the end, and `etcdctl user grant-role USER ROLE`"
                ),
            );
        }
        if text.contains("user name is empty") {
            return refused(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` has users: name yours in the URL, as in `etcd://app@host:2379`, and the \
                     file of its password by `password_file=`"
                ),
            );
        }
        if text.contains("authentication failed") || status.code() == Code::Unauthenticated {
            return refused(
                ErrorKind::Unauthorized,
                format!(
                    "`{name}` refuses the user or its password: the user is named in the URL, and its \
                     password comes from the file `password_file=` or the variable `LOCKS_PASSWORD`"
                ),
            );
        }
        if text.contains("authentication is not enabled") {
            return refused(
                ErrorKind::NotConfigured,
                format!(
                    "`{name}` has no users: leave the user out of the URL, or make it one and run \
                     `etcdctl auth enable`"
                ),
            );
        }
        if is_full(status) {
            return refused(
                ErrorKind::LimitExceeded,
                format!(
                    "`{name}` grants nothing more: its database is full; compact and defragment it, then \
                     run `etcdctl alarm disarm`, or raise `--quota-backend-bytes`"
                ),
            );
        }
        if text.contains("too many operations in txn") {
            return refused(
                ErrorKind::LimitExceeded,
                format!(
                    "`{name}` takes fewer operations at a time: lock fewer keys at once, or raise its \
                     `--max-txn-ops` to 128 or more"
                ),
            );
        }
        let gone = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
        );
        Self { error: LockError::unavailable(name, text.to_owned()), reconnect: gone }
    }
}

/// Whether the call named a lease that is not there any more.
pub(super) fn is_lease_gone(status: &Status) -> bool {
    status.code() == Code::NotFound && status.message().contains("lease not found")
}

/// Whether there is no room to write anything. What only removes, and keeps leases alive, needs
/// none.
pub(super) fn is_full(status: &Status) -> bool {
    status.message().contains("database space exceeded")
}

/// Whether the lease to be made is there already.
pub(super) fn is_lease_there(status: &Status) -> bool {
    status.message().contains("lease already exists")
}

/// The error and what it comes of; those of the transport say nothing by themselves.
pub(super) fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
