//! Holders that are other clients or other processes: C1, C3, C4, C5, C7 and C8 once more.

use super::child::Child;
use super::pending::Pending;
use super::subject::Subject;
use locks_core::{Exclusion, WaiterOrder};

/// Runs `body` with another client of the arbiter, if holders can be such.
fn with_rival(subject: &Subject, body: impl FnOnce(&Subject)) {
    if let Some(rival) = subject.rival() {
        body(&rival);
    }
}

/// Runs `body` with another process, if holders can be such.
fn with_child(subject: &Subject, body: impl FnOnce(Child)) {
    if let Some(program) = subject.child() {
        body(Child::start(subject, program));
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
            // Time for whoever does not know yet that nobody waits.
            subject.advance(subject.late());
            subject.assert_free("k");
            rival.assert_free("k");
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

pub(super) fn c1_processes_exclude_each_other(subject: &Subject) {
    with_child(subject, |mut child| {
        let token = child.take("take k");
        subject.contended(subject.lock("k"));
        let waiting = subject.queue(subject.lock("k"));
        child.ask("release k").expect("it was held");
        let guard = waiting.granted(subject);
        assert!(guard.token() > token, "tokens grow across processes");
        let failure = child.ask("take k no-wait").expect_err("it is held here");
        assert!(failure.starts_with("Contended"), "{failure}");
        // It waits until the release here.
        child.tell("take k");
        subject.settle();
        assert_eq!(child.has_replied(), None, "it was granted beside another");
        let token = guard.token();
        subject.release(guard);
        let theirs = child.reply().expect("it is free");
        assert!(theirs.parse::<u64>().expect("a token is a number") > token.get());
    });
}

/// What a killed process held is free again: at once, or at the end of its lease.
pub(super) fn c4_a_killed_process_frees_its_locks(subject: &Subject) {
    with_child(subject, |mut child| {
        let lease = subject.fixture().lease();
        let token = child.take(&format!("take k lease={}", lease.as_millis()));
        let waiting = subject.queue(subject.lock("k"));
        child.kill();
        if subject.can().exclusion <= Exclusion::Lease {
            subject.advance(lease + subject.late());
        }
        let guard = waiting.granted(subject);
        assert!(guard.token() > token, "tokens grow across a crash");
        subject.release(guard);
        subject.assert_free("k");
    });
}

/// A process that is killed while it waits is in nobody's way.
pub(super) fn c5_a_killed_process_leaves_the_queue(subject: &Subject) {
    with_child(subject, |mut child| {
        let guard = subject.take(subject.lock("k"));
        child.take("take other");
        let lease = subject.fixture().lease().as_millis();
        child.ask(&format!("queue k lease={lease}")).expect("it waits");
        let waiting = subject.queue(subject.lock("k"));
        child.kill();
        if subject.can().exclusion <= Exclusion::Lease {
            subject.advance(subject.fixture().lease() + subject.late());
        }
        subject.release(guard);
        drop(waiting.granted(subject));
        subject.assert_free("k");
    });
}

/// Stopped past its lease it has lost the lock, knows it when it goes on, and frees nothing;
/// where there are no leases it has lost nothing.
#[cfg(unix)]
pub(super) fn c8_a_stopped_process_learns_of_its_loss(subject: &Subject) {
    with_child(subject, |mut child| {
        let lease = subject.fixture().lease();
        let token = child.take(&format!("take k lease={}", lease.as_millis()));
        child.signal("STOP");
        subject.advance(lease * 2);
        if subject.can().exclusion > Exclusion::Lease {
            subject.contended(subject.lock("k"));
            child.signal("CONT");
            child.ask("check k").expect("a process that stands still loses nothing");
            return child.ask("release k").map(drop).expect("it was held");
        }
        let guard = subject.take(subject.lock("k"));
        assert!(guard.token() > token, "tokens grow across an expiry");
        child.signal("CONT");
        let failure = child.ask("check k").expect_err("its lease has run out");
        assert!(failure.starts_with("Lost"), "{failure}");
        let failure = child.ask("release k").expect_err("its lease has run out");
        assert!(failure.starts_with("Lost"), "{failure}");
        guard.check().expect("a late release frees nothing");
        subject.contended(subject.lock("k"));
    });
}

/// There are no such signals here.
#[cfg(not(unix))]
pub(super) fn c8_a_stopped_process_learns_of_its_loss(_: &Subject) {}
