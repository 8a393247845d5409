use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use locks_core::{ErrorKind, LockError};
use nix::unistd::{Uid, User};

use super::fitness::{is_network, nearest};

/// The directory of this user's locks: by the user database, never by the environment, so that a cron
/// job, a service, `sudo` and a shell of one user meet (DESIGN's default: `~/.local/state/locks`, or
/// `/var/tmp/locks-<uid>` where there is no home of one's own on a local disk).
///
/// # Errors
/// `NotConfigured` if the user database cannot be read.
pub(crate) fn default_directory() -> Result<PathBuf, LockError> {
    let uid = Uid::effective();
    let user = User::from_uid(uid).map_err(|error| {
        let why = format!(
            "the user database does not say where user {uid} is at home: {error}; name a directory \
             by `file:///dir`"
        );
        LockError::new(ErrorKind::NotConfigured, "").with_backend("file:").with_message(why)
    })?;
    let home = user.map(|user| user.dir).filter(|home| {
        // Accounts that are at home nowhere have `/`, `/nonexistent`, or somebody else's directory.
        home.metadata().is_ok_and(|home| home.is_dir() && home.uid() == uid.as_raw())
            && home.parent().is_some()
            && !is_network(&nearest(home)).unwrap_or(true)
    });
    Ok(match home {
        Some(home) => home.join(".local/state/locks"),
        None => PathBuf::from(format!("/var/tmp/locks-{uid}")),
    })
}
