use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Uid, User};

use super::is_network;
use crate::{ErrorKind, LockError};

/// Returns the directory of this user's locks: by the user database, never by the environment, so
/// that a cron job, a service, `sudo` and a shell of one user meet (`~/.local/state/locks`, or
/// `/var/tmp/locks-<uid>` where there is no home of one's own on a local disk).
///
/// # Errors
/// `NotConfigured` if the user database cannot be read.
pub fn default_directory() -> Result<PathBuf, LockError> {
    let uid = Uid::effective();
    let user = User::from_uid(uid).map_err(|error| {
        let why = format!(
            "the user database does not say where user {uid} is at home: {error}; name a directory, \
             as in `file:///dir` or `net:///dir`"
        );
        LockError::new(ErrorKind::NotConfigured, "").with_message(why)
    })?;
    let home = user.map(|user| user.dir).filter(|home| {
        // Accounts that are at home nowhere have `/`, `/nonexistent`, or somebody else's directory.
        home.metadata().is_ok_and(|home| home.is_dir() && home.uid() == uid.as_raw())
            && home.parent().is_some()
            && !is_network(home).unwrap_or(true)
    });
    Ok(match home {
        Some(home) => home.join(".local/state/locks"),
        None => PathBuf::from(format!("/var/tmp/locks-{uid}")),
    })
}
