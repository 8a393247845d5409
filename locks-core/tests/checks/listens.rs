//! Hears what is given to `tracing`.

use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// A subscriber that calls a function with the fields, as text, of each event that it wants.
pub(crate) struct Listens<W, F> {
    pub(crate) wants: W,
    pub(crate) told: F,
}

/// One that wants the warnings.
pub(crate) fn warnings<F: Fn(String) + Send + Sync + 'static>(told: F) -> impl Subscriber {
    Listens { wants: |metadata: &Metadata<'_>| *metadata.level() == Level::WARN, told }
}

/// The fields of an event.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl<W, F> Subscriber for Listens<W, F>
where
    W: Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
    F: Fn(String) + Send + Sync + 'static,
{
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.wants)(metadata)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // Of no span, also where there is one at the moment.
        let mut text = Text(if event.is_root() { "(root) ".to_owned() } else { String::new() });
        event.record(&mut text);
        (self.told)(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
