//! Messages that have come in (N8).

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use locks_core::{ErrorKind, ManualClock, ProcessInfo};

use super::{Rig, millis};
use crate::client::session::Received;
use crate::wire::{Call, Event, How, Keep, Note, Publish};

/// A session with an open mailbox, and that one's clock.
fn opened() -> (Rig, ManualClock) {
    let mut rig = Rig::open(false);
    let awake = ManualClock::new();
    let call = rig.session.open_mailbox(Arc::new(awake.clone())).unwrap();
    let [Call::Mailbox { open: true, count: 0, bytes: 0, .. }] = rig.calls()[..] else { panic!() };
    rig.tell(&Event::Done { call });
    assert!(matches!(rig.session.poll_call(call, None), Poll::Ready(Ok(_))));
    (rig, awake)
}

fn note(subject: &str, content: &str, keep: Keep, timeout: Option<Duration>) -> Note {
    Note { subject: subject.into(), content: content.into(), timeout, keep }
}

fn come(rig: &mut Rig, note: Note) {
    rig.tell(&Event::Message { note: Box::new(note), from: ProcessInfo::default() });
}

fn contents(received: &[Received]) -> Vec<&str> {
    received.iter().map(|each| str::from_utf8(&each.content).unwrap()).collect()
}

/// How many the server is told have left.
fn left(rig: &mut Rig) -> u32 {
    let counts = rig.calls().into_iter().map(|call| match call {
        Call::Taken { count, .. } => count,
        other => panic!("{other:?}"),
    });
    counts.sum()
}

#[test]
fn n8_messages_are_looked_up_taken_and_removed_and_the_server_hears_what_has_left() {
    let (mut rig, _) = opened();
    for (subject, content) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        come(&mut rig, note(subject, content, Keep::Both, None));
    }
    assert_eq!(contents(&rig.session.messages()), ["1", "2", "3", "4"]);
    assert_eq!(left(&mut rig), 0);
    assert_eq!(rig.session.take_message(|_, _| true).unwrap().content, b"1");
    let third = rig.session.messages()[1].id;
    assert_eq!(rig.session.take_message(|_, id| id == third).unwrap().content, b"3");
    assert!(rig.session.take_message(|_, id| id == third).is_none());
    assert_eq!(rig.session.take_message(|subject, _| subject == "c").unwrap().content, b"4");
    assert_eq!(left(&mut rig), 3);
    assert_eq!(contents(&rig.session.messages()), ["2"]);
}

#[test]
fn n8_unique_keeps_the_older_and_replace_the_newer() {
    let (mut rig, _) = opened();
    come(&mut rig, note("a", "1", Keep::Older, None));
    come(&mut rig, note("a", "2", Keep::Older, None));
    come(&mut rig, note("b", "3", Keep::Older, None));
    assert_eq!(contents(&rig.session.messages()), ["1", "3"]);
    assert_eq!(left(&mut rig), 1);
    come(&mut rig, note("a", "4", Keep::Both, None));
    come(&mut rig, note("a", "5", Keep::Newer, None));
    assert_eq!(contents(&rig.session.messages()), ["3", "5"]);
    assert_eq!(left(&mut rig), 2);
    // What was taken is there no more.
    rig.session.take_message(|subject, _| subject == "a").unwrap();
    come(&mut rig, note("a", "6", Keep::Older, None));
    assert_eq!(contents(&rig.session.messages()), ["3", "6"]);
}

#[test]
fn n8_messages_expire_by_the_clock_of_the_receivers_time_awake() {
    let (mut rig, awake) = opened();
    come(&mut rig, note("a", "1", Keep::Both, Some(millis(100))));
    come(&mut rig, note("a", "2", Keep::Both, None));
    assert_eq!(rig.session.messages()[0].expires_in, Some(millis(100)));
    // A machine that sleeps: the clock that leases go by goes on, the other one does not.
    rig.advance(Duration::from_secs(5));
    assert!(!rig.session.tick());
    assert_eq!(contents(&rig.session.messages()), ["1", "2"]);
    assert!(rig.session.next_deadline().is_some());
    awake.advance(millis(100));
    // Although nobody looks, the server hears that there is room again.
    assert!(!rig.session.tick());
    assert_eq!(left(&mut rig), 1);
    assert_eq!(contents(&rig.session.messages()), ["2"]);
    // One that has expired is in no other's way.
    come(&mut rig, note("b", "3", Keep::Older, Some(millis(1))));
    awake.advance(millis(1));
    come(&mut rig, note("b", "4", Keep::Older, None));
    assert_eq!(contents(&rig.session.messages()), ["2", "4"]);
}

#[test]
fn n8_whoever_waits_for_a_message_is_woken_and_withdraws() {
    let (mut rig, _) = opened();
    let woken = rig
        .watched(|session, cx| assert!(session.poll_message(&mut cx.waker().clone()).is_pending()));
    assert!(rig.session.is_awaited());
    come(&mut rig, note("a", "1", Keep::Both, None));
    rig.wake();
    assert_eq!(woken.woken(), 1);
    assert!(!rig.session.is_awaited());
    rig.watched(|session, cx| assert!(session.poll_message(&mut cx.waker().clone()).is_ready()));
    let waker = std::task::Waker::from(rig.watched(|session, cx| {
        assert!(session.poll_message(&mut cx.waker().clone()).is_pending());
        session.forget_message_waker(cx.waker());
    }));
    rig.session.forget_message_waker(&waker);
    assert!(!rig.session.is_awaited());
}

#[test]
fn n8_a_server_that_was_started_anew_hears_what_is_kept_and_publishes_nothing_twice() {
    let (mut rig, _) = opened();
    rig.hold();
    come(&mut rig, note("a", "1", Keep::Both, None));
    let publish =
        Publish { note: note("a", "2", Keep::Both, None), to_self: false, receivers: vec![] };
    let call = rig.session.publish(publish.clone()).unwrap();
    assert!(matches!(rig.calls()[..], [Call::Publish { .. }]));
    // The same server repeats what it had not heard, and that is no second time.
    rig.cut();
    rig.connect(How::Resumed);
    assert!(rig.calls().is_empty());
    assert!(rig.session.poll_call(call, None).is_pending());
    rig.cut();
    rig.connect(How::Restored);
    let calls = rig.calls();
    assert!(
        calls.iter().any(|call| matches!(call, Call::Mailbox { open: true, count: 1, .. })),
        "{calls:?}"
    );
    assert!(!calls.iter().any(|call| matches!(call, Call::Publish { .. })), "{calls:?}");
    let Poll::Ready(Err(error)) = rig.session.poll_call(call, None) else {
        panic!("it is answered")
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("some may have got"), "{error}");
    // What was never said may be.
    rig.cut();
    rig.session.publish(publish).unwrap();
    rig.connect(How::New);
    assert!(rig.calls().iter().any(|call| matches!(call, Call::Publish { .. })));
}

#[test]
fn n8_the_last_one_to_close_the_mailbox_leaves_nothing() {
    let (mut rig, awake) = opened();
    rig.session.open_mailbox(Arc::new(awake)).unwrap();
    rig.calls();
    come(&mut rig, note("a", "1", Keep::Both, None));
    rig.session.close_mailbox();
    assert_eq!(rig.session.messages().len(), 1);
    rig.session.close_mailbox();
    assert!(matches!(rig.calls()[..], [Call::Mailbox { open: false, .. }]));
    come(&mut rig, note("a", "2", Keep::Both, None));
    assert!(rig.session.messages().is_empty() && rig.session.mail.is_none());
}
