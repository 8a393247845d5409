use locks_core::{ErrorKind, LostCause};

use super::*;

/// C8: a twentieth of ten seconds sooner than the server.
const VALID: Duration = millis(9500);

#[test]
fn c8_a_renewed_session_counts_from_the_sending_of_what_was_acknowledged() {
    let mut rig = Rig::open(true);
    rig.advance(millis(500));
    let request = rig.ask(true);
    rig.calls();
    rig.advance(millis(2000));
    rig.grant(request);
    rig.fetch(request).unwrap();
    rig.advance(VALID - millis(2001));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    assert_eq!(rig.lost(request), Some(LostCause::Expired));
    assert!(rig.calls().iter().any(|call| matches!(call, Call::End { .. })), "it is given up");
    rig.acknowledge();
    assert_eq!(rig.lost(request), Some(LostCause::Expired), "it stays so");
}

#[test]
fn c8_whoever_waits_for_the_loss_is_woken_at_the_local_deadline() {
    let mut rig = Rig::open(true);
    let request = rig.hold();
    let count = rig.watched(|session, cx| {
        assert!(session.poll_lost(request, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.cut();
    let due = rig.session.next_deadline().unwrap();
    assert_eq!(due.since(rig.clock.now()), VALID);
    rig.advance(VALID);
    assert!(!rig.session.tick());
    rig.wake();
    assert_eq!(count.woken(), 1);
}

#[test]
fn n7_it_renews_at_a_tenth_of_the_smallest_lease_also_while_it_only_waits() {
    let mut rig = Rig::open(true);
    let mut acquire = plain(true);
    acquire.options.lease = Some(Duration::from_secs(3));
    let request = rig.session.acquire(acquire, None, rig.clock.now()).unwrap();
    rig.calls();
    rig.acknowledge();
    for _ in 0..5 {
        rig.advance(millis(299));
        assert!(!rig.session.tick());
        assert!(rig.calls().is_empty());
        rig.advance(millis(1));
        assert_eq!(rig.session.next_deadline(), Some(rig.clock.now()));
        assert!(!rig.session.tick());
        assert!(matches!(rig.calls()[..], [Call::Ping]));
        rig.acknowledge();
    }
    assert!(rig.poll(request).is_pending());
}

#[test]
fn c8_a_connection_that_does_not_acknowledge_renewals_is_given_up() {
    let mut rig = Rig::open(true);
    let request = rig.hold();
    rig.advance(LEASE / 10);
    assert!(!rig.session.tick());
    assert_eq!(rig.session.silent_since(), Some(rig.clock.now()));
    rig.advance(LEASE / 10);
    assert!(!rig.session.tick(), "others are tried beside it");
    rig.advance(LEASE * 2 / 5);
    assert!(rig.session.tick(), "no heartbeat was answered");
    rig.cut();
    rig.connect(How::Resumed);
    rig.calls();
    rig.acknowledge();
    rig.advance(LEASE / 2);
    assert_eq!(rig.lost(request), None, "nothing is lost by one that hangs");
}

#[test]
fn c8_a_grant_whose_validity_is_past_costs_a_heartbeat() {
    let mut rig = Rig::open(true);
    let request = rig.ask(true);
    rig.calls();
    rig.advance(VALID + millis(1));
    rig.grant(request);
    let count = rig.watched(|session, cx| {
        assert!(session.poll_acquire(request, Some(&mut cx.waker().clone())).is_pending());
    });
    assert!(matches!(rig.calls()[..], [Call::Ping]));
    rig.acknowledge();
    rig.wake();
    assert_eq!(count.woken(), 1);
    rig.fetch(request).unwrap();
    assert_eq!(rig.lost(request), None);
}

#[test]
fn c8_a_grant_that_is_never_proven_ends_with_its_wait() {
    let mut rig = Rig::open(true);
    let request = rig.ask(Duration::from_secs(11));
    rig.calls();
    rig.advance(VALID + millis(1));
    rig.grant(request);
    assert!(rig.poll(request).is_pending());
    rig.advance(Duration::from_secs(2));
    assert_eq!(rig.fetch(request).unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(matches!(rig.calls()[..], [Call::Ping, Call::End { .. }]));
}

#[test]
fn c8_a_loss_that_came_with_the_acknowledgement_is_known_before_that_counts() {
    let mut rig = Rig::open(true);
    let (kept, taken) = (rig.hold(), rig.hold());
    rig.advance(LEASE / 3);
    assert!(!rig.session.tick());
    rig.calls();
    rig.advance(LEASE);
    let mut bytes = rig.say(&Event::Lost { request: taken, cause: LostCause::Stolen });
    bytes.extend(rig.say(&Event::Lost { request: kept, cause: LostCause::Evicted }));
    rig.session.receive(&bytes).unwrap();
    assert_eq!(rig.lost(taken), Some(LostCause::Stolen));
    assert_eq!(rig.lost(kept), Some(LostCause::Evicted));
}

#[test]
fn n1_a_process_keeps_its_session_while_the_connection_is_good() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.advance(Duration::from_secs(3600));
    assert!(!rig.session.tick());
    assert_eq!(rig.lost(request), None);
    assert!(rig.calls().is_empty(), "without heartbeats");
    assert_eq!(rig.session.next_deadline(), None);
    assert_eq!(rig.session.look_every(), Some(LEASE / 5));
}

#[test]
fn n1_once_the_connection_is_lost_it_counts_from_when_it_was_last_good() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.advance(Duration::from_secs(60));
    rig.session.seen_open(rig.clock.now());
    rig.advance(Duration::from_secs(1));
    rig.cut();
    rig.advance(VALID - millis(1001));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    assert_eq!(rig.lost(request), Some(LostCause::Expired));
    rig.connect(How::Resumed);
    assert!(matches!(rig.calls()[..], [Call::Acquire(_), Call::End { .. }] | [Call::End { .. }]));
}

#[test]
fn n1_nobody_counts_while_nobody_listens_but_what_is_over_stays_over() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.cut();
    rig.advance(VALID / 2);
    rig.session.nobody_listens(rig.clock.now());
    rig.advance(VALID - millis(1));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    rig.session.nobody_listens(rig.clock.now());
    assert_eq!(rig.lost(request), Some(LostCause::Expired), "somebody may have been there since");
}

#[test]
fn n1_a_session_that_is_resumed_is_whole() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.cut();
    rig.advance(VALID / 2);
    rig.connect(How::Resumed);
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.lost(request), None);
}

#[test]
fn n1_that_nobody_listens_saves_nothing_that_may_have_ended_before() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.cut();
    rig.advance(VALID - millis(500));
    let dialed = rig.clock.now();
    // This process is stopped. Meanwhile the server ends the session, grants to others, and is
    // gone.
    rig.advance(millis(1100));
    rig.session.nobody_listens(dialed);
    assert_eq!(rig.lost(request), Some(LostCause::Expired));
}

#[test]
fn c8_a_grant_that_waits_for_its_proof_is_proven_by_the_next_connection() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.calls();
    rig.grant(request);
    rig.acknowledge();
    rig.cut();
    rig.advance(VALID);
    let count = rig.watched(|session, cx| {
        assert!(session.poll_acquire(request, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.connect(How::Resumed);
    rig.wake();
    assert_eq!(count.woken(), 1);
    rig.fetch(request).unwrap();
}

fn bounded(most: Duration) -> Box<Acquire> {
    let mut acquire = plain(true);
    acquire.options.hold_at_most = Some(most);
    acquire
}

#[test]
fn c14_a_bound_counts_from_before_the_grant_however_late_the_word_of_it_comes() {
    let mut rig = Rig::open(true);
    let request = rig.session.acquire(bounded(millis(5000)), None, rig.clock.now()).unwrap();
    rig.calls();
    rig.advance(millis(3000));
    rig.grant(request);
    rig.fetch(request).unwrap();
    rig.advance(millis(1999));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    assert_eq!(rig.lost(request), Some(LostCause::HeldTooLong));
    assert!(!rig.calls().iter().any(|call| matches!(call, Call::End { .. })), "that is not to say");
}

#[test]
fn c14_a_bound_counts_from_the_last_heartbeat_if_the_grant_was_waited_for() {
    let mut rig = Rig::open(true);
    let request = rig.session.acquire(bounded(millis(5000)), None, rig.clock.now()).unwrap();
    rig.calls();
    for _ in 0..20 {
        rig.advance(millis(500));
        assert!(!rig.session.tick());
        assert!(matches!(rig.calls()[..], [Call::Ping]), "a tenth of the bound");
        rig.acknowledge();
    }
    rig.advance(millis(100));
    rig.grant(request);
    rig.fetch(request).unwrap();
    rig.advance(millis(4899));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    assert_eq!(rig.lost(request), Some(LostCause::HeldTooLong));
}

#[test]
fn c14_a_grant_whose_bound_is_over_when_the_word_of_it_comes_is_asked_for_again() {
    let mut rig = Rig::open(true);
    let request = rig.session.acquire(bounded(millis(5000)), None, rig.clock.now()).unwrap();
    rig.calls();
    rig.advance(millis(6000));
    rig.grant(request);
    assert!(rig.poll(request).is_pending());
    assert!(matches!(rig.calls()[..], [Call::End { .. }, Call::Acquire(_)]));
    rig.grant(request);
    rig.fetch(request).unwrap();
    rig.advance(millis(4999));
    assert_eq!(rig.lost(request), None);
    rig.advance(millis(1));
    assert_eq!(rig.lost(request), Some(LostCause::HeldTooLong));
}
