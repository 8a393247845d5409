//! Rows 7, 16 and 18: connections over which nothing comes, for a while or for good.

use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind};

use crate::directory::until;
use crate::peer::now;
use crate::place::{Place, Way, assert_nothing_left, status};
use crate::polled::Polled;
use crate::proxy::{BOTH, Proxy, Towards};

const LEASE: Duration = Duration::from_secs(3);
/// For how much longer than it has to a busy machine may take.
const BUSY: Duration = Duration::from_secs(20);

/// Every way in which nothing gets through.
const SILENCES: [&[Towards]; 3] = [&[Towards::Server], &[Towards::Client], &BOTH];

fn place() -> Place {
    Place::with_limits(Way::Tcp, &format!("lease={}", LEASE.as_millis()))
}

/// The holder knows that it is lost before anybody else has it.
#[test]
fn row_16_a_holder_that_is_cut_off_is_told_before_its_rival_is_granted() {
    let place = place();
    let _serving = place.start();
    thread::scope(|threads| {
        for (case, silence) in SILENCES.into_iter().enumerate() {
            let place = &place;
            threads.spawn(move || {
                let (proxy, rival) = (Proxy::new(place), place.backend());
                let (holder, key) = (Backend::new(proxy.told().client()), format!("k{case}"));
                let guard = holder.named(key.clone()).acquire().unwrap().into_owned();
                let mut waiting = Polled::begin(rival.named(key.clone()));
                assert!(waiting.poll().is_none(), "C1");
                // It is renewed for longer than its lease.
                let start = Instant::now();
                while start.elapsed() < LEASE * 3 / 2 {
                    guard.check().expect("C8: it is renewed");
                    assert!(waiting.poll_for(Duration::from_millis(20)).is_none(), "C1");
                }
                proxy.silence(silence);
                let asked = now();
                let (last_held, (next, granted_at)) = thread::scope(|threads| {
                    // Until it knows, however late that is.
                    let watching = threads.spawn(|| {
                        let mut last_held = 0;
                        loop {
                            let at = now();
                            match guard.check() {
                                Ok(()) => last_held = at,
                                Err(error) if error.is_lost() => return last_held,
                                Err(error) => panic!("{error:?}"),
                            }
                            thread::park_timeout(Duration::from_micros(200));
                        }
                    });
                    let next = loop {
                        if let Some(outcome) = waiting.poll_for(Duration::from_secs(1)) {
                            break outcome.unwrap();
                        }
                    };
                    let granted_at = now();
                    (watching.join().unwrap(), (next, granted_at))
                });
                assert!(last_held > 0, "it was held at first");
                assert!(last_held < granted_at, "C8: {silence:?}: known too late");
                let kept = Duration::from_nanos(granted_at - asked);
                assert!(kept < LEASE * 3 + BUSY, "row 16: {silence:?}: it is kept for {kept:?}");
                assert!(next.token() > guard.token(), "C7");
                proxy.pass();
                // And its late release is nobody's loss.
                assert!(guard.release().is_err_and(|error| error.is_lost()), "C4");
                assert!(rival.named(key).wait(false).acquire().is_err(), "C4");
                next.release().unwrap();
            });
        }
    });
    assert_nothing_left(&place.client());
}

/// On a Unix socket the process keeps its locks; but one whose connection ends, and that cannot
/// make another, has to think of the server's lease.
#[test]
fn row_16_a_process_that_loses_its_connection_for_good_is_told_before_its_rival() {
    let place = Place::with_limits(Way::Unix, &format!("lease={}", LEASE.as_millis()));
    let _serving = place.start();
    let (proxy, rival) = (Proxy::new(&place), place.backend());
    let holder = Backend::new(proxy.told().client());
    let guard = holder.named("k").acquire().unwrap().into_owned();
    proxy.silence(&BOTH);
    let error = rival.named("k").wait(LEASE * 2).acquire().expect_err("row 3: nothing is lost");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    guard.check().expect("C8: it has its connection, and no lease");
    proxy.close();
    let cut = Instant::now();
    proxy.cut_all();
    proxy.pass();
    let mut waiting = Polled::begin(rival.named("k"));
    let (mut last_held, mut first_lost) = (Instant::now(), None);
    let next = loop {
        let at = Instant::now();
        match guard.check() {
            Ok(()) => last_held = at,
            Err(error) => {
                assert!(error.is_lost(), "{error:?}");
                first_lost.get_or_insert_with(Instant::now);
            }
        }
        if let Some(outcome) = waiting.poll_for(Duration::from_micros(200)) {
            break outcome.unwrap();
        }
    };
    let granted = Instant::now();
    let first_lost = first_lost.expect("C8: known too late");
    assert!(first_lost.duration_since(cut) > LEASE / 2, "it is lost before its time");
    assert!(guard.check().is_err_and(|error| error.is_lost()), "C8");
    assert!(granted.duration_since(last_held) > Duration::ZERO, "C8: known too late");
    assert!(granted.duration_since(cut) < LEASE * 3 + BUSY, "N1: it is kept for too long");
    next.release().unwrap();
}

/// Whoever waits and is cut off is refused when its time is up, and is in nobody's way.
#[test]
fn row_16_a_waiter_that_is_cut_off_gives_up_and_is_forgotten() {
    let place = place();
    let _serving = place.start();
    let (direct, wait) = (place.client(), Duration::from_millis(600));
    let holder = Backend::new(direct.clone());
    for (case, silence) in SILENCES.into_iter().enumerate() {
        let (proxy, key) = (Proxy::new(&place), format!("k{case}"));
        let waiter = Backend::new(proxy.told().client());
        drop(waiter.named("other").acquire().unwrap());
        let guard = holder.named(key.clone()).acquire().unwrap().into_owned();
        let start = Instant::now();
        let mut waiting = Polled::begin(waiter.named(key.clone()).wait(wait));
        assert!(waiting.poll().is_none(), "C1");
        until("it waits", || status(&direct).unwrap().waiters == 1);
        proxy.silence(silence);
        let error = loop {
            if let Some(outcome) = waiting.poll_for(Duration::from_secs(5)) {
                break outcome.expect_err("it is held");
            }
            assert!(start.elapsed() < wait + BUSY, "row 16: {silence:?}: it waits on");
        };
        let waited = start.elapsed();
        assert!(wait <= waited, "C2: {silence:?}: {waited:?}: {error}");
        let kinds = [ErrorKind::Timeout, ErrorKind::Unavailable];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        until("the server has forgotten it", || status(&direct).unwrap().waiters == 0);
        guard.release().unwrap();
        drop(holder.named(key).wait(false).acquire().expect("C5: nobody has it"));
    }
}

/// Renewals that come late, or not at all for a while, are no loss.
#[test]
fn row_7_a_silence_that_is_shorter_than_the_lease_loses_nothing() {
    let place = Place::with_limits(Way::Tcp, "lease=3000");
    let _serving = place.start();
    let (proxy, rival) = (Proxy::new(&place), place.backend());
    let holder = Backend::new(proxy.told().client());
    let guard = holder.named("k").acquire().unwrap().into_owned();
    proxy.delay(Duration::from_millis(40));
    for silence in SILENCES {
        proxy.silence(silence);
        let error = rival.named("k").wait(Duration::from_millis(1200)).acquire();
        assert!(error.is_err_and(|error| error.is_contended()), "row 7");
        proxy.pass();
        guard.refresh().expect("row 7: the lease has not run out");
        guard.check().unwrap();
    }
    // Cut again and again: it is resumed each time.
    for _ in 0..5 {
        proxy.cut_all();
        guard.refresh().expect("N1: a session outlives its connection");
    }
    assert!(proxy.connections() >= 6, "it was cut");
    guard.release().unwrap();
    assert_nothing_left(&place.client());
}

/// While nobody serves or the server hangs a call is bounded (C2).
#[test]
fn row_16_a_server_that_says_nothing_is_unavailable() {
    let place = place();
    let _serving = place.start();
    let proxy = Proxy::new(&place);
    proxy.silence(&BOTH);
    let client = Backend::new(proxy.told().client_within(Duration::from_millis(400)).unwrap());
    for wait in [locks_core::Wait::Try, locks_core::Wait::Forever] {
        let start = Instant::now();
        let error = client.named("k").wait(wait).acquire().expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let took = start.elapsed();
        assert!(took < BUSY, "C2: {took:?}");
    }
    proxy.pass();
    drop(client.named("k").acquire().expect("C2: it is back"));
}
