use locks_core::{CallSite, ErrorKind, HolderInfo, LostCause, Mode, OwnerId};

use super::*;

#[test]
fn n2_a_request_is_one_frame_and_its_grant_wakes_whoever_waits() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    let calls = rig.calls();
    let [Call::Acquire(acquire)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((acquire.request, &acquire.keys[..]), (request, &["k".to_owned()][..]));
    let count = rig.watched(|session, cx| {
        assert!(session.poll_acquire(request, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.grant(request);
    rig.wake();
    assert_eq!(count.woken(), 1);
    assert_eq!(rig.fetch(request).unwrap(), Token::new(request + 100));
    assert!(rig.calls().is_empty());
}

#[test]
fn c12_call_sites_and_names_are_told_once_and_again_in_a_new_session() {
    let mut rig = Rig::open(false);
    let here = CallSite::caller();
    let named = std::thread::Builder::new().name("worker-3".into());
    let ask = move |rig: &mut Rig, owner| {
        let mut acquire = plain(true);
        acquire.owner = Some(owner);
        rig.session.acquire(acquire, Some(here), rig.clock.now()).unwrap()
    };
    named
        .spawn(move || {
            let owner = locks_core::current();
            ask(&mut rig, owner);
            let calls = rig.all_calls();
            let [Call::Site { id: 1, text }, Call::Name { text: name, .. }, Call::Acquire(first)] =
                &calls[..]
            else {
                panic!("{calls:?}")
            };
            assert_eq!((text, &**name, first.site), (&here.to_string(), "worker-3", 1));
            ask(&mut rig, owner);
            assert!(matches!(&rig.all_calls()[..], [Call::Acquire(second)] if second.site == 1));
            rig.cut();
            rig.connect(How::New);
            let calls = rig.all_calls();
            assert!(matches!(calls[0], Call::Site { id: 1, .. }), "{calls:?}");
            assert_eq!(calls.len(), 4);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn c12_errors_tell_of_this_process_as_such() {
    let mut rig = Rig::open(false);
    let site = CallSite::caller();
    let request = rig.session.acquire(plain(false), Some(site), rig.clock.now()).unwrap();
    let mut holder = HolderInfo::new(Mode::Exclusive);
    holder.owner = Some(OwnerId::from(42).in_realm(3));
    holder.party.pid = Some(1);
    holder.party.site = Some(site.to_string());
    let mut other = holder.clone();
    other.owner = Some(OwnerId::from(42).in_realm(4));
    let error = LockError::new(ErrorKind::Contended, "k").with_holders(vec![holder, other]);
    rig.tell(&Event::Refused { call: request, error });
    let error = rig.fetch(request).unwrap_err();
    let [holder, other] = error.holders() else { panic!("{error:?}") };
    assert!(holder.party.is_local() && !other.party.is_local());
    assert_eq!(holder.who.as_deref(), Some("owner 42"));
    assert_eq!(holder.site.unwrap().to_string(), site.to_string());
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Contended, Some("unix:///test")));
}

#[test]
fn c5_a_dropped_request_ends_at_once_and_a_grant_that_crosses_it_is_nobodys() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.calls();
    let grant = rig.say(&Event::Granted { request, token: Token::new(5), stolen_from: Vec::new() });
    rig.session.withdraw(request);
    assert!(matches!(rig.calls()[..], [Call::End { request: it }] if it == request));
    rig.session.receive(&grant).unwrap();
    assert!(rig.calls().is_empty() && rig.session.is_idle());
}

#[test]
fn c5_what_was_granted_and_not_fetched_is_released() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.grant(request);
    rig.calls();
    rig.session.withdraw(request);
    assert!(matches!(rig.calls()[..], [Call::End { .. }]));
    assert!(rig.session.is_idle());
}

#[test]
fn c5_what_was_refused_or_never_sent_needs_no_end() {
    let mut rig = Rig::open(false);
    let request = rig.ask(false);
    rig.calls();
    rig.tell(&Event::Refused { call: request, error: LockError::new(ErrorKind::Contended, "k") });
    rig.session.withdraw(request);
    assert!(rig.calls().is_empty());
    rig.cut();
    let request = rig.ask(true);
    rig.session.withdraw(request);
    rig.connect(How::Resumed);
    assert!(rig.calls().is_empty());
}

#[test]
fn c2_the_server_is_told_what_is_left_of_a_wait() {
    let mut rig = Rig::new(false);
    rig.ask(Duration::from_secs(5));
    rig.advance(millis(1500));
    rig.connect(How::New);
    let calls = rig.calls();
    let [Call::Acquire(acquire)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(acquire.options.wait, Some(Wait::AtMost(millis(3500))));
    assert_eq!(acquire.waited, Duration::ZERO, "no server knew of it");
}

#[test]
fn c2_a_wait_ends_a_little_later_by_itself_if_the_server_is_silent() {
    let mut rig = Rig::open(false);
    let request = rig.ask(Duration::from_secs(5));
    rig.calls();
    rig.advance(Duration::from_secs(5));
    assert!(rig.poll(request).is_pending(), "the server's answer has a little time");
    let due = rig.session.next_deadline().unwrap();
    rig.advance(due.since(rig.clock.now()));
    let error = rig.fetch(request).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable,
        "that somebody is in the way is the server's to say"
    );
    assert!(matches!(rig.calls()[..], [Call::End { .. }]));
    rig.session.withdraw(request);
    assert!(rig.calls().is_empty(), "it has ended once");
}

#[test]
fn c2_a_grant_in_the_instant_of_the_timeout_is_one_outcome() {
    let mut rig = Rig::open(false);
    let request = rig.ask(Duration::from_secs(5));
    rig.calls();
    rig.grant(request);
    rig.advance(Duration::from_secs(6));
    assert!(!rig.session.tick());
    rig.fetch(request).unwrap();
    assert!(rig.calls().is_empty());
    let late = rig.ask(Duration::from_secs(5));
    rig.calls();
    rig.advance(Duration::from_secs(6));
    assert!(!rig.session.tick());
    rig.grant(late);
    assert_eq!(rig.fetch(late).unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(matches!(rig.calls()[..], [Call::End { .. }]));
}

#[test]
fn c2_reaching_the_server_is_bounded_by_itself() {
    for (wait, bound) in [
        (Wait::Forever, CONNECT),
        (Wait::Try, CONNECT),
        (Wait::AtMost(Duration::ZERO), CONNECT),
        (Wait::AtMost(millis(300)), millis(300)),
        (Wait::AtMost(Duration::from_secs(60)), CONNECT),
    ] {
        let mut rig = Rig::new(false);
        let request = rig.ask(wait);
        rig.advance(bound - millis(1));
        assert!(rig.poll(request).is_pending(), "{wait:?}");
        rig.session.unreachable("nobody listens");
        rig.advance(millis(1));
        let error = rig.fetch(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{wait:?}");
        assert!(error.to_string().ends_with("cannot be reached: nobody listens"), "{error}");
        rig.connect(How::New);
        assert!(rig.calls().is_empty(), "it is not asked for after all");
    }
}

#[test]
fn c2_wait_false_and_calls_need_an_answer_soon() {
    let mut rig = Rig::open(false);
    let request = rig.ask(false);
    let call = rig.session.status().unwrap();
    rig.advance(CONNECT);
    assert_eq!(rig.fetch(request).unwrap_err().kind(), ErrorKind::Unavailable);
    let Poll::Ready(Err(error)) = rig.session.poll_call(call, None) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let calls = rig.calls();
    assert!(matches!(calls[..], [Call::Acquire(_), Call::Status { .. }, Call::End { .. }]));
}

#[test]
fn n7_waiting_for_ever_survives_a_lost_connection_for_one_lease() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.advance(Duration::from_secs(3600));
    assert!(rig.poll(request).is_pending());
    rig.cut();
    rig.advance(LEASE - millis(1));
    assert!(rig.poll(request).is_pending());
    rig.connect(How::Resumed);
    rig.advance(LEASE);
    assert!(rig.poll(request).is_pending(), "it is connected again");
    rig.cut();
    rig.advance(LEASE);
    assert_eq!(rig.fetch(request).unwrap_err().kind(), ErrorKind::Unavailable);
    rig.connect(How::Resumed);
    let calls = rig.calls();
    assert!(matches!(calls[..], [Call::Acquire(_), Call::End { .. }]), "{calls:?}");
}

#[test]
fn c8_what_was_lost_before_it_was_fetched_is_not_handed_out() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.calls();
    rig.grant(request);
    rig.tell(&Event::Lost { request, cause: LostCause::Stolen });
    assert!(rig.poll(request).is_pending(), "`Lost` is for holders");
    let calls = rig.calls();
    let [Call::End { request: ended }, Call::Acquire(again)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!((*ended, again.request), (request, request), "it queues again");
    rig.grant(request);
    rig.fetch(request).unwrap();
    assert_eq!(rig.lost(request), None);
}

/// Time after time: the next grant would be over as soon.
#[test]
fn c8_what_ended_by_its_own_bound_before_it_was_fetched_is_handed_out_as_lost() {
    for how in [None, Some(How::Resumed), Some(How::Restored), Some(How::New)] {
        let mut rig = Rig::open(false);
        let request = rig.ask(true);
        rig.calls();
        // Whoever was stopped meanwhile asks once more (C8).
        for _ in 0..2 {
            rig.grant(request);
            rig.tell(&Event::Lost { request, cause: LostCause::HeldTooLong });
            let calls = rig.calls();
            assert!(calls.iter().any(|call| matches!(call, Call::Acquire(_))), "{calls:?}");
        }
        rig.grant(request);
        rig.tell(&Event::Lost { request, cause: LostCause::HeldTooLong });
        if let Some(how) = how {
            rig.cut();
            rig.connect(how);
        }
        let calls = rig.calls();
        let asks_again = calls.iter().any(|call| matches!(call, Call::Acquire(_)));
        assert!(!asks_again || how == Some(How::Resumed), "{how:?}: {calls:?}");
        rig.fetch(request).unwrap();
        assert_eq!(rig.lost(request), Some(LostCause::HeldTooLong), "{how:?}");
        rig.session.end(request);
        let ended = matches!(rig.calls()[..], [Call::End { request: it }] if it == request);
        assert_eq!(ended, how != Some(How::New), "{how:?}: what the server knows of is ended");
        let Poll::Ready(Err(error)) = rig.session.poll_ended(request, None) else { panic!() };
        assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::HeldTooLong });
        assert!(rig.session.is_idle());
    }
}

#[test]
fn c5_what_ended_by_its_own_bound_and_is_not_wanted_any_more_ends_once() {
    let mut rig = Rig::open(true);
    let request = rig.ask(true);
    rig.calls();
    for _ in 0..2 {
        rig.grant(request);
        rig.tell(&Event::Lost { request, cause: LostCause::HeldTooLong });
        rig.calls();
    }
    rig.grant(request);
    // Nothing proves that it stands, and nothing has to.
    rig.advance(LEASE);
    let count = rig.watched(|session, cx| {
        assert!(session.poll_acquire(request, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.tell(&Event::Lost { request, cause: LostCause::HeldTooLong });
    rig.wake();
    assert_eq!(count.woken(), 1);
    rig.session.withdraw(request);
    let calls = rig.calls();
    assert!(matches!(calls[..], [Call::Ping, Call::End { .. }]), "{calls:?}");
    assert!(rig.session.is_idle());
}

#[test]
fn n6_too_long_a_request_is_refused_here() {
    let mut rig = Rig::new(false);
    rig.max_frame = 4096;
    rig.connect(How::New);
    let mut acquire = plain(true);
    acquire.keys = (0..10).map(|number| format!("{number}{}", "x".repeat(1000))).collect();
    let request = rig.session.acquire(acquire, None, rig.clock.now()).unwrap();
    assert_eq!(rig.fetch(request).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(rig.calls().is_empty());
}

#[test]
fn n6_what_is_kept_for_a_server_that_acknowledges_nothing_is_bounded() {
    let mut rig = Rig::open(false);
    let mut acquire = plain(true);
    acquire.keys = (0..100).map(|number| format!("{number:03}{}", "x".repeat(1000))).collect();
    let refused =
        (0..100).find_map(|_| rig.session.acquire(acquire.clone(), None, rig.clock.now()).err());
    assert_eq!(refused.expect("4 MiB are not kept").kind(), ErrorKind::LimitExceeded);
    let here = CallSite::caller();
    let refused = rig.session.acquire(acquire.clone(), Some(here), rig.clock.now()).unwrap_err();
    assert!(format!("{refused:?}").contains(&here.to_string()), "C12: {refused:?}");
    rig.calls();
    rig.acknowledge();
    rig.session.acquire(acquire, None, rig.clock.now()).unwrap();
}

#[test]
fn c1_what_is_no_key_is_refused_before_the_server_hears_of_it() {
    let mut rig = Rig::open(false);
    for key in [String::new(), "a\0b".into(), "k".repeat(1025)] {
        let refused = rig.session.evict(key, Token::new(1)).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::InvalidKey));
    }
    // Who is told so would close the connection, and would be told so again on the next one, for
    // ever.
    assert!(rig.calls().is_empty());
}

#[test]
fn c2_the_time_to_wait_begins_when_the_lock_is_wanted() {
    let mut rig = Rig::open(false);
    let wanted = rig.clock.now();
    rig.clock.advance(Duration::from_secs(3));
    let mut acquire = plain(true);
    acquire.options.wait = Some(Wait::AtMost(Duration::from_secs(5)));
    let request = rig.session.acquire(acquire, None, wanted).unwrap();
    let calls = rig.calls();
    let [Call::Acquire(asked)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(asked.options.wait, Some(Wait::AtMost(Duration::from_secs(2))));
    rig.clock.advance(Duration::from_millis(2500));
    let error = rig.fetch(request).unwrap_err();
    assert_eq!(
        (error.kind(), error.waited()),
        (ErrorKind::Unavailable, Some(Duration::from_millis(5500)))
    );
}

/// Nobody has said yet that there is no server.
#[test]
fn c2_who_allows_less_than_it_takes_to_reach_the_server_has_that_time() {
    let mut rig = Rig::new(false);
    let request = rig.ask(millis(20));
    rig.session.reaching();
    rig.advance(millis(300));
    assert!(rig.poll(request).is_pending(), "it is being reached");
    rig.connect(How::New);
    let calls = rig.calls();
    let [Call::Acquire(asked)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(asked.options.wait, Some(Wait::AtMost(Duration::ZERO)), "it has waited enough");
    rig.grant(request);
    rig.fetch(request).unwrap();

    let mut rig = Rig::new(false);
    let request = rig.ask(millis(20));
    rig.session.reaching();
    rig.advance(millis(300));
    assert!(rig.poll(request).is_pending());
    rig.session.unreachable("nobody listens");
    assert_eq!(rig.fetch(request).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn c2_who_asks_late_is_answered_by_the_server_all_the_same() {
    for wait in [Wait::Try, Wait::AtMost(Duration::ZERO), Wait::AtMost(millis(500))] {
        let mut rig = Rig::open(false);
        let wanted = rig.clock.now();
        rig.advance(2 * CONNECT);
        let request = rig.session.acquire(plain(wait), None, wanted).unwrap();
        assert!(rig.poll(request).is_pending(), "{wait:?}: the server has the word");
        let calls = rig.calls();
        let [Call::Acquire(asked)] = &calls[..] else { panic!("{calls:?}") };
        assert!(matches!(asked.options.wait, Some(Wait::Try | Wait::AtMost(Duration::ZERO))));
        rig.advance(CONNECT - millis(1));
        rig.grant(request);
        rig.fetch(request).unwrap();
    }
}

#[test]
fn c12_what_it_took_to_reach_the_server_counts_as_waited() {
    let mut rig = Rig::new(false);
    let request = rig.ask(millis(1_500));
    rig.advance(millis(900));
    rig.connect(How::New);
    rig.calls();
    rig.advance(millis(600));
    let error = LockError::new(ErrorKind::Timeout, "k").with_waited(millis(590));
    rig.tell(&Event::Refused { call: request, error });
    let error = rig.fetch(request).unwrap_err();
    assert_eq!((error.kind(), error.waited()), (ErrorKind::Timeout, Some(millis(1_500))));
}
