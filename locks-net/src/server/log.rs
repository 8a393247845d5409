//! The log of a server, for its operator (N12).

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// The server cannot do what it is there for.
    Error,
    /// A client was refused, or something is short.
    Warn,
    /// The server begins, ends, takes over.
    Info,
}

/// One thing that has happened to a server, for [`ServerBuilder::log`](crate::ServerBuilder::log).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// The severity.
    pub level: LogLevel,
    /// The kind of event: `started`, `taken over`, `stopped`, `refused`, `proof failed`, `limit`,
    /// `evicted`, `stolen`, `disk`.
    pub event: &'static str,
    /// The event in words, without control characters or marks of direction.
    pub text: String,
}

/// Lines of a kind that are written in a second; the others are counted.
const LINES: u32 = 10;

type Tell = dyn Fn(&LogLine) + Send + Sync;

/// Where lines go.
#[derive(Clone, Default)]
pub(super) struct Log(Option<Arc<LogSink>>);

struct LogSink {
    tell: Box<Tell>,
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

/// The lines of one kind in the present second.
struct Kind {
    since: Instant,
    written: u32,
    dropped: u32,
}

impl Log {
    pub(super) fn new(tell: impl Fn(&LogLine) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(LogSink { tell: Box::new(tell), kinds: Mutex::default() })))
    }

    pub(super) fn say(&self, level: LogLevel, event: &'static str, text: &str) {
        let Some(sink) = &self.0 else { return };
        let Some(dropped) = sink.admit(event, Instant::now()) else { return };
        let mut text = escaped(text);
        if dropped > 0 {
            text += &format!(" (and {dropped} more of this kind before)");
        }
        let line = LogLine { level, event, text };
        // It is anybody's code, and the server goes on.
        let _ = catch_unwind(AssertUnwindSafe(|| (sink.tell)(&line)));
    }
}

impl LogSink {
    /// Returns how many lines were dropped before this one; `None`: this one is dropped too.
    fn admit(&self, event: &'static str, now: Instant) -> Option<u32> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(event).or_insert(Kind { since: now, written: 0, dropped: 0 });
        if now.duration_since(kind.since) >= Duration::from_secs(1) {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written == LINES {
            kind.dropped += 1;
            return None;
        }
        kind.written += 1;
        Some(std::mem::take(&mut kind.dropped))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.0.is_some()).finish()
    }
}

/// Without what would move a terminal's cursor, or turn the text around.
fn escaped(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_lines_are_limited_by_kind_and_say_how_many_were_dropped() {
        let sink = LogSink { tell: Box::new(|_| {}), kinds: Mutex::default() };
        let start = Instant::now();
        let admitted = (0..100).filter(|_| sink.admit("refused", start).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(sink.admit("stopped", start), Some(0), "one kind does not silence another");
        assert_eq!(sink.admit("refused", start + Duration::from_secs(1)), Some(90));
        assert_eq!(sink.admit("refused", start + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn n12_lines_do_not_move_the_cursor_or_turn_the_text_around() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&lines);
        let log = Log::new(move |line| theirs.lock().unwrap().push(line.text.clone()));
        log.say(LogLevel::Info, "evicted", "k\u{1b}[2J\n\u{202e}gpj");
        assert_eq!(lines.lock().unwrap()[..], ["k\\u{1b}[2J\\u{a}\\u{202e}gpj"]);
    }
}
