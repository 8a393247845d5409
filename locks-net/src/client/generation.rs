use std::sync::{Arc, OnceLock};

use locks_core::LockError;

use super::link::Link;

/// What a process has of a backend, and what a child that it forked has instead (C4).
///
/// A forked child finds its parent's connection, threads and mutexes as they were in that instant, and
/// uses none of them: by its number it finds that they are not its own, and goes on to the next.
pub(super) struct Generation {
    pid: u32,
    /// Numbers of requests tell generations apart: a guard of the parent means nothing in the child.
    depth: u16,
    link: OnceLock<Arc<Link>>,
    next: OnceLock<Box<Generation>>,
}

impl Generation {
    pub(super) fn first() -> Self {
        Self::new(0)
    }

    fn new(depth: u16) -> Self {
        Self { pid: std::process::id(), depth, link: OnceLock::new(), next: OnceLock::new() }
    }

    /// That of this process.
    pub(super) fn own(&self) -> &Self {
        let pid = std::process::id();
        let mut own = self;
        while own.pid != pid {
            let depth = own.depth.saturating_add(1);
            own = own.next.get_or_init(|| Box::new(Self::new(depth)));
        }
        own
    }

    /// That of this process, if a hold with this number is of it.
    pub(super) fn own_of(&self, request: u64) -> Option<&Arc<Link>> {
        let own = self.own();
        if request >> DEPTH == u64::from(own.depth) { own.link.get() } else { None }
    }

    /// The link of this process, if it has one.
    pub(super) fn existing(&self) -> Option<&Arc<Link>> {
        self.own().link.get()
    }

    /// The link of this process.
    ///
    /// # Errors
    /// Those of `make`, which is given the number before its first one.
    pub(super) fn link(
        &self,
        make: impl FnOnce(u64) -> Result<Arc<Link>, LockError>,
    ) -> Result<&Arc<Link>, LockError> {
        let own = self.own();
        if let Some(link) = own.link.get() {
            return Ok(link);
        }
        let made = make(u64::from(own.depth) << DEPTH)?;
        Ok(own.link.get_or_init(|| made))
    }
}

/// Where in a number the generation is told.
const DEPTH: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_a_forked_child_begins_anew_and_its_parents_guards_mean_nothing_to_it() {
        let parent = Generation { pid: 0, ..Generation::first() };
        let child = parent.own();
        assert_eq!((child.pid, child.depth), (std::process::id(), 1));
        assert!(std::ptr::eq(child, parent.own()), "once");
        let failed = parent.link(|numbers_after| {
            assert_eq!(numbers_after, 1 << DEPTH);
            Err(LockError::new(locks_core::ErrorKind::Io, ""))
        });
        failed.unwrap_err();
        assert!(parent.own_of(1).is_none() && parent.existing().is_none());
    }
}
