//! The books in hand: epochs are handed out, and thefts noted.

use std::os::unix::fs::FileExt;
use std::sync::MutexGuard;

use locks_core::LockError;

use super::epoch_file::EpochFile;
use super::epochs::Epochs;
use super::exchange;
use crate::kernel::{self, Opened};
use crate::name;
use crate::record::Text;

/// How many epochs are promised at a time.
const PROMISED: u32 = 1024;
/// How far ahead to go where the books are lost and only the lock files tell.
const LEAP: u32 = 1 << 16;
/// Tokens stay below 2^61.
const LAST: u32 = (1 << 29) - 1;

/// The books in hand: the right to change what is everybody's.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    pub(super) epochs: &'a Epochs,
    pub(super) file: MutexGuard<'a, Option<Opened>>,
    pub(super) books: EpochFile,
}

impl Entered<'_> {
    /// The next epoch of the directory (E1).
    ///
    /// # Errors
    /// If the books cannot be written, and if there are no epochs left.
    pub(crate) fn next_epoch(&mut self) -> Result<u32, LockError> {
        self.ensure_epoch()?;
        if self.books.next >= LAST {
            let why = "its epochs have run out: name another directory by `file:///dir`";
            return Err(LockError::new(locks_core::ErrorKind::LimitExceeded, "")
                .with_backend(&*self.epochs.name)
                .with_message(format!("`{}`: {why}", self.epochs.name)));
        }
        let mut books = self.books.clone();
        books.next += 1;
        self.write(books)?;
        Ok(self.books.next - 1)
    }

    /// Notes the theft that begins, or that there is none any more.
    pub(crate) fn note_theft(&mut self, theft: Option<(String, u64)>) -> Result<(), LockError> {
        self.books.theft = theft;
        self.write_books()
    }

    pub(super) fn write_books(&mut self) -> Result<(), LockError> {
        self.ensure_epoch()?;
        self.write(self.books.clone())
    }

    /// Sees to it that the books are of this start of the machine and have a promised epoch.
    fn ensure_epoch(&mut self) -> Result<(), LockError> {
        let mut books = self.books.clone();
        if books.next == 0 {
            books.next = self.greatest_found()?.map_or(1, |found| found.saturating_add(LEAP));
            books.until = books.next;
        } else if !kernel::is_of_this_boot(books.boot, self.file()) {
            // What was handed out before the crash may not have been written down.
            books.next = books.until;
        }
        if kernel::boot() != 0 {
            books.boot = kernel::boot();
        }
        if books.next >= books.until {
            books.until = books.next.saturating_add(PROMISED);
            self.write(books)?;
            let failed = |error| self.epochs.failed(error);
            self.file().sync_data().map_err(failed)?;
            self.epochs.root.sync().map_err(failed)?;
        } else {
            self.books = books;
        }
        Ok(())
    }

    /// The greatest epoch that any lock file here tells of.
    fn greatest_found(&self) -> Result<Option<u32>, LockError> {
        let root = &self.epochs.root;
        let mut greatest = None;
        for name in root.names().map_err(|error| self.epochs.failed(error))? {
            if name.ends_with(name::SUFFIX)
                && let Ok(file) = root.open_existing(&name)
                && let Some(record) = Text::read(&file).ok().as_ref().and_then(Text::record)
            {
                greatest = greatest.max(u32::try_from(record.token >> 32).ok());
            }
        }
        Ok(greatest)
    }

    /// E2.
    pub(super) fn recover(&mut self) -> Result<(), LockError> {
        let Some((name, inode)) = self.books.theft.clone() else { return Ok(()) };
        exchange::recover(&self.epochs.root, &name, inode)
            .map_err(|error| self.epochs.failed(error))?;
        self.note_theft(None)
    }

    fn write(&mut self, books: EpochFile) -> Result<(), LockError> {
        let failed = |error| self.epochs.failed(error);
        self.file().write_all_at(&books.to_bytes(), 0).map_err(failed)?;
        self.books = books;
        Ok(())
    }

    pub(super) fn file(&self) -> &Opened {
        self.file.as_ref().expect("it is there while the books are in hand")
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // Should it fail, the file is closed, which unlocks as well.
        if fs4::FileExt::unlock(&**self.file()).is_err() {
            *self.file = None;
        }
    }
}
