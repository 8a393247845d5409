//! What is told to recorders and subscribers is what the lists of it say, and all of that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use locks_core::Backend;

use crate::fails::fails;
use crate::polled::{Polled, engine};

/// Everything that is told of.
fn all_of_it() {
    let (_, backend, clock) = engine();
    let guard = backend.named("k").acquire().unwrap();
    assert!(backend.named("k").wait(false).acquire().is_err());
    let mut waits = Polled::waiting(backend.named("k"));
    drop(guard);
    drop(waits.poll());
    assert!(backend.named("").acquire().is_err());
    let victim = backend.named("k").acquire().unwrap();
    clock.advance(Duration::from_secs(2));
    drop(backend.named("k").steal_after(Duration::from_secs(1)).acquire().unwrap());
    drop(victim);
    let holder = locks_core::HolderInfo::new(locks_core::Mode::Exclusive);
    locks_core::report_stolen("k", &holder, &holder);
    let broken: Backend = fails(|| locks_core::LockError::unavailable("fails:", "on purpose"));
    drop(broken.named("k").acquire().unwrap());
}

#[cfg(feature = "metrics")]
mod by_metric {
    use std::future::Future;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    use std::task::{Context, Poll, Waker};

    use metrics::{
        Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    #[derive(Default)]
    struct Records {
        told: Mutex<BTreeSet<(String, String, Vec<String>)>>,
        described: Mutex<BTreeSet<(String, String)>>,
        level: Arc<Level>,
    }

    /// The sum of all gauges, which panics when it is to fall, if it is told to.
    #[derive(Default)]
    struct Level(AtomicI64, AtomicBool);

    impl GaugeFn for Level {
        fn increment(&self, by: f64) {
            self.0.fetch_add(by as i64, Ordering::SeqCst);
        }

        fn decrement(&self, by: f64) {
            assert!(!self.1.load(Ordering::SeqCst), "on purpose");
            self.0.fetch_sub(by as i64, Ordering::SeqCst);
        }

        fn set(&self, _: f64) {}
    }

    impl Records {
        fn tell(&self, kind: &str, key: &Key) {
            let labels = key.labels().map(|label| label.key().to_owned()).collect();
            self.told.lock().unwrap().insert((key.name().to_owned(), kind.to_owned(), labels));
        }

        fn describe(&self, name: &KeyName, text: &SharedString) {
            self.described.lock().unwrap().insert((name.as_str().to_owned(), text.to_string()));
        }
    }

    impl Recorder for Records {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
            self.describe(&name, &text);
        }

        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
            self.describe(&name, &text);
        }

        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
            self.describe(&name, &text);
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.tell("counter", key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.tell("gauge", key);
            Gauge::from_arc(self.level.clone())
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.tell("histogram", key);
            Histogram::noop()
        }
    }

    #[test]
    fn the_list_of_metrics_is_that_of_what_is_told() {
        let records = Records::default();
        metrics::with_local_recorder(&records, || {
            all_of_it();
            locks_core::describe_metrics();
        });
        let listed = locks_core::METRICS.iter().map(|(name, kind, labels, _)| {
            (
                (*name).to_owned(),
                (*kind).to_owned(),
                labels.iter().map(|it| (*it).to_owned()).collect(),
            )
        });
        assert_eq!(*records.told.lock().unwrap(), listed.collect::<BTreeSet<_>>());
        let helps = locks_core::METRICS.map(|(name, .., help)| (name.to_owned(), help.to_owned()));
        assert_eq!(*records.described.lock().unwrap(), BTreeSet::from(helps));
        assert_eq!(records.level.0.load(Ordering::SeqCst), 0, "nothing is held and nobody waits");
    }

    /// Whoever looks for the guard around does not want the lock.
    #[test]
    fn a_guard_that_is_looked_for_in_vain_is_no_refusal() {
        let (records, (_, backend, _)) = (Records::default(), engine());
        metrics::with_local_recorder(&records, || {
            assert!(backend.current_guard("k").unwrap().is_none());
            let look = locks_core::scope(backend.current_guard_async("k"));
            let found = pin!(look).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(found, Poll::Ready(Ok(None))), "{found:?}");
        });
        let told = records.told.lock().unwrap();
        assert!(!told.iter().any(|(name, ..)| name == "locks_contended_total"), "{told:?}");
        assert_eq!(records.level.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn f45_a_recorder_that_panics_when_a_wait_is_over_costs_no_lock() {
        let (records, (_, backend, _)) = (Records::default(), engine());
        let broken = |run: &mut dyn FnMut()| {
            records.level.1.store(true, Ordering::SeqCst);
            let _ = catch_unwind(AssertUnwindSafe(run));
            records.level.1.store(false, Ordering::SeqCst);
        };
        metrics::with_local_recorder(&records, || {
            let mut granted = None;
            broken(&mut || granted = backend.named("k").shared().acquire().ok());
            drop(granted);
            let held = backend.named("k").wait(false).acquire().expect("nobody holds it");
            let mut waits = Polled::waiting(backend.named("k"));
            drop(held);
            let mut granted = None;
            broken(&mut || granted = Some(waits.poll()));
            drop((granted, waits));
            drop(backend.named("k").wait(false).acquire().expect("nobody holds it"));
        });
    }
}

#[cfg(feature = "tracing")]
#[test]
fn the_list_of_events_is_that_of_what_is_told() {
    use tracing::Metadata;
    use tracing::subscriber::with_default;

    use crate::listens::Listens;

    let told = Arc::new(Mutex::new(BTreeSet::new()));
    let wants = {
        let told = told.clone();
        move |metadata: &Metadata<'_>| {
            let fields = metadata.fields().iter().map(|field| field.name().to_owned());
            let fields = fields.filter(|name| name != "message").collect::<BTreeSet<_>>();
            told.lock().unwrap().insert((metadata.level().to_string().to_lowercase(), fields));
            true
        }
    };
    // While there is just one, `tracing` asks the thread that comes by first, which may be another
    // test's.
    let _other = tracing::Dispatch::new(Listens { wants: |_: &Metadata<'_>| true, told: |_| {} });
    with_default(Listens { wants, told: |_| {} }, all_of_it);
    let listed = locks_core::EVENTS.iter().flat_map(|(_, levels, fields)| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect::<BTreeSet<_>>();
        levels.split(", ").map(move |level| (level.to_owned(), fields.clone()))
    });
    assert_eq!(*told.lock().unwrap(), listed.collect::<BTreeSet<_>>());
}
