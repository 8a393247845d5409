use std::sync::Arc;

use locks_core::LockError;
use locks_core::fork::{self, PerProcess};

use super::link::Link;

/// What a process has of a backend, and what a child that it forked has instead (C4).
///
/// Numbers of requests tell them apart: a guard of the parent means nothing in the child.
pub(super) struct Generation(PerProcess<Arc<Link>>);

impl Generation {
    pub(super) const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// The link of this process, if a hold with this number is of it.
    pub(super) fn own_of(&self, request: u64) -> Option<&Arc<Link>> {
        if request >> GENERATION == this() { self.0.get() } else { None }
    }

    /// The link of the process that a hold with this number is of: this one, or one that it was
    /// forked from.
    pub(super) fn maker_of(&self, request: u64) -> Option<&Arc<Link>> {
        let made = |generation: u64| generation & GENERATIONS == request >> GENERATION;
        self.0.of_line().find(|(generation, _)| made(*generation)).map(|(_, link)| link)
    }

    /// The link of this process, if it has one.
    pub(super) fn existing(&self) -> Option<&Arc<Link>> {
        self.0.get()
    }

    /// The link of this process.
    ///
    /// # Errors
    /// Those of `make`, which is given the number before its first one.
    pub(super) fn link(
        &self,
        make: impl FnOnce(u64) -> Result<Arc<Link>, LockError>,
    ) -> Result<&Arc<Link>, LockError> {
        self.0.get_or_try_init(|| make(this() << GENERATION))
    }
}

/// Where in a number the generation is told, as far as there is room for it.
const GENERATION: u32 = 48;

const GENERATIONS: u64 = u64::MAX >> GENERATION;

fn this() -> u64 {
    fork::generation() & GENERATIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_guards_of_its_parent_mean_nothing_to_a_forked_child() {
        let generation = Generation::new();
        let failed = generation.link(|numbers_after| {
            assert_eq!(numbers_after, fork::generation() << GENERATION);
            Err(LockError::new(locks_core::ErrorKind::Io, ""))
        });
        failed.unwrap_err();
        assert!(generation.own_of(1).is_none() && generation.existing().is_none());
    }
}
