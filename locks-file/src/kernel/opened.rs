use std::fs::File;
use std::io;
use std::mem;
use std::ops::Deref;

use super::generation;
use crate::directory::Inode;

/// An open file of this process.
///
/// A forked child inherits its number and may close it (daemons close all that they have inherited) and
/// open something else by that number. So what a child drops is closed only if the number still stands
/// for the file that it stood for in the parent (C4).
#[derive(Debug)]
pub(crate) struct Opened {
    /// `None` only while it is being dropped.
    file: Option<File>,
    pub(crate) inode: Inode,
    generation: u64,
}

impl Opened {
    /// Takes over `file`, which this process has opened.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let inode = Inode::of(&file)?;
        Ok(Self { file: Some(file), inode, generation: generation() })
    }

    /// Whether its number still stands for it. In the process that opened it, always.
    pub(crate) fn is_there(&self) -> bool {
        self.generation == generation()
            || self.file.as_ref().and_then(|file| Inode::of(file).ok()) == Some(self.inode)
    }
}

impl Deref for Opened {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.is_there() {
            mem::forget(self.file.take());
        }
    }
}
