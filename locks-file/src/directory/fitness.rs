//! Whether a directory will do (F7).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use locks_core::LockError;
use locks_core::directory::{is_network, make_private};
use rustix::fs::Mode;

use super::Root;
use crate::fault;

/// What is asked of a directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What this process calls itself for others.
    pub(crate) label: String,
    /// Whether a network file system will do.
    pub(crate) on_network: bool,
    /// Whether the directory may be somebody else's, and others may write to it.
    pub(crate) of_several_users: bool,
    /// Whether waiters are told by the kernel when to look again; otherwise they look by
    /// themselves.
    pub(crate) unwatched: bool,
}

impl Settings {
    /// Whether a file of this user may be used.
    pub(crate) fn is_own(&self, uid: u32) -> bool {
        self.of_several_users || uid == rustix::process::geteuid().as_raw()
    }

    /// The permissions of a new file: the user's alone, or whoever's the directory is.
    pub(crate) fn file_mode(&self, directory: &Root) -> Mode {
        let own = Mode::RUSR | Mode::WUSR;
        if !self.of_several_users {
            return own;
        }
        let mode = directory.mode().unwrap_or(0);
        let others = [(0o020, Mode::RGRP | Mode::WGRP), (0o002, Mode::ROTH | Mode::WOTH)];
        let granted = others.into_iter().filter(|(bit, _)| mode & bit != 0).map(|(_, mode)| mode);
        granted.fold(own, |mode, more| mode | more)
    }
}

/// Makes the directory if there is none, and looks at what is there. Its path without links.
pub(super) fn prepare(path: &Path, settings: &Settings) -> Result<PathBuf, LockError> {
    let absolute = std::path::absolute(path).map_err(|error| fault::directory(path, error))?;
    // So that a link at the end is seen as one.
    let path = &absolute.components().collect::<PathBuf>();
    let metadata = match fs::symlink_metadata(path) {
        // Others than directories, and others' ones, are judged below.
        Ok(metadata) if !metadata.is_dir() || metadata.mode() & 0o700 == 0o700 => Ok(metadata),
        Err(error) if !may_be_made(&error) => Err(error),
        // Also where another process is making it, or what is above it, this instant (F12).
        _ => {
            refuse_network(path, settings)?;
            make_private(path).map_err(|error| fault::directory(path, error))?;
            fs::symlink_metadata(path)
        }
    };
    let metadata = metadata.map_err(|error| fault::directory(path, error))?;
    if metadata.is_symlink() {
        return Err(fault::linked_directory(path));
    }
    if !metadata.is_dir() {
        return Err(fault::no_directory(path));
    }
    if !settings.is_own(metadata.uid()) {
        return Err(fault::foreign_directory(path, metadata.uid()));
    }
    if !settings.of_several_users && metadata.mode() & 0o022 != 0 {
        return Err(fault::open_directory(path, metadata.mode() & 0o777));
    }
    refuse_network(path, settings)?;
    fs::canonicalize(path).map_err(|error| fault::directory(path, error))
}

fn may_be_made(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind())
}

fn refuse_network(path: &Path, settings: &Settings) -> Result<(), LockError> {
    if settings.on_network {
        return Ok(());
    }
    match is_network(path) {
        Ok(false) => Ok(()),
        Ok(true) => Err(fault::network(path)),
        Err(error) => Err(fault::directory(path, error)),
    }
}
