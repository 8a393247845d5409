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
    /// All cases.
    pub fn all() -> &'static [Self] {
        CASES
    }

    /// The case of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> Self {
        let case = CASES.iter().find(|case| case.name == name);
        *case.unwrap_or_else(|| panic!("there is no case `{name}`"))
    }

    /// What it is called.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it needs a [`child`](Fixture::child): a backend in memory, put to the kit as if there
    /// were other processes, leaves these out.
    pub fn needs_child(&self) -> bool {
        self.area == "children"
    }

    /// Puts the fixture to it.
    ///
    /// # Panics
    /// If the backend does not do what the clause says, and if the case hangs.
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
