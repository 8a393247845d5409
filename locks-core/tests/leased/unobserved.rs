//! Releases that fail with nobody there to hear of it, told by the adapter's own thread.

use std::sync::Once;
use std::time::Duration;

use parking_lot::Mutex;

use crate::gate::Gate;
use crate::listens::warnings;
use crate::rig::{Rig, take};
use crate::store::{Fault, Step};

/// The texts of warnings, of all threads.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let listens = warnings(|text| WARNINGS.lock().push(text));
        tracing::subscriber::set_global_default(listens).unwrap();
    });
}

/// How often a failed release of `key` was told of.
fn told(key: &str) -> usize {
    let of_key = format!("key=\"{key}\"");
    let warnings = WARNINGS.lock();
    let failed = |text: &&String| text.contains(&of_key) && text.contains("not released");
    warnings.iter().filter(failed).count()
}

#[test]
fn f11_a_release_that_fails_at_once_is_told_on_drop() {
    listen();
    let rig = Rig::new();
    let guard = take(&rig.ours, "at once");
    rig.store.fail(Step::End, [Fault::Fail]);
    drop(guard);
    assert_eq!(told("at once"), 1);
    rig.pass_until("the hold is ended", || rig.store.rows() == 0);
    assert_eq!(told("at once"), 1);
}

#[test]
fn f11_a_release_that_fails_after_the_drop_is_told() {
    listen();
    let rig = Rig::new();
    let guard = take(&rig.ours, "later");
    rig.store.fail(Step::End, [Fault::HoldStep(Gate::default())]);
    drop(guard);
    assert_eq!(told("later"), 0, "the store may still answer");
    rig.pass_until("it is told of", || told("later") == 1);
    rig.pass_until("the hold is ended", || rig.store.rows() == 0);
}

#[test]
fn f11_a_release_that_is_waited_for_is_returned_and_not_told() {
    listen();
    let rig = Rig::new();
    let guard = take(&rig.ours, "returned");
    rig.store.fail(Step::End, [Fault::Fail]);
    let error = guard.release().unwrap_err();
    assert_eq!(error.key(), "returned", "{error}");
    rig.pass(Duration::from_secs(1));
    assert_eq!(told("returned"), 0);
}
