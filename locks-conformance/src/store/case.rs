use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::stores::Stores;
use super::{CASES, StoreFixture};
use crate::case::LIMIT;
use crate::running::Running;

/// What `lease_store!` implements for its module.
#[doc(hidden)]
pub trait StoreMade {
    /// A fresh fixture.
    fn make() -> Arc<dyn StoreFixture>;
}

/// One case of the contract of a store; its name begins with the number of the clause that it
/// checks.
#[derive(Clone, Copy)]
pub struct StoreCase {
    pub(super) name: &'static str,
    pub(super) body: fn(&Stores),
}

impl StoreCase {
    /// Returns all cases.
    pub fn all() -> &'static [Self] {
        CASES
    }

    /// Returns the case with this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> Self {
        let case = CASES.iter().find(|case| case.name == name);
        *case.unwrap_or_else(|| panic!("there is no case `{name}`"))
    }

    /// Returns its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case against `fixture`.
    ///
    /// # Panics
    /// If the store violates the clause, or the case hangs.
    pub fn run(&self, fixture: Arc<dyn StoreFixture>) {
        let limit = (fixture.patience() * LIMIT).max(Duration::from_secs(1));
        let (body, stores) = (self.body, Stores::new(fixture));
        Running::start(self.name, limit, move || body(&stores)).finish();
    }
}

impl fmt::Debug for StoreCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreCase({})", self.name)
    }
}
