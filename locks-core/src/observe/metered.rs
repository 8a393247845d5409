//! The metrics of a call site. Their keys are made once, so that counting allocates nothing.

use std::cell::RefCell;
use std::collections::HashMap;

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, with_recorder};

use crate::CallSite;
use crate::fork::PerProcess;
use crate::sync::plain::Mutex;

static METADATA: Metadata<'static> = Metadata::new("locks", Level::INFO, Some(module_path!()));

/// What is counted of each acquisition. There is one of these for each call site, for ever: a
/// program has only so many.
pub(crate) struct Metered {
    site: SharedString,
    acquired: Key,
    wait: Key,
    waiting: Key,
    held: Key,
    hold: Key,
}

type BySite = HashMap<usize, &'static Metered>;

static KNOWN: PerProcess<Mutex<BySite>> = PerProcess::new();

thread_local! {
    /// Those that this thread has asked for, so that threads do not meet at the mutex.
    static ASKED: RefCell<BySite> = RefCell::default();
}

impl Metered {
    /// Returns the metrics of a call site, or of those that are not known.
    pub(super) fn of(site: Option<CallSite>) -> &'static Self {
        let address = site.map_or(0, |site| site.to_raw().addr());
        let find = || {
            *KNOWN
                .get_or_init(Mutex::default)
                .lock()
                .entry(address)
                .or_insert_with(|| Self::new(site))
        };
        // Where the thread is ending, its own map is gone.
        let asked = ASKED.try_with(|asked| *asked.borrow_mut().entry(address).or_insert_with(find));
        asked.unwrap_or_else(|_| find())
    }

    fn new(site: Option<CallSite>) -> &'static Self {
        let site: &'static str = match site {
            Some(site) => Box::leak(site.to_string().into_boxed_str()),
            None => "unknown",
        };
        let key = |name: &'static str| {
            Key::from_parts(name, vec![Label::from_static_parts("site", site)])
        };
        Box::leak(Box::new(Self {
            site: site.into(),
            acquired: key("locks_acquired_total"),
            wait: key("locks_wait_seconds"),
            waiting: key("locks_waiting"),
            held: key("locks_held"),
            hold: key("locks_hold_seconds"),
        }))
    }

    pub(super) fn site(&self) -> SharedString {
        self.site.clone()
    }

    pub(super) fn begins_to_wait(&self) {
        with_recorder(|at| at.register_gauge(&self.waiting, &METADATA).increment(1.0));
    }

    pub(super) fn waits_no_longer(&self) {
        with_recorder(|at| at.register_gauge(&self.waiting, &METADATA).decrement(1.0));
    }

    pub(super) fn is_held(&self) {
        with_recorder(|at| at.register_gauge(&self.held, &METADATA).increment(1.0));
    }

    pub(super) fn is_held_no_longer(&self) {
        with_recorder(|at| at.register_gauge(&self.held, &METADATA).decrement(1.0));
    }

    pub(super) fn was_acquired(&self, after: f64) {
        with_recorder(|at: &dyn Recorder| {
            at.register_counter(&self.acquired, &METADATA).increment(1);
            at.register_histogram(&self.wait, &METADATA).record(after);
        });
    }

    pub(super) fn was_released(&self, after: f64) {
        with_recorder(|at| at.register_histogram(&self.hold, &METADATA).record(after));
    }
}
