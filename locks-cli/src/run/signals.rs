//! Which signals are heard, and how they become events.

use std::io;
use std::thread;

use rustix::process::Signal;
use signal_hook::iterator::Signals;

use super::events::{Event, Events};
use crate::ignored::Ignored;

/// What is passed on to the command. The others cannot be caught, or tell of a fault of the
/// process that gets them, or come with a terminal that the command then has.
const PASSED_ON: [Signal; 10] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// Whether the signal ends a wait for the lock, with which the command's run has not begun yet.
pub(super) fn ends_waiting(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal)
}

/// From now on signals become events, and do nothing else.
pub(super) fn listen(events: &Events) -> io::Result<()> {
    let ignored = Ignored::by_whoever_started_us();
    let heard = PASSED_ON.into_iter().filter(|signal| !ignored.has(*signal));
    let mut signals = Signals::new(heard.chain([Signal::CHILD]).map(Signal::as_raw))?;
    let sender = events.sender();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            let event = match Signal::from_named_raw(number) {
                Some(Signal::CHILD) | None => Event::Look,
                Some(signal) => Event::Signal(signal),
            };
            if sender.send(event).is_err() {
                break;
            }
        }
    })?;
    Ok(())
}
