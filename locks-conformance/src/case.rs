use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::running::Running;
use super::stalls::Stalls;
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

/// How often a case is run at most.
const RUNS: u32 = 3;

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
    /// there were other processes, leaves these cases out, and says so by running the others
    /// itself:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use locks::Backend;
    /// use locks::backend::Engine;
    /// use locks::conformance::Case;
    ///
    /// for case in Case::all().iter().filter(|case| !case.needs_child()) {
    /// #   if case.name() != "c1_the_longest_key_is_one" { continue }
    ///     case.run_fresh(|| Arc::new(Backend::new(Engine::new())));
    /// }
    /// ```
    pub fn needs_child(&self) -> bool {
        self.area == "children"
    }

    /// Runs the case against a fresh fixture, and three times at most if the fixture
    /// [says](Fixture::passes_over_late_waiters) that a machine that stands still can make it fail.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_fresh(&self, fresh: impl Fn() -> Arc<dyn Fixture>) {
        for _ in 1..RUNS {
            let fixture = fresh();
            let excuse = fixture.passes_over_late_waiters().then(|| fixture.tick());
            let Some(tick) = excuse else { return self.run(fixture) };
            let stalls = Stalls::watch();
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run(fixture))) else { return };
            let late = stalls.most();
            if late <= tick {
                resume_unwind(panic);
            }
            eprintln!("`{}` failed while the machine was late by {late:?}", self.name);
        }
        self.run(fresh());
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use locks_core::{Backend, Engine};

    use super::*;

    struct Late(Backend, bool);

    impl Fixture for Late {
        fn backend(&self) -> Backend {
            self.0.clone()
        }

        /// Any machine stands still for as long.
        fn tick(&self) -> Duration {
            Duration::ZERO
        }

        fn passes_over_late_waiters(&self) -> bool {
            self.1
        }
    }

    /// How many fixtures were made for a case that fails, as any case that a machine makes fail.
    fn made_for_a_failure(is_excused: bool) -> u32 {
        fn fail(_: &Subject) {
            std::thread::sleep(Duration::from_millis(50));
            std::panic::resume_unwind(Box::new(()));
        }
        let made = Cell::new(0);
        let fresh = || -> Arc<dyn Fixture> {
            made.set(made.get() + 1);
            Arc::new(Late(Backend::new(Engine::new()), is_excused))
        };
        let case = Case { name: "a case", area: "tests", body: fail, with_rival: false };
        let run = catch_unwind(AssertUnwindSafe(|| case.run_fresh(fresh)));
        assert!(run.is_err(), "it fails in the end");
        made.get()
    }

    #[test]
    fn a_case_is_run_again_only_where_the_machine_is_an_excuse() {
        assert_eq!(made_for_a_failure(true), RUNS);
        assert_eq!(made_for_a_failure(false), 1);
    }
}
