//! The kit where holders are other clients and other processes, and its control.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use locks_conformance::{Fixture, conformance, serve};
use locks_core::Backend;

use crate::broken::passes_case;
use crate::sockets::{Flaw, Sockets};

const DIRECTORY: &str = "LOCKS_CONFORMANCE_DIRECTORY";
const FLAW: &str = "LOCKS_CONFORMANCE_FLAW";

/// Two clients of one directory in this process, and as many as are asked for in others.
struct Several {
    directory: PathBuf,
    flaw: Option<Flaw>,
    ours: Backend,
    theirs: Backend,
    hangs: Arc<AtomicBool>,
}

impl Several {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(flaw: Option<Flaw>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-conformance-{}-{number}", std::process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let hangs = Arc::<AtomicBool>::default();
        let client = || Backend::new(Sockets::that_hangs(directory.clone(), flaw, hangs.clone()));
        let (ours, theirs) = (client(), client());
        Self { directory, flaw, ours, theirs, hangs }
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        // Where a case has failed, its threads may still be writing.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Fixture for Several {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(if self.flaw.is_some() { 1 } else { 20 })
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }

    fn child(&self) -> Option<Command> {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "processes::serves_the_kit", "--nocapture"]);
        command.env(DIRECTORY, &self.directory);
        if let Some(flaw) = self.flaw {
            command.env(FLAW, format!("{flaw:?}"));
        }
        Some(command)
    }

    fn hang(&self, hangs: bool) -> bool {
        self.hangs.store(hangs, Ordering::SeqCst);
        true
    }

    fn restart(&self) -> Option<Backend> {
        Some(Backend::new(Sockets::new(self.directory.clone(), self.flaw)))
    }
}

/// Not a test but the program that [`Several::child`] starts; by itself it does nothing.
#[test]
fn serves_the_kit() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let told = env::var(FLAW).ok();
        let mut flaws = CONTROLS.iter().map(|(flaw, _)| *flaw);
        let flaw = flaws.find(|flaw| Some(format!("{flaw:?}")) == told);
        serve(&Backend::new(Sockets::new(directory.into(), flaw))).unwrap();
    }
}

conformance!(sockets, Several::new);

/// What each flaw fails; that the cases pass without is what `sockets` shows.
pub(crate) const CONTROLS: [(Flaw, &[&str]); 9] = [
    (
        Flaw::Apart,
        &[
            "c1_clients_exclude_each_other",
            "c1_processes_exclude_each_other",
            "c3_clients_are_served_in_order",
            "c8_a_stopped_process_learns_of_its_loss",
        ],
    ),
    (
        Flaw::TokensInMemory,
        &["c7_tokens_of_two_clients_grow_together", "c7_tokens_outlive_the_arbiter_as_declared"],
    ),
    (Flaw::HoldsOutlive, &["c4_a_killed_process_frees_its_locks"]),
    (Flaw::WaitsOutlive, &["c5_a_killed_process_leaves_the_queue"]),
    (Flaw::ReleasesLater, &["c4_a_process_that_ends_after_its_release_keeps_nothing"]),
    (Flaw::ForksHold, &["c4_a_forked_child_holds_nothing_of_its_parents"]),
    (Flaw::SilenceIsContention, &["c2_an_arbiter_that_does_not_answer_is_unavailable"]),
    (Flaw::GuestsOfTheFirst, &["c9_a_killed_process_leaves_a_shared_owner_its_hold"]),
    (Flaw::WaitsGoOn, &["c5_a_dropped_wait_of_another_client_leaves_nothing"]),
];

#[test]
fn flaws_between_clients_are_noticed() {
    for (flaw, cases) in CONTROLS {
        for case in cases {
            let passes = passes_case(Arc::new(Several::with(Some(flaw))), case);
            assert!(!passes, "`{case}` does not notice {flaw:?}");
        }
    }
}

/// A fixture that keeps quiet about other processes is not let off.
#[test]
fn missing_hooks_are_noticed() {
    struct Quiet(Several);

    impl Fixture for Quiet {
        fn backend(&self) -> Backend {
            self.0.backend()
        }
    }

    let cases = [
        "c1_clients_exclude_each_other",
        "c1_processes_exclude_each_other",
        "c7_tokens_outlive_the_arbiter_as_declared",
    ];
    for case in cases {
        let passes = passes_case(Arc::new(Quiet(Several::new())), case);
        assert!(!passes, "`{case}` passes without the hooks it needs");
    }
}
