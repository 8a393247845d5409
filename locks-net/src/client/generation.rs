use std::sync::{Arc, OnceLock};

use locks_core::LockError;

use super::link::Link;
use crate::per_process::PerProcess;

/// What a process has of a backend, and what a child that it forked has instead (C4).
///
/// Numbers of requests tell them apart: a guard of the parent means nothing in the child.
pub(super) struct Generation(PerProcess<OnceLock<Arc<Link>>>);

impl Generation {
    pub(super) fn first() -> Self {
        Self(PerProcess::default())
    }

    /// The link of this process, if a hold with this number is of it.
    pub(super) fn own_of(&self, request: u64) -> Option<&Arc<Link>> {
        let (link, depth) = self.0.own();
        if request >> DEPTH == u64::from(depth) { link.get() } else { None }
    }

    /// The link of this process, if it has one.
    pub(super) fn existing(&self) -> Option<&Arc<Link>> {
        self.0.own().0.get()
    }

    /// The link of this process.
    ///
    /// # Errors
    /// Those of `make`, which is given the number before its first one.
    pub(super) fn link(
        &self,
        make: impl FnOnce(u64) -> Result<Arc<Link>, LockError>,
    ) -> Result<&Arc<Link>, LockError> {
        let (link, depth) = self.0.own();
        if let Some(link) = link.get() {
            return Ok(link);
        }
        let made = make(u64::from(depth) << DEPTH)?;
        Ok(link.get_or_init(|| made))
    }
}

/// Where in a number the generation is told.
const DEPTH: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_guards_of_its_parent_mean_nothing_to_a_forked_child() {
        let parent = Generation(PerProcess::of_ancestors(1));
        let failed = parent.link(|numbers_after| {
            assert_eq!(numbers_after, 1 << DEPTH);
            Err(LockError::new(locks_core::ErrorKind::Io, ""))
        });
        failed.unwrap_err();
        assert!(parent.own_of(1).is_none() && parent.existing().is_none());
    }
}
