use locks_core::{ErrorKind, LostCause};

use super::*;

#[test]
fn c4_a_release_is_confirmed_by_its_acknowledgement() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.end(request);
    assert!(matches!(rig.calls()[..], [Call::End { .. }]), "nobody has asked how it went");
    let count = rig.watched(|session, cx| {
        assert!(session.poll_ended(request, Some(&mut cx.waker().clone())).is_pending());
    });
    assert!(rig.session.poll_ended(request, None).is_pending());
    assert!(matches!(rig.calls()[..], [Call::Ping]), "once");
    rig.acknowledge();
    rig.wake();
    assert_eq!(count.woken(), 1);
    assert!(matches!(rig.session.poll_ended(request, None), Poll::Ready(Ok(()))));
    assert!(rig.session.is_idle());
}

#[test]
fn c4_a_hold_that_was_lost_before_its_release_arrived_says_so() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.end(request);
    assert!(rig.session.poll_ended(request, None).is_pending());
    rig.tell(&Event::Lost { request, cause: LostCause::Stolen });
    rig.calls();
    rig.acknowledge();
    let Poll::Ready(Err(error)) = rig.session.poll_ended(request, None) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
    assert_eq!((error.key(), error.token()), ("k", Some(Token::new(request + 100))));
}

/// `Lost` was on its way when the connection ended; the server repeats it behind `Opened`.
#[test]
fn c8_a_release_is_not_confirmed_before_what_a_resumed_server_repeats() {
    for awaited in [true, false] {
        let mut rig = Rig::open(false);
        let (held, other) = (rig.hold(), rig.hold());
        for request in [other, held] {
            rig.say(&Event::Lost { request, cause: LostCause::Stolen });
        }
        rig.session.end(held);
        let poll = |rig: &mut Rig, waker: Option<&mut Waker>| rig.session.poll_ended(held, waker);
        let mut noop = Waker::noop().clone();
        assert!(poll(&mut rig, awaited.then_some(&mut noop)).is_pending());
        assert!(matches!(rig.calls()[..], [Call::End { .. }, Call::Ping]));
        rig.cut();
        let open = rig.connect(How::Resumed);
        let mut repeated = Vec::new();
        rig.channel.repeat(open.resume.unwrap().received, &mut repeated).unwrap();
        assert!(poll(&mut rig, None).is_pending());
        assert!(matches!(rig.calls()[..], [Call::Ping]));
        // They may come one by one.
        let length = u32::from_le_bytes(repeated[..4].try_into().unwrap()) as usize + 4;
        for bytes in [&repeated[..length], &repeated[length..]] {
            assert!(poll(&mut rig, None).is_pending());
            rig.session.receive(bytes).unwrap();
        }
        let Poll::Ready(Err(error)) = poll(&mut rig, None) else { panic!("{awaited}") };
        assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
    }
}

/// The first of two `Lost` frames acknowledges `Holding` already; the release is lost by the
/// second.
#[test]
fn c8_a_release_is_not_confirmed_before_a_restored_server_has_told_of_all_losses() {
    let mut rig = Rig::open(false);
    let (held, other) = (rig.hold(), rig.hold());
    rig.session.end(held);
    assert!(rig.session.poll_ended(held, None).is_pending());
    rig.calls();
    rig.cut();
    rig.connect(How::Restored);
    assert!(rig.session.poll_ended(held, None).is_pending());
    let frames = rig.frames();
    rig.channel.arrived(split_frame(&frames[0]).unwrap().0).unwrap();
    rig.tell(&Event::Lost { request: other, cause: LostCause::Stolen });
    assert!(rig.session.poll_ended(held, None).is_pending(), "there may be more");
    rig.tell(&Event::Lost { request: held, cause: LostCause::Stolen });
    let Poll::Ready(Err(error)) = rig.session.poll_ended(held, None) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
}

#[test]
fn c4_a_lost_hold_is_given_up_at_the_server_too() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.tell(&Event::Lost { request, cause: LostCause::Stolen });
    rig.session.end(request);
    assert!(matches!(rig.calls()[..], [Call::End { .. }]));
    assert!(matches!(rig.session.poll_ended(request, None), Poll::Ready(Err(it)) if it.is_lost()));
}

#[test]
fn c4_a_release_without_a_connection_is_sent_with_the_next() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.cut();
    rig.session.end(request);
    assert!(rig.session.poll_ended(request, None).is_pending());
    rig.connect(How::Resumed);
    assert!(rig.session.poll_ended(request, None).is_pending());
    assert!(matches!(rig.calls()[..], [Call::End { .. }, Call::Ping]));
    rig.acknowledge();
    assert!(matches!(rig.session.poll_ended(request, None), Poll::Ready(Ok(()))));
}

#[test]
fn c4_a_release_that_nobody_confirms_says_so() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.end(request);
    assert!(rig.session.poll_ended(request, None).is_pending());
    rig.advance(CONNECT);
    let Poll::Ready(Err(error)) = rig.session.poll_ended(request, None) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(rig.session.is_idle());
}

#[test]
fn c6_refreshing_is_answered_and_a_lost_hold_is_not_refreshed() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    let call = rig.session.refresh(request).unwrap();
    assert!(matches!(rig.calls()[..], [Call::Refresh { request: it, .. }] if it == request));
    rig.tell(&Event::Done { call });
    assert!(matches!(rig.session.poll_call(call, None), Poll::Ready(Ok(_))));
    rig.tell(&Event::Lost { request, cause: LostCause::Stolen });
    assert!(rig.session.refresh(request).unwrap_err().is_lost());
}

#[test]
fn n7_good_bye_ends_everything() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.bye();
    assert_eq!(rig.lost(request), Some(LostCause::SessionEnded));
    assert!(rig.connect(How::New).resume.is_none());
}

#[test]
fn c4_a_release_whose_acknowledgement_was_cut_off_is_confirmed_on_resuming() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.end(request);
    assert!(rig.session.poll_ended(request, None).is_pending());
    assert!(matches!(rig.calls()[..], [Call::End { .. }, Call::Ping]));
    rig.cut();
    rig.connect(How::Resumed);
    assert!(rig.session.poll_ended(request, None).is_pending(), "it may have been lost before");
    assert!(matches!(rig.calls()[..], [Call::Ping]));
    rig.acknowledge();
    assert!(matches!(rig.session.poll_ended(request, None), Poll::Ready(Ok(()))));
}

#[test]
fn c4_a_release_that_is_repeated_is_confirmed_if_somebody_waits_for_that() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.session.end(request);
    rig.cut();
    let count = rig.watched(|session, cx| {
        assert!(session.poll_ended(request, Some(&mut cx.waker().clone())).is_pending());
    });
    rig.frames();
    rig.connect(How::Resumed);
    assert!(matches!(rig.calls()[..], [Call::End { .. }, Call::Ping]));
    rig.acknowledge();
    rig.wake();
    assert_eq!(count.woken(), 1);
}

#[test]
fn n4_a_release_without_a_connection_is_told_to_a_restored_session_and_confirmed() {
    let mut rig = Rig::open(false);
    let request = rig.hold();
    rig.cut();
    rig.session.end(request);
    rig.connect(How::Restored);
    // It was never said, and may have been lost meanwhile: then the answer says so.
    let calls = rig.calls();
    let [Call::Holding { held, .. }, Call::End { request: ended }] = &calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!((&held[..], *ended), (&[request][..], request));
    rig.acknowledge();
    assert!(matches!(rig.session.poll_ended(request, None), Poll::Ready(Ok(()))));
}

#[test]
fn n2_the_end_of_a_hold_that_outlives_its_process_is_urgent() {
    for renews in [true, false] {
        let mut rig = Rig::open(renews);
        let request = rig.hold();
        assert!(!rig.session.is_urgent());
        rig.session.end(request);
        assert_eq!(rig.session.is_urgent(), renews);
        rig.ask(true);
        assert_eq!(rig.session.is_urgent(), renews, "what was said before is still there");
        assert_eq!(rig.calls().len(), 2);
        assert!(!rig.session.is_urgent());
    }
}
