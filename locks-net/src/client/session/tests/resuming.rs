use locks_core::{ErrorKind, LostCause};

use super::*;
use crate::wire::{Rejected, Versions, Why};

#[test]
fn n2_a_resumed_session_repeats_what_was_not_received_and_doubles_nothing() {
    let mut rig = Rig::open(false);
    let (first, second) = (rig.ask(true), rig.ask(true));
    let frames = rig.frames();
    let (number, _, message) = split_frame(&frames[0]).unwrap();
    rig.channel.arrived(number).unwrap();
    assert!(matches!(Call::decode(message), Ok(Call::Acquire(it)) if it.request == first));
    rig.cut();
    let open = rig.connect(How::Resumed);
    let resume = open.resume.unwrap();
    assert_eq!((resume.realm, resume.secret, resume.received), (3, [4; 16], 0));
    let calls = rig.calls();
    let [Call::Acquire(again)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(again.request, second);
}

#[test]
fn n2_what_came_up_meanwhile_follows_in_call_order() {
    let mut rig = Rig::open(false);
    let held = rig.hold();
    rig.cut();
    rig.session.detach_owner(held);
    rig.session.end(held);
    let request = rig.ask(true);
    rig.connect(How::Resumed);
    let calls = rig.calls();
    let [Call::Disown { .. }, Call::End { request: ended }, Call::Acquire(acquire)] = &calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!((*ended, acquire.request), (held, request));
}

#[test]
fn n2_a_grant_that_was_cut_off_comes_again_and_counts_once() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.calls();
    let mut grant =
        rig.say(&Event::Granted { request, token: Token::new(5), stolen_from: Vec::new() });
    grant.pop();
    rig.session.receive(&grant).unwrap();
    rig.cut();
    let open = rig.dial();
    rig.answer(How::Resumed);
    let mut out = Vec::new();
    rig.channel.repeat(open.resume.unwrap().received, &mut out).unwrap();
    rig.session.receive(&out).unwrap();
    rig.session.receive(&out).unwrap();
    assert_eq!(rig.fetch(request).unwrap(), Token::new(5));
    assert!(rig.poll(request).is_ready_err());
}

#[test]
fn n4_a_restored_session_tells_what_still_matters_and_asks_again() {
    let mut rig = Rig::open(false);
    let (kept, gone) = (rig.hold(), rig.hold());
    rig.session.detach_owner(kept);
    let waiting = rig.ask(true);
    let call = rig.session.status().unwrap();
    let count = rig.watched(|session, cx| {
        session.end(gone);
        assert!(session.poll_ended(gone, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.cut();
    rig.advance(Duration::from_secs(1));
    rig.connect(How::Restored);
    let calls = rig.calls();
    let [
        Call::Holding { held, pending, more: false },
        Call::Disown { .. },
        Call::Acquire(acquire),
        Call::Status { .. },
        Call::Ping,
    ] = &calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!((&held[..], &pending[..]), (&[kept][..], &[waiting][..]));
    assert_eq!((acquire.request, acquire.waited), (waiting, Duration::from_secs(1)));
    rig.acknowledge();
    rig.wake();
    assert_eq!(count.woken(), 1);
    assert!(matches!(rig.session.poll_ended(gone, None), Poll::Ready(Ok(()))));
    rig.tell(&Event::Lost { request: kept, cause: LostCause::Forgotten });
    assert_eq!(rig.lost(kept), Some(LostCause::Forgotten));
    assert!(rig.session.poll_call(call, None).is_pending());
}

#[test]
fn n4_a_grant_that_was_not_fetched_is_asked_for_again() {
    let mut rig = Rig::open(false);
    let request = rig.ask(true);
    rig.calls();
    rig.grant(request);
    rig.cut();
    rig.connect(How::Restored);
    assert!(rig.poll(request).is_pending(), "the journal may lack it");
    let calls = rig.calls();
    assert!(matches!(&calls[0], Call::Holding { held, pending, .. }
        if held.is_empty() && pending[..] == [request]));
    rig.grant(request);
    rig.grant(request);
    rig.fetch(request).unwrap();
}

#[test]
fn n4_many_holds_are_told_in_several_frames() {
    let mut rig = Rig::new(false);
    rig.max_frame = 4096;
    rig.connect(How::New);
    let held = (0..1200).map(|_| rig.hold()).collect::<Vec<_>>();
    rig.cut();
    rig.connect(How::Restored);
    let mut told = Vec::<u64>::new();
    let calls = rig.calls();
    for (index, call) in calls.iter().enumerate() {
        let Call::Holding { held, more, .. } = call else { panic!("{call:?}") };
        assert_eq!(*more, index + 1 < calls.len());
        told.extend(held);
    }
    assert_eq!(told, held);
}

#[test]
fn n4_in_a_new_session_holds_are_lost_and_waits_go_on() {
    let mut rig = Rig::open(false);
    let (held, ending) = (rig.hold(), rig.hold());
    let waiting = rig.ask(true);
    let renewal = rig.session.refresh(held).unwrap();
    let count = rig.watched(|session, cx| {
        assert!(session.poll_lost(held, Some(&mut cx.waker().clone())).is_pending());
        session.end(ending);
        assert!(session.poll_ended(ending, Some(&mut cx.waker().clone())).is_pending());
        assert!(session.poll_call(renewal, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.cut();
    rig.connect(How::New);
    rig.wake();
    assert_eq!(count.woken(), 3);
    assert_eq!(rig.lost(held), Some(LostCause::SessionEnded));
    assert!(matches!(rig.session.poll_ended(ending, None), Poll::Ready(Err(it)) if it.is_lost()));
    assert!(matches!(rig.session.poll_call(renewal, None), Poll::Ready(Err(it)) if it.is_lost()));
    let calls = rig.calls();
    assert!(matches!(&calls[..], [Call::Acquire(it)] if it.request == waiting), "{calls:?}");
    rig.session.end(held);
    assert!(rig.calls().is_empty(), "the new session knows nothing of it");
    rig.grant(waiting);
    rig.fetch(waiting).unwrap();
}

#[test]
fn n5_whom_the_server_refuses_is_told_at_once() {
    for (why, kind) in [
        (Why::Unauthorized, ErrorKind::Unauthorized),
        (Why::Protocol, ErrorKind::Protocol),
        (Why::LimitExceeded, ErrorKind::LimitExceeded),
    ] {
        let mut rig = Rig::new(false);
        let request = rig.ask(true);
        rig.dial();
        let mut out = Vec::new();
        let rejected = Rejected { why, text: "go away".into() };
        put_frame(&mut out, |body| rejected.encode(body));
        rig.session.receive(&out).unwrap_err();
        rig.cut();
        let error = rig.fetch(request).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, Some("go away")));
    }
}

/// A server that speaks these rejects the hello over the connection that there is.
fn reject(rig: &mut Rig, versions: Versions) {
    let text = "the server says".to_owned();
    let rejected = Rejected { why: Why::Version(versions), text };
    let mut out = Vec::new();
    put_frame(&mut out, |body| rejected.encode(body));
    rig.session.receive(&out).unwrap_err();
    rig.cut();
}

/// The version that is asked for over a new connection.
fn said(rig: &mut Rig) -> u16 {
    rig.session.dialed(Secured::default());
    ClientHello::decode(&rig.frames().remove(0)).unwrap().version
}

#[test]
fn n11_a_server_that_is_older_or_newer_is_asked_for_what_both_speak() {
    let ours = Versions { oldest: 2, newest: 4 };
    for (theirs, agreed) in [((1, 3), 3), ((1, 2), 2), ((3, 7), 4)] {
        let theirs = Versions { oldest: theirs.0, newest: theirs.1 };
        let mut rig = Rig::new(false);
        rig.session.speak(ours);
        let request = rig.ask(true);
        assert_eq!(said(&mut rig), 4);
        if !theirs.contain(4) {
            reject(&mut rig, theirs);
            assert!(rig.poll(request).is_pending(), "it is tried again");
            assert_eq!(said(&mut rig), agreed);
        }
        let hello = ServerHello { version: agreed, server: [1; 16], nonce: [2; 32], secret: false };
        rig.greet(&hello);
        rig.frames();
        rig.answer(How::New);
        rig.calls();
        rig.grant(request);
        rig.fetch(request).unwrap();
        // What comes back with something says what was spoken; without, a newer server may be there
        // by now.
        rig.cut();
        assert_eq!(said(&mut rig), agreed);
        rig.greet(&hello);
        rig.frames();
        rig.answer(How::Resumed);
        rig.session.end(request);
        rig.cut();
        assert_eq!(said(&mut rig), 4);
    }
}

#[test]
fn n11_where_nothing_is_spoken_by_both_the_error_says_who_is_to_be_updated() {
    for (theirs, updated) in [((0, 1), "update the server"), ((5, 9), "update the program")] {
        let theirs = Versions { oldest: theirs.0, newest: theirs.1 };
        let mut rig = Rig::new(false);
        rig.session.speak(Versions { oldest: 2, newest: 4 });
        let request = rig.ask(true);
        said(&mut rig);
        reject(&mut rig, theirs);
        let error = rig.fetch(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains(updated), "{error}");
        assert!(error.to_string().contains("versions 2 to 4"), "{error}");
    }
}

#[test]
fn n11_a_server_that_rejects_what_it_says_it_speaks_is_not_asked_again_for_it() {
    let mut rig = Rig::new(false);
    rig.session.speak(Versions { oldest: 2, newest: 4 });
    let request = rig.ask(true);
    said(&mut rig);
    reject(&mut rig, Versions { oldest: 3, newest: 3 });
    assert_eq!(said(&mut rig), 3);
    reject(&mut rig, Versions { oldest: 3, newest: 3 });
    let error = rig.fetch(request).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Protocol, Some("the server says")));
}

#[test]
fn n5_who_is_cut_off_is_told_at_once_and_withdraws_what_it_has_asked() {
    for (why, is_over) in [(Why::Unauthorized, true), (Why::LimitExceeded, false)] {
        let mut rig = Rig::open(true);
        let held = rig.hold();
        let request = rig.ask(true);
        rig.calls();
        rig.cut();
        rig.dial();
        let mut out = Vec::new();
        let rejected = Rejected { why, text: "go away".into() };
        put_frame(&mut out, |body| rejected.encode(body));
        rig.session.receive(&out).unwrap_err();
        rig.cut();
        let told = rig.poll(request);
        assert_eq!(told.is_ready(), is_over);
        if let Poll::Ready(told) = told {
            let error = told.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthorized, Some("go away")));
        }
        // The lease is what it was; and should it be let in again, nothing is granted to nobody.
        assert_eq!(rig.lost(held), None);
        rig.connect(How::Resumed);
        let ended = rig.calls();
        let ended =
            ended.iter().any(|it| matches!(it, Call::End { request: it } if *it == request));
        assert_eq!(ended, is_over);
    }
}

#[test]
fn n2_what_makes_no_sense_breaks_the_connection_and_not_the_session() {
    let mut rig = Rig::open(false);
    let held = rig.hold();
    let mut gap = Vec::new();
    put_frame(&mut gap, |body| crate::wire::join_frame(body, 77, 0, b"x"));
    rig.session.receive(&gap).unwrap_err();
    rig.cut();
    rig.connect(How::Resumed);
    assert_eq!(rig.lost(held), None);
}

#[test]
fn n3_a_server_that_says_nothing_is_given_up_after_a_second() {
    let mut rig = Rig::new(false);
    rig.session.dialed(crate::secret::Secured::default());
    rig.advance(millis(999));
    assert!(!rig.session.tick());
    rig.advance(millis(1));
    assert!(rig.session.tick());
}

#[test]
fn n2_received_frames_are_acknowledged_before_they_pile_up() {
    let mut rig = Rig::open(false);
    for _ in 0..40 {
        rig.tell(&Event::Lost { request: 999, cause: LostCause::Stolen });
        rig.calls();
    }
    assert!(rig.channel.kept().1 < 32, "{:?} frames are kept", rig.channel.kept());
}

trait IsReadyErr {
    fn is_ready_err(&self) -> bool;
}

impl<T, E> IsReadyErr for Poll<Result<T, E>> {
    fn is_ready_err(&self) -> bool {
        matches!(self, Poll::Ready(Err(_)))
    }
}
