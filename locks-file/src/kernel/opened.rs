use std::fs::File;
use std::io;
use std::mem;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use locks_core::descriptors::{InChild, is_listed, list, unlist};

use super::generation;
use crate::directory::Inode;

/// An open file of this process, and what becomes of it in a child that is forked without `exec`
/// (C4).
///
/// The child has the same number open, and with it the lock by `flock`, unless the number is
/// closed. It may have closed the number itself, as daemons do with all that they have inherited,
/// and opened something else by it: so nothing is closed in a child without knowing what that is.
#[derive(Debug)]
pub(crate) struct Opened {
    /// `None` only while it is being dropped.
    file: Option<File>,
    pub(crate) inode: Inode,
    in_child: Inherited,
    generation: u64,
}

/// What becomes of it in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    /// It is closed at the fork, and its number says nothing any more.
    Closed,
    /// It stays open.
    Left,
    /// It stays open until it is dropped, for it can be seen by users.
    Dropped,
}

impl Opened {
    /// Takes over a lock file, which nobody but this library knows.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Self::inherited(file, Inherited::Closed)
    }

    /// Takes over what locks nothing, and may be of use to a child.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn left_open(file: File) -> io::Result<Self> {
        Self::inherited(file, Inherited::Left)
    }

    /// Takes over a file that users have in their hands as well.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn of_users(file: File) -> io::Result<Self> {
        Self::inherited(file, Inherited::Dropped)
    }

    fn inherited(file: File, in_child: Inherited) -> io::Result<Self> {
        list(file.as_raw_fd(), in_child.listed());
        match Inode::of(&file) {
            Ok(inode) => Ok(Self { file: Some(file), inode, in_child, generation: generation() }),
            Err(error) => {
                unlist(file.as_raw_fd(), in_child.listed());
                Err(error)
            }
        }
    }

    /// Another descriptor of the same open file, with the same lock.
    ///
    /// # Errors
    /// Those of `dup`.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Self::inherited(self.try_clone()?, self.in_child)
    }

    /// Whether it is this process that has opened it.
    fn is_own(&self) -> bool {
        self.generation == generation()
    }

    /// Whether its number stands for it: as it does in the process that opened it, and in a child
    /// that has not closed it.
    pub(crate) fn still_is_itself(&self) -> bool {
        let Some(file) = &self.file else { return false };
        self.is_own()
            || self.in_child != Inherited::Closed
                && Inode::of(file).is_ok_and(|inode| inode == self.inode)
                && !is_listed(file.as_raw_fd(), InChild::Open)
    }
}

impl Inherited {
    const fn listed(self) -> InChild {
        match self {
            Self::Closed => InChild::Closed,
            Self::Left | Self::Dropped => InChild::Open,
        }
    }
}

impl Deref for Opened {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("it is there until it is dropped")
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_own() {
            unlist(self.as_raw_fd(), self.in_child.listed());
        } else if self.in_child != Inherited::Dropped || !self.still_is_itself() {
            mem::forget(self.file.take());
        }
    }
}
