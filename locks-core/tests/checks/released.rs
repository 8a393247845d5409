//! What is told of a release (C4).

use std::sync::{Arc, Mutex};

use locks_core::{Backend, Engine};
use tracing::{Level, Metadata};

use crate::listens::{Listens, warnings};

#[test]
fn c4_a_release_is_told_with_the_key_that_was_held() {
    let backend = Backend::new(Engine::new());
    let held = || backend.named("k").acquire().unwrap().into_owned();
    // What comes up for the first time while somebody is being told is told to nobody from then on.
    tracing::subscriber::with_default(warnings(|_| {}), || drop(held()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (elsewhere, told) = (backend.clone(), heard.clone());
    let listens = Listens {
        // Before it hears of anything it gives all shards other keys to think of, where they can.
        wants: move |metadata: &Metadata<'_>| {
            for number in 0..2000 {
                drop(elsewhere.named(format!("another key, number {number}")).acquire());
            }
            *metadata.level() == Level::TRACE
        },
        told: move |text| told.lock().unwrap().push(text),
    };
    tracing::subscriber::with_default(listens, || {
        drop(held());
        held().release().unwrap();
        held().begin_release().block().unwrap();
    });
    let heard = heard.lock().unwrap();
    let released = heard.iter().filter(|text| text.contains("message=released"));
    let released = released.collect::<Vec<_>>();
    assert_eq!(released.len(), 3, "{heard:?}");
    assert!(released.iter().all(|text| text.contains("key=k ")), "{released:?}");
}
