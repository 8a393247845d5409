//! What is told of a release (C4).

use std::sync::{Arc, Mutex};

use locks_core::{Backend, Engine};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::warnings::{Text, Warnings};

/// Hears of everything, and before that gives all shards other keys to think of, where they can.
struct Hears {
    backend: Backend,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for Hears {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        for number in 0..2000 {
            drop(self.backend.named(format!("another key, number {number}")).acquire());
        }
        *metadata.level() == Level::TRACE
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.heard.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn c4_a_release_is_told_with_the_key_that_was_held() {
    let backend = Backend::new(Engine::new());
    let held = || backend.named("k").acquire().unwrap().into_owned();
    // What comes up for the first time while somebody is being told is told to nobody from then on.
    tracing::subscriber::with_default(Warnings(|_| {}), || drop(held()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Hears { backend: backend.clone(), heard: heard.clone() };
    tracing::subscriber::with_default(hears, || {
        drop(held());
        held().release().unwrap();
        if let Err(guard) = held().try_release() {
            drop(guard);
        }
    });
    let heard = heard.lock().unwrap();
    let released = heard.iter().filter(|text| text.contains("message=released"));
    let released = released.collect::<Vec<_>>();
    assert_eq!(released.len(), 3, "{heard:?}");
    assert!(released.iter().all(|text| text.contains("keys=k ")), "{released:?}");
}
