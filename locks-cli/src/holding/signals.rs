//! Which signals are heard, and how they become events.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, Signal as Named};
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::events::{Event, Events};
use super::family::is_orphaned;
use crate::inherited::Inherited;

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
pub(crate) fn ends_waiting(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal)
}

/// All of this process group was told to stop, this process with it.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Signals become events, for as long as the process lives or until it is [told
/// otherwise](Self::end_with_wait).
#[derive(Debug)]
pub(crate) struct Listening {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// From now on signals become events, and do nothing else. To be called for the first time before
/// there are other threads.
///
/// They are blocked and waited for, not handled, so that their dispositions stay what they were:
/// this process can be stopped by the one that has stopped its command, and what it starts inherits
/// what it has inherited itself.
pub(crate) fn listen(events: &Events, inherited: &Inherited) -> io::Result<Listening> {
    let heard = PASSED_ON.into_iter().filter(|signal| !inherited.ignores(*signal));
    let heard = heard.chain([Signal::CHILD]).filter_map(|signal| named(signal).ok());
    let heard = SigSet::from_iter(heard);
    heard.thread_block()?;
    let sender = events.sender();
    let stops = Arc::new(AtomicBool::new(false));
    let is_to_stop = Arc::clone(&stops);
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(signal) = heard.wait() {
            if signal == Named::SIGCHLD && is_to_stop.load(Ordering::Acquire) {
                break;
            }
            if signal == Named::SIGTSTP && STOPPING.load(Ordering::Acquire) {
                // At once: the others have stopped, and whoever continues them does not wait for
                // this one.
                stop_this_thread_with_all();
                continue;
            }
            let event = match Signal::from_named_raw(signal as i32) {
                Some(Signal::CHILD) | None => Event::Look,
                Some(signal) => Event::Signal(signal),
            };
            if sender.send(event).is_err() {
                break;
            }
        }
    })?;
    Ok(Listening { stops, thread })
}

impl Listening {
    /// Ends the listening with the wait for the lock. Returns the signal that ends this process, if
    /// one has come until now; those for the command are forgotten. Later ones stay pending.
    pub(crate) fn end_with_wait(self, events: &Events) -> Option<Signal> {
        self.stop();
        // The lock may have been granted before they were looked at, or even handed out.
        let signals = events.signals();
        let ends = signals.iter().copied().find(|signal| ends_waiting(*signal));
        if ends.is_none() && signals.contains(&Signal::TSTP) {
            stop_myself();
        }
        ends
    }

    /// Ends the listening: signals that came before are events. Those with greater numbers than
    /// CHLD, which the kernel hands out after it, may stay pending: they end and harm nobody.
    fn stop(self) {
        self.stops.store(true, Ordering::Release);
        // It waits for this one in any case, and no other is needed for it to be heard.
        if kill_process(getpid(), Signal::CHILD).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Has the kernel keep children that end until they are reaped, and tell of them, also where CHLD
/// is ignored. What is started later inherits that.
pub(crate) fn keep_children() -> io::Result<()> {
    let somebody = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(Signal::CHILD.as_raw(), somebody).map(|_| ())
}

/// Stops, as by Ctrl-Z, until continued.
pub(crate) fn stop_myself() {
    if is_orphaned() {
        // The kernel would not do it by the other signal.
        let _ = kill_process(getpid(), Signal::STOP);
        return;
    }
    stop_this_thread_with_all();
}

/// Stops the process by a signal to this thread, which no other takes for itself.
fn stop_this_thread_with_all() {
    // It is one of those that are waited for, unless it is ignored.
    let Ok(mask) = SigSet::thread_get_mask() else { return };
    let _ = SigSet::from_iter([Named::SIGTSTP]).thread_unblock();
    let _ = nix::sys::signal::raise(Named::SIGTSTP);
    let _ = mask.thread_set_mask();
}

/// Stops this process group, as by Ctrl-Z, until it is continued. The thread of the signals stops
/// this process as soon as it has the signal: were that an event for another thread, the group
/// could be continued before that looks.
pub(crate) fn stop_group() {
    STOPPING.store(true, Ordering::Release);
    let _ = kill_current_process_group(Signal::TSTP);
}

/// Ends what [`stop_group`] began, in a process that was continued. Returns `true` if it had begun.
pub(crate) fn has_group_stopped() -> bool {
    STOPPING.swap(false, Ordering::AcqRel)
}

fn named(signal: Signal) -> io::Result<Named> {
    Ok(Named::try_from(signal.as_raw())?)
}
