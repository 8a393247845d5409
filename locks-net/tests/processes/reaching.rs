//! Rows 43 and 44: a server that hangs, is away for a while, or refuses, and what those are told
//! who want something of it.

use std::thread;
use std::time::Duration;

use locks_core::{Backend, ErrorKind, LostCause};
use locks_net::{NetBackend, Secret};

use crate::directory::until;
use crate::place::{Place, WAYS, Way, status};
use crate::polled::Polled;

#[test]
fn row_43_a_server_that_hangs_is_no_contention() {
    for way in WAYS {
        let place = Place::new(way);
        let serving = place.start();
        let client = place.told().client_within(Duration::from_secs(2)).unwrap();
        status(&client).unwrap();
        serving.stop();
        for wait in [Duration::from_millis(300), Duration::from_secs(2)] {
            let error = Backend::new(client.clone()).named("free").wait(wait).acquire();
            let error = error.expect_err("nobody answers");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{way:?}: {error}");
            assert!(!error.is_contended(), "{way:?}: {error}");
        }
        serving.go_on();
        until("it is served again", || {
            Backend::new(client.clone()).named("free").acquire().is_ok()
        });
    }
}

/// However often it were asked for again, it would be over before it arrived.
#[test]
fn c8_a_bound_shorter_than_the_way_from_the_server_ends_in_a_lost_guard() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let backend = place.backend();
        let bound = Duration::from_nanos(1);
        let guard = backend.named("k").hold_at_most(bound).acquire().unwrap();
        let error = guard.check().expect_err("it was over before it arrived");
        assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::HeldTooLong }, "{way:?}");
        assert!(guard.release().is_err_and(|error| error.is_lost()), "{way:?}");
        let mut polled = Polled::begin(backend.named("k").hold_at_most(bound).wait(false));
        let guard = loop {
            if let Some(outcome) = polled.poll_for(Duration::from_secs(1)) {
                break outcome.unwrap();
            }
        };
        assert!(guard.is_lost(), "{way:?}");
    }
}

/// Leases of 3 s, and nobody serves for more than half of it, at many phases of renewal at once.
#[test]
fn row_44_a_server_that_is_back_within_seven_tenths_of_a_lease_has_cost_nobody_a_lock() {
    let place = Place::with_limits(Way::Tcp, "lease=3000");
    let mut serving = place.start();
    let mut holders = Vec::new();
    for number in 0..12 {
        let backend = place.backend();
        let guard = backend.named(format!("k{number}")).acquire().unwrap();
        holders.push((backend, guard));
        thread::sleep(Duration::from_millis(27));
    }
    for away in [1300, 1900] {
        let mut next = place.standby();
        serving.kill();
        thread::sleep(Duration::from_millis(away));
        place.let_serve(&mut next);
        serving = next;
        // As long as it takes for whatever is lost to be known to be.
        thread::sleep(Duration::from_secs(3));
        for (number, (_, guard)) in holders.iter().enumerate() {
            guard.check().unwrap_or_else(|error| panic!("away {away} ms, {number}: {error}"));
            guard.refresh().unwrap();
        }
    }
}

#[test]
fn row_44_stops_one_after_the_other_cost_nobody_a_lock() {
    let place = Place::with_limits(Way::Tcp, "lease=2000");
    let serving = place.start();
    let backend = place.backend();
    let guard = backend.named("k").acquire().unwrap();
    for _ in 0..4 {
        serving.stop();
        thread::sleep(Duration::from_millis(900));
        serving.go_on();
        thread::sleep(Duration::from_millis(300));
    }
    guard.check().unwrap();
    guard.release().unwrap();
}

#[test]
fn c4_a_release_by_the_last_handle_of_a_backend_is_confirmed() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        for _ in 0..20 {
            place.backend().named("k").acquire().unwrap().release().unwrap();
        }
        let guard = place.backend().named("k").acquire().unwrap();
        guard.refresh().unwrap();
        guard.release().unwrap();
    }
}

#[test]
fn c2_who_waits_for_less_than_it_takes_to_connect_is_served() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        for _ in 0..20 {
            let backend = place.backend();
            let guard = backend.named("k").wait(Duration::from_nanos(1)).acquire();
            guard.unwrap_or_else(|error| panic!("{way:?}: {error}")).release().unwrap();
        }
    }
}

#[test]
fn n5_a_wrong_secret_is_told_so_every_time() {
    let place = Place::new(Way::Tcp);
    let _serving = place.start();
    let address = place.told().address;
    for attempt in 0..8 {
        let wrong = NetBackend::tcp(&address, Secret::generate().unwrap()).build().unwrap();
        let error = status(&wrong).expect_err("it is wrong");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "attempt {attempt}: {error}");
    }
    status(&place.client()).expect("whoever knows it is served meanwhile");
}

/// More of them than a runtime reads from in one go.
#[test]
fn c3_many_clients_that_ask_while_nobody_reads_are_served_in_their_order() {
    let place = Place::new(Way::Unix);
    let serving = place.start();
    let clients = Vec::from_iter((0..200).map(|_| place.backend()));
    for client in &clients {
        client.named("other").acquire().unwrap().release().unwrap();
    }
    serving.stop();
    let mut waiting = Vec::new();
    for client in &clients {
        let mut polled = Polled::begin(client.named("k"));
        assert!(polled.poll().is_none());
        waiting.push(polled);
    }
    serving.go_on();
    let mut last = 0;
    for (number, mut polled) in waiting.into_iter().enumerate() {
        let mut granted = None;
        until("it is its turn", || {
            granted = polled.poll_for(Duration::from_millis(20));
            granted.is_some()
        });
        let guard = granted.unwrap().unwrap();
        assert!(last < guard.token().get(), "C3: {number} comes too late");
        last = guard.token().get();
        guard.release().unwrap();
    }
}
