//! Releases that fail with nobody there to hear of it (C4, and row 11 of the table of faults).

#![cfg(any(feature = "tracing", feature = "metrics"))]

use std::sync::Arc;

use locks_core::{ErrorKind, LockError, LostCause};

use crate::fails::fails;

fn out_of_reach() -> LockError {
    LockError::unavailable("fails:", "as ordered").with_key("k")
}

fn stolen() -> LockError {
    LockError::new(ErrorKind::Lost { cause: LostCause::Stolen }, "k")
}

/// Drops a guard of each kind whose release fails like that.
fn drop_guards(how: fn() -> LockError) {
    let backend = fails(how);
    drop(backend.named("k").acquire().unwrap());
    drop(backend.named("k").acquire().unwrap().into_owned());
}

fn release_guard(how: fn() -> LockError) {
    let error = fails(how).named("k").acquire().unwrap().release().unwrap_err();
    assert_eq!(error.kind(), how().kind());
}

#[cfg(feature = "tracing")]
mod by_event {
    use std::sync::Mutex;

    use super::*;
    use crate::listens;

    fn warnings(run: impl FnOnce()) -> Vec<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let listens = listens::warnings(move |text| hears.lock().unwrap().push(text));
        tracing::subscriber::with_default(listens, run);
        std::mem::take(&mut *heard.lock().unwrap())
    }

    #[test]
    fn f11_a_release_that_fails_on_drop_is_told() {
        let warnings = warnings(|| drop_guards(out_of_reach));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        for warning in warnings {
            assert!(warning.contains("not released as it should be"), "{warning}");
            assert!(warning.contains("key=\"k\"") && warning.contains("as ordered"), "{warning}");
        }
    }

    #[test]
    fn f11_what_is_returned_or_known_is_not_told_as_well() {
        assert!(warnings(|| release_guard(out_of_reach)).is_empty(), "it was returned");
        assert!(warnings(|| drop_guards(stolen)).is_empty(), "a loss is told when it happens");
    }
}

#[cfg(feature = "metrics")]
mod by_metric {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    /// Counts the releases that failed.
    #[derive(Default)]
    struct Failures(Arc<Count>);

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl CounterFn for Count {
        fn increment(&self, by: u64) {
            self.0.fetch_add(by as usize, Ordering::SeqCst);
        }

        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Failures {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            match key.name() {
                "locks_release_failed_total" => Counter::from_arc(self.0.clone()),
                _ => Counter::noop(),
            }
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    fn failures(run: impl FnOnce()) -> usize {
        let failures = Failures::default();
        metrics::with_local_recorder(&failures, run);
        failures.0.0.load(Ordering::SeqCst)
    }

    #[test]
    fn f11_a_release_that_fails_on_drop_is_counted() {
        assert_eq!(failures(|| drop_guards(out_of_reach)), 2);
        assert_eq!(failures(|| release_guard(out_of_reach)), 0, "it was returned");
        assert_eq!(failures(|| drop_guards(stolen)), 0, "a loss is counted when it happens");
    }
}
