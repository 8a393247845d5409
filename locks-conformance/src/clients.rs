//! Holders that are other clients: C1, C2, C3, C5, C6, C7 and C9 once more.

use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, WaiterOrder};

/// Runs `body` with another client of the arbiter, if holders can be such.
fn with_rival(subject: &Subject, body: impl FnOnce(&Subject)) {
    if let Some(rival) = subject.rival() {
        body(&rival);
    }
}

pub(super) fn c1_clients_exclude_each_other(subject: &Subject) {
    with_rival(subject, |rival| {
        for (one, other) in [(subject, rival), (rival, subject)] {
            let guard = one.take(one.lock("k"));
            other.contended(other.lock("k"));
            let waiting = other.queue(other.lock("k"));
            one.release(guard);
            let guard = waiting.granted(other);
            one.contended(one.lock("k"));
            other.release(guard);
            one.assert_free("k");
        }
    });
}

pub(super) fn c1_readers_of_two_clients_share(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    with_rival(subject, |rival| {
        let ours = subject.take(subject.lock("k").shared());
        let theirs = rival.take(rival.lock("k").shared());
        subject.contended(subject.lock("k"));
        rival.contended(rival.lock("k"));
        drop(ours);
        subject.contended(subject.lock("k"));
        drop(theirs);
        subject.assert_free("k");
    });
}

/// The same number names two holders at two clients.
pub(super) fn c9_owners_of_two_clients_are_apart(subject: &Subject) {
    if !super::reentry::nests(subject) {
        return;
    }
    with_rival(subject, |rival| {
        let guard = subject.take(subject.lock("k").owner(1));
        rival.contended(rival.lock("k").owner(1).reentrant());
        drop(guard);
    });
}

pub(super) fn c3_clients_are_served_in_order(subject: &Subject) {
    with_rival(subject, |rival| {
        let guard = subject.take(subject.lock("k"));
        let mut clients = [rival, subject, rival, subject].into_iter();
        let mut waiting =
            Vec::from_iter(clients.by_ref().map(|client| (client, client.queue(client.lock("k")))));
        subject.outwait();
        drop(guard);
        let ordered = subject.can().order == WaiterOrder::All;
        while !waiting.is_empty() {
            let next = match ordered {
                true => 0,
                // By chance, then: whoever is served.
                false => {
                    let mut served = None;
                    subject.until("a client is served", || {
                        served = waiting.iter_mut().position(|(_, waiting)| waiting.poll());
                        served.is_some()
                    });
                    served.expect("somebody is")
                }
            };
            let (client, first) = waiting.remove(next);
            let guard = first.granted(client);
            for (client, later) in &mut waiting {
                later.assert_waits(client);
            }
            client.release(guard);
        }
    });
}

pub(super) fn c5_a_dropped_wait_of_another_client_leaves_nothing(subject: &Subject) {
    with_rival(subject, |rival| {
        for polls in 0..5 {
            let guard = subject.take(subject.lock("k"));
            let mut waiting = Pending::begin(rival.lock("k"));
            for _ in 0..polls {
                waiting.poll();
            }
            drop(waiting);
            drop(guard);
            // The withdrawal, and a release by a drop, may be under way still.
            subject.advance(subject.late());
            for client in [subject, rival] {
                let is_free = || client.outcome(client.try_lock("k")).is_ok();
                subject.until("nothing is left of it", is_free);
            }
        }
    });
}

pub(super) fn c6_clients_steal_from_each_other(subject: &Subject) {
    if !super::stealing::steals(subject) {
        return;
    }
    with_rival(subject, |rival| {
        let (age, since) = (subject.unit(), subject.now());
        let victim = subject.take(subject.lock("k"));
        let thief = rival.queue_until(rival.lock("k").steal_after(age), since, age);
        let thief = thief.due(rival, since, age).expect("it was old enough");
        super::stealing::assert_stolen(subject, &victim);
        assert!(thief.token() > victim.token());
        drop(victim);
        thief.check().expect("a late release frees nothing");
        subject.contended(subject.lock("k"));
        rival.release(thief);
        subject.assert_free("k");
    });
}

pub(super) fn c7_tokens_of_two_clients_grow_together(subject: &Subject) {
    with_rival(subject, |rival| {
        let mut last = None;
        for round in 0..10 {
            let client = if round % 2 == 0 { subject } else { rival };
            let guard = client.take(client.lock("k"));
            let token = Some(guard.token());
            assert!(last < token, "{token:?} after {last:?}");
            last = token;
            client.release(guard);
        }
    });
}

/// An arbiter that does not answer has not said that somebody is in the way.
pub(super) fn c2_an_arbiter_that_does_not_answer_is_unavailable(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    if !subject.fixture().hang(true) {
        return;
    }
    let limit = subject.unit();
    let asked = [
        subject.theirs("free").wait(false),
        subject.theirs("free").wait(limit),
        subject.theirs("k").wait(limit),
        subject.lock("other").wait(Duration::ZERO),
    ];
    let asked = asked
        .map(|lock| subject.thread("a caller", move |_| lock.acquire().map(|guard| guard.token())));
    let outcomes = asked.map(|asked| asked.finish_in_time(subject));
    subject.fixture().hang(false);
    for outcome in outcomes {
        let error = outcome.expect_err("nobody has answered");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    drop(guard);
    for key in ["k", "free", "other"] {
        subject.assert_free(key);
    }
}
