//! The store behind `Leased`, put to the whole kit: at once and slowly, with an order among all
//! clients and with none; and the flaws that an adapter in front might hide.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_conformance::{Case, Fixture, StoreFixture};
use locks_core::{Backend, Leased, WaiterOrder};

use crate::flaw::Flaw;
use crate::store::Shared;

/// Two processes, as it were, with the store between them.
struct Adapted {
    shared: Shared,
    ours: Backend,
    theirs: Backend,
}

impl Adapted {
    fn new(shared: Shared) -> Self {
        let adapt = |client| {
            let clock = Arc::new(shared.clock.clone());
            Leased::builder(client).clock(clock).build().into_backend()
        };
        let [ours, theirs] = shared.clients().map(adapt);
        Self { shared, ours, theirs }
    }
}

impl Fixture for Adapted {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn patience(&self) -> Duration {
        StoreFixture::patience(&self.shared)
    }

    fn now(&self) -> Duration {
        StoreFixture::now(&self.shared)
    }

    /// Advances in small steps, each after the renewals of the one before.
    fn advance(&self, by: Duration) {
        let settled = || {
            let give_up = Instant::now() + StoreFixture::patience(&self.shared);
            while self.shared.is_behind() && Instant::now() < give_up {
                thread::sleep(Duration::from_micros(200));
            }
        };
        let mut left = by;
        settled();
        while left > Duration::ZERO {
            let step = left.min(Duration::from_millis(50));
            self.shared.clock.advance(step);
            left -= step;
            settled();
        }
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }

    fn restart(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }
}

fn passes(shared: Shared, case: &str) -> bool {
    let run = || Case::named(case).run(Arc::new(Adapted::new(shared)));
    catch_unwind(AssertUnwindSafe(run)).is_ok()
}

/// Run by itself: who is called has to come within the store's 250 ms, and not beside sixteen
/// others.
const ALONE: &str = "rival::c3_an_older_waiter_of_the_holders_client_goes_first";

/// All cases but that, some at a time: a slow store is waited for, and not computed.
#[track_caller]
fn passes_all(make: impl Fn() -> Shared + Sync) {
    // A store in memory has no other processes.
    let cases = Case::all().iter().filter(|case| !case.needs_child());
    let cases = cases.map(Case::name).filter(|name| *name != ALONE).collect::<Vec<_>>();
    let (next, failed) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !passes(make(), case) {
                failed.lock().expect("nothing panics under it").push(*case);
            }
        }
    };
    thread::scope(|threads| (0..16).for_each(|_| drop(threads.spawn(work))));
    let failed = failed.into_inner().expect("nothing panics under it");
    assert!(failed.is_empty(), "{failed:#?} of {} cases", cases.len());
}

#[test]
fn the_kit_passes_with_one_order_for_all() {
    passes_all(|| Shared::new(None, WaiterOrder::All, false));
    assert!(passes(Shared::new(None, WaiterOrder::All, false), ALONE), "`{ALONE}`");
}

#[test]
fn the_kit_passes_with_an_order_within_each_process() {
    passes_all(|| Shared::new(None, WaiterOrder::WithinProcess, false));
}

#[test]
fn the_kit_passes_over_a_slow_store() {
    passes_all(|| Shared::new(None, WaiterOrder::WithinProcess, true));
}

/// What a store gets wrong shows through the adapter as well, where two clients meet.
#[test]
fn flaws_of_the_store_show_through_the_adapter() {
    let shows: &[(Flaw, &str)] = &[
        (Flaw::SharedBesideTheirs, "rival::c1_shared_not_beside_exclusive"),
        (Flaw::ReleaseDropsReservation, "rival::c14_hold_at_least_reserves_the_key"),
        (Flaw::StealsReservation, "rival::c14_hold_at_least_protects_from_theft"),
        (Flaw::StealsAllForOneOld, "rival::c6_an_exclusive_thief_takes_all_shared_holds_or_none"),
        (Flaw::LocalWaiterForgotten, "rival::c3_an_older_waiter_of_the_holders_client_goes_first"),
        (Flaw::PermitsOfClients, "rival::c16_as_many_as_there_are_and_no_more"),
        (Flaw::KeysFoldCase, "rival::c1_keys_are_compared_byte_for_byte"),
        (Flaw::StealsEarly, "rival::c6_without_waiting_it_steals_now_or_fails_now"),
        (Flaw::TokensOfClients, "c7_tokens_of_two_clients_grow_together"),
        (Flaw::RefreshForgotten, "rival::c6_refresh_renews_the_age"),
    ];
    let blind = shows.iter().filter(|(flaw, case)| passes(Shared::with(*flaw), case));
    let blind = blind.collect::<Vec<_>>();
    assert!(blind.is_empty(), "these flaws do not show in these cases: {blind:#?}");
}
