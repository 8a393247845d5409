//! Messages among clients (N8), over every way to reach a server.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use locks_core::ErrorKind;
use locks_net::{Message, NetBackend};

use crate::directory::until;
use crate::place::{Place, WAYS};

const PATIENCE: Duration = Duration::from_secs(30);

fn client(place: &Place) -> NetBackend {
    place.told().client_within(Duration::from_secs(10)).unwrap()
}

#[test]
fn n8_messages_reach_those_who_have_a_mailbox_and_end_with_them() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let (one, two) = (client(&place), client(&place));
        let mailbox = two.messages().block().unwrap();
        let published = one.publish(Message::new("greeting", "hello")).block().unwrap();
        assert_eq!((published.delivered, published.full), (1, 0), "{way:?}");
        let received = mailbox.wait(PATIENCE).expect("it comes");
        assert_eq!((&*received.subject, &*received.content), ("greeting", &b"hello"[..]));
        assert_eq!(received.from.pid, Some(std::process::id()));
        assert!(mailbox.wait(Duration::ZERO).is_none());

        let waits = std::thread::spawn({
            let two = two.clone();
            move || two.messages().block().unwrap().wait(PATIENCE)
        });
        one.publish(Message::new("later", "x").unique(true)).block().unwrap();
        assert_eq!(waits.join().unwrap().expect("it comes").subject, "later");

        one.publish(Message::new("short", "x").timeout(Duration::from_millis(1))).block().unwrap();
        one.publish(Message::new("long", "x")).block().unwrap();
        until("the short one is over", || mailbox.list().len() == 1);
        assert!(mailbox.find("short").is_none());
        let id = mailbox.find("long").expect("it is there").id;
        assert!(mailbox.remove(id) && !mailbox.remove(id));

        drop(mailbox);
        until("nobody wants any", || {
            one.publish(Message::new("greeting", "hello")).block().unwrap().delivered == 0
        });
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn n8_a_future_is_woken_by_a_message_and_one_that_is_dropped_takes_none() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let backend = client(&place);
        let mailbox = backend.messages().block().unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&waker);
        let mut dropped = Box::pin(mailbox.next());
        assert!(dropped.as_mut().poll(cx).is_pending());
        drop(dropped);
        let mut next = Box::pin(mailbox.next());
        assert!(next.as_mut().poll(cx).is_pending());
        let published = backend.publish(Message::new("me", "x").to_self(true)).block().unwrap();
        assert_eq!(published.delivered, 1, "{way:?}");
        until("it is woken", || count.0.load(Ordering::SeqCst) > 0);
        let Poll::Ready(Some(received)) = next.as_mut().poll(cx) else { panic!("{way:?}") };
        assert_eq!(received.subject, "me");
    }
}

#[test]
fn n8_what_cannot_be_a_message_is_refused_here() {
    let place = Place::new(WAYS[0]);
    let _serving = place.start();
    let backend = client(&place);
    let many = (0..65).fold(Message::new("s", "x"), |message, name| message.to(name.to_string()));
    for (message, why) in [
        (Message::new("", "x"), "a subject has 1 to 1024 bytes"),
        (Message::new("s".repeat(1025), "x"), "this one 1025"),
        (Message::new("s", "x").unique(true).replace(true), "leave one of them out"),
        (many, "names 65 clients"),
    ] {
        let error = backend.publish(message).block().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured);
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = backend.publish(Message::new("s", vec![0; 65_536])).block().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

/// A receiver that takes nothing, with messages published for as long as it likes.
#[test]
fn n8_a_receiver_that_takes_nothing_makes_nobody_grow() {
    let place = Place::new(WAYS[0]);
    let _serving = place.start();
    let (one, two) = (client(&place), client(&place));
    let mailbox = two.messages().block().unwrap();
    let publish = || one.publish(Message::new("s", vec![0; 1000])).block().unwrap().delivered;
    let sent = (0..3000).map(|_| publish()).sum::<u32>();
    assert!(sent <= 1000, "{sent}");
    until("all have come", || mailbox.list().len() == sent as usize);
    assert_eq!(publish(), 0);
    assert!(mailbox.pop().is_some());
    until("there is room again", || publish() == 1);
}
