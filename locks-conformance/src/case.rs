use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::running::Running;
use super::subject::Subject;
use super::{CASES, Fixture};

/// What `conformance!` implements for its module.
#[doc(hidden)]
pub trait Made {
    /// A fresh fixture.
    fn make() -> Arc<dyn Fixture>;
}

/// One case of the kit; its name begins with the number of the clause it checks.
#[derive(Clone, Copy)]
pub struct Case {
    pub(super) name: &'static str,
    pub(super) area: &'static str,
    pub(super) body: fn(&Subject),
    /// Whether the other side is another client.
    pub(super) with_rival: bool,
}

/// Longer than any case takes, in units of a fixture's patience.
pub(crate) const LIMIT: u32 = 12;

impl Case {
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

    /// Returns `true` if it needs a [`child`](Fixture::child). A backend in memory, tested as if
    /// there were other processes, leaves these cases out.
    pub fn needs_child(&self) -> bool {
        self.area == "children"
    }

    /// Runs the case against `fixture`.
    ///
    /// # Panics
    /// If the backend violates the clause, or the case hangs.
    pub fn run(&self, fixture: Arc<dyn Fixture>) {
        let limit = (fixture.patience() * LIMIT).max(Duration::from_secs(1));
        let (body, mut subject) = (self.body, Subject::new(fixture));
        if self.with_rival {
            let Some(with_rival) = subject.with_rival() else { return };
            subject = with_rival;
        }
        // On a thread of its own: a fresh identity, and one that can be left hanging.
        Running::start(self.name, limit, move || body(&subject)).finish();
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}
