//! What must not depend on bytes that a guest can wipe (F10): lock files are opened by others in
//! ways that empty them.
//!
//! * K1: what a record says is reserved lies in `.kept/<lock file>` before the record says so. It
//!   is read where there is no valid record, and by no one else.
//! * K2: a shared hold that was released by an administrator has `.kept/<lock file>.<token>`. That
//!   it is missing in a record means nothing.

use std::io;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Root;
use crate::kernel::{self, Opened};
use crate::name::SUFFIX;
use crate::record::{Entry, Record, Text};

/// The directory for it.
pub(crate) const KEPT: &str = ".kept";

/// What lies beside the lock files of a directory.
#[derive(Debug)]
pub(crate) struct KeptFiles {
    root: Arc<Root>,
    of_several_users: bool,
}

impl KeptFiles {
    pub(super) fn new(root: &Arc<Root>, of_several_users: bool) -> Self {
        Self { root: root.clone(), of_several_users }
    }

    /// Writes down what a lock file is reserved by (K1).
    ///
    /// # Errors
    /// Those of writing it.
    pub(crate) fn reserve(
        &self,
        name: &str,
        key: Option<&str>,
        entries: Vec<Entry<'_>>,
    ) -> io::Result<()> {
        let file = self.make(name)?;
        Record { boot: kernel::boot(), key, entries, ..Record::default() }.write(&file)
    }

    /// What a lock file is reserved by, for whoever finds no valid record in it; empty if by
    /// nothing.
    pub(crate) fn reservations(&self, name: &str) -> Text {
        let Ok(file) = self.root.open_to_read(&format!("{KEPT}/{name}")) else {
            return Text::default();
        };
        let text = Text::read(&file).unwrap_or_default();
        let current =
            text.record().is_some_and(|record| kernel::is_of_this_boot(record.boot, &file));
        if current { text } else { Text::default() }
    }

    /// Forgets what a lock file was reserved by.
    ///
    /// # Errors
    /// Those of removing it.
    pub(crate) fn forget(&self, name: &str) -> io::Result<()> {
        match self.directory(None) {
            Ok(directory) => directory.remove(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down that the shared hold with this token has been released by an administrator (K2).
    ///
    /// # Errors
    /// Those of writing it.
    pub(crate) fn note_eviction(&self, name: &str, token: u64) -> io::Result<()> {
        self.make(&evicted(name, token)).map(drop)
    }

    /// Whether it has been.
    pub(crate) fn is_evicted(&self, name: &str, token: u64) -> bool {
        let path = format!("{KEPT}/{}", evicted(name, token));
        self.root.stat(&path).is_ok_and(|stat| stat.is_some())
    }

    /// Forgets it, as its holder knows.
    ///
    /// # Errors
    /// Those of removing it.
    pub(crate) fn forget_eviction(&self, name: &str, token: u64) -> io::Result<()> {
        self.forget(&evicted(name, token))
    }

    /// Removes what is of no use any more: of lock files that are not there. Called with the books
    /// in hand.
    pub(crate) fn clean(&self) {
        let Ok(directory) = self.directory(None) else { return };
        for name in directory.names().unwrap_or_default() {
            let of = name.rfind(SUFFIX).map(|at| &name[..at + SUFFIX.len()]);
            let is_left = of.is_some_and(|of| self.root.stat(of).is_ok_and(|stat| stat.is_none()));
            let now = kernel::now();
            let is_reserved = self
                .reservations(&name)
                .record()
                .is_some_and(|record| record.entries.iter().any(|entry| entry.is_reserved(now)));
            if is_left && !is_reserved {
                // Should it fail, it stays until the next time, and is in nobody's way.
                let _ = directory.remove(&name);
            }
        }
    }

    fn make(&self, name: &str) -> io::Result<Opened> {
        let directory = self.directory(Some(self.directory_mode()?))?;
        let mode = self.file_mode();
        let file = match directory.open_file(name, OFlags::empty(), Mode::empty()) {
            Err(Errno::NOENT) => {
                let file = directory.open_file(name, OFlags::CREATE, mode)?;
                // Whatever the umask says (F12). Of another's file it fails.
                let _ = rustix::fs::fchmod(&file, mode);
                file
            }
            outcome => outcome?,
        };
        Opened::new(file)
    }

    fn directory(&self, make: Option<Mode>) -> io::Result<Root> {
        self.root.subdirectory(KEPT, make)
    }

    /// As open as the directory of the lock files is.
    fn directory_mode(&self) -> io::Result<Mode> {
        let mode = if self.of_several_users { self.root.mode()? & 0o2777 } else { 0 };
        Ok(Mode::from_raw_mode(mode | 0o700))
    }

    fn file_mode(&self) -> Mode {
        let mode = if self.of_several_users { self.root.mode().unwrap_or(0) & 0o022 } else { 0 };
        Mode::from_raw_mode(0o600 | mode | mode << 1)
    }
}

fn evicted(name: &str, token: u64) -> String {
    format!("{name}.{token}")
}
