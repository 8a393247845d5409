//! inotify: one descriptor for the process, kept for good because closing it takes milliseconds.
//!
//! Somebody has to read it while anybody waits: a blocked thread that waits itself, or else, for
//! those whom a runtime polls, a thread `locks-watch`, which ends when nobody has waited for a
//! while.

use std::collections::HashMap;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use locks_core::fork::{PerProcess, generation};
use locks_core::{WaitPoint, wait_at};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Signal;

/// What may mean that a lock has become free, or that its file is no longer the one at its path.
const FREED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CLOSE_NOWRITE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::ATTRIB);

/// For how long the thread stays when there is nothing to watch.
const IDLE: Duration = Duration::from_secs(1);

/// A forked child has one of its own: it would take its parent's events away, and the parent's
/// thread is not there.
static WATCHER: PerProcess<Shared> = PerProcess::new();

#[derive(Default)]
struct Shared {
    watcher: Mutex<Watcher>,
    /// For the thread, which waits for those to leave who read in its stead.
    left: Condvar,
}

#[derive(Default)]
struct Watcher {
    descriptors: Option<Arc<Descriptors>>,
    /// W1: a number is here exactly while the kernel watches a file by it.
    watched: Option<HashMap<i32, Vec<FileWatch>>>,
    /// W2: who reads. While anybody watches somebody reads, or is about to: a blocked thread that
    /// has not come to wait yet, one that has been raised to do so, or the thread.
    reader: ReaderRole,
    /// The blocked thread that has been raised to read, and has not come yet.
    called: Option<ThreadId>,
    /// Whether there is a thread.
    thread: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ReaderRole {
    #[default]
    Nobody,
    Blocked,
    Thread,
}

/// What the events come in by, and what calls a reader away from them.
#[derive(Debug)]
struct Descriptors {
    events: OwnedFd,
    interruption: OwnedFd,
}

struct FileWatch {
    signal: Arc<Signal>,
    /// The blocked thread that waits for it, if there is one: it reads itself if nobody else does.
    reads: Option<ThreadId>,
}

/// A file being watched for somebody, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    number: i32,
    signal: Arc<Signal>,
    generation: u64,
}

/// Raises `signal` when something happens to the file; `None` if the kernel will not watch it.
///
/// `also_written`: not only when its lock may be free, but also when it is written to.
pub(crate) fn watch(file: &File, signal: &Arc<Signal>, also_written: bool) -> Option<Watching> {
    let reads = !also_written && wait_at(reader());
    let mut watcher = lock();
    let descriptors = watcher.descriptors()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Of one file there is one watch, whoever asked for it.
    let events = if also_written { FREED.union(WatchFlags::MODIFY) } else { FREED };
    let events = events.union(WatchFlags::MASK_ADD);
    let number = inotify::add_watch(&descriptors.events, path.as_str(), events).ok()?;
    let by = reads.then(|| thread::current().id());
    watcher
        .watched()
        .entry(number)
        .or_default()
        .push(FileWatch { signal: signal.clone(), reads: by });
    let watching = Watching { number, signal: signal.clone(), generation: generation() };
    let is_read = reads || watcher.see_to_the_thread();
    drop(watcher);
    is_read.then_some(watching)
}

/// Has a blocked thread read for itself while it waits for what is being polled.
pub(super) fn wait_here() {
    wait_at(reader());
}

impl Watcher {
    fn descriptors(&mut self) -> Option<Arc<Descriptors>> {
        if self.descriptors.is_none() {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            let interruption = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            self.descriptors = Some(Arc::new(Descriptors { events, interruption }));
        }
        self.descriptors.clone()
    }

    fn watched(&mut self) -> &mut HashMap<i32, Vec<FileWatch>> {
        self.watched.get_or_insert_default()
    }

    /// W2, for those who do not read themselves. Says whether it holds.
    fn see_to_the_thread(&mut self) -> bool {
        let needed = self.watched().values().flatten().any(|watch| watch.reads.is_none());
        if self.reader != ReaderRole::Nobody || !needed {
            return true;
        }
        if self.thread {
            shared().left.notify_all();
            return true;
        }
        let Some(descriptors) = self.descriptors() else { return false };
        let spawned =
            locks_core::thread::start("locks-watch", 128 * 1024, move || run(&descriptors));
        self.thread = spawned.is_ok();
        self.thread
    }
}

impl Watcher {
    /// W2: calls somebody to read instead of this thread, whose signal is to be raised then.
    fn call_another(&mut self) -> Option<Arc<Signal>> {
        let me = thread::current().id();
        let mut watches = self.watched().values().flatten();
        let other = watches.find(|watch| watch.reads.is_some_and(|thread| thread != me));
        let (called, signal) =
            other.map(|watch| (watch.reads, Some(watch.signal.clone()))).unwrap_or_default();
        self.called = called;
        signal
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // In a forked child the parent's watch is the parent's.
        if self.generation != generation() {
            return;
        }
        let mut watcher = lock();
        if let Some(watches) = watcher.watched().get_mut(&self.number) {
            watches.retain(|watch| !Arc::ptr_eq(&watch.signal, &self.signal));
            if watches.is_empty() {
                watcher.watched().remove(&self.number);
                if let Some(descriptors) = watcher.descriptors() {
                    // It fails where the file is gone, and the watch with it.
                    let _ = inotify::remove_watch(&descriptors.events, self.number);
                }
            }
        }
        // Whoever was called and goes instead leaves that to the next.
        let was_called = watcher.called == Some(thread::current().id());
        let next = if was_called { watcher.call_another() } else { None };
        drop(watcher);
        if let Some(signal) = next {
            signal.raise();
        }
    }
}

/// Where blocked threads wait: the first of them reads, and raises the signals of the others too.
struct BlockedReader;

fn reader() -> Arc<dyn WaitPoint> {
    static READER: PerProcess<Arc<dyn WaitPoint>> = PerProcess::new();
    READER.get_or_init(|| Arc::new(BlockedReader)).clone()
}

impl WaitPoint for BlockedReader {
    fn wait(&self, woken: &dyn Fn() -> bool) -> bool {
        let descriptors = {
            let mut watcher = lock();
            let Some(descriptors) = watcher.descriptors() else { return false };
            if watcher.reader != ReaderRole::Nobody {
                return false;
            }
            watcher.reader = ReaderRole::Blocked;
            watcher.called = None;
            descriptors
        };
        while !woken() {
            descriptors.wait_for_events(None);
            read(&descriptors, woken);
            if !woken() {
                descriptors.drain_interruptions();
            }
        }
        let mut watcher = lock();
        watcher.reader = ReaderRole::Nobody;
        watcher.see_to_the_thread();
        // W2: what is left unread is the next one's.
        let next = watcher.call_another();
        drop(watcher);
        if let Some(signal) = next {
            signal.raise();
        }
        true
    }

    fn interrupt(&self) {
        if let Some(descriptors) = &lock().descriptors {
            descriptors.interrupt();
        }
    }
}

impl Descriptors {
    /// Waits for events or an interruption. Says whether there was either.
    fn wait_for_events(&self, limit: Option<Duration>) -> bool {
        let mut ready = [
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(&self.interruption, PollFlags::IN),
        ];
        let limit = limit.and_then(|limit| limit.try_into().ok());
        poll(&mut ready, limit.as_ref()) != Ok(0)
    }

    fn interrupt(&self) {
        // It fails only where there is an interruption already.
        let _ = rustix::io::write(&self.interruption, &1_u64.to_ne_bytes());
    }

    /// Takes note of interruptions so far.
    fn drain_interruptions(&self) {
        let _ = rustix::io::read(&self.interruption, &mut [0; 8]);
    }
}

/// The thread: reads while nobody does so himself, and ends when nobody has waited for a while.
fn run(descriptors: &Descriptors) {
    loop {
        let mut watcher = lock();
        while watcher.reader == ReaderRole::Blocked {
            let (again, waited) =
                shared().left.wait_timeout(watcher, IDLE).unwrap_or_else(PoisonError::into_inner);
            watcher = again;
            if waited.timed_out() && watcher.reader == ReaderRole::Blocked {
                // Should he leave others behind, he begins another thread.
                watcher.thread = false;
                return;
            }
        }
        watcher.reader = ReaderRole::Thread;
        watcher.called = None;
        let idle = watcher.watched().is_empty();
        drop(watcher);
        let something = descriptors.wait_for_events(idle.then_some(IDLE));
        read(descriptors, &|| false);
        descriptors.drain_interruptions();
        let mut watcher = lock();
        watcher.reader = ReaderRole::Nobody;
        if !something && watcher.watched().is_empty() {
            // Whoever comes from here on finds it unset, under the same mutex.
            watcher.thread = false;
            return;
        }
    }
}

/// Reads what there is and raises the signals that it concerns, until `done` says that it will do.
fn read(descriptors: &Descriptors, done: &dyn Fn() -> bool) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(&descriptors.events, &mut buffer);
    loop {
        match events.next() {
            Ok(event) => raise(event.wd(), event.events()),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
        // What has been read concerns others as well.
        if events.is_buffer_empty() && done() {
            return;
        }
    }
}

fn raise(number: i32, events: ReadFlags) {
    let mut watcher = lock();
    let concerned: Vec<Arc<Signal>> = if events.contains(ReadFlags::QUEUE_OVERFLOW) {
        watcher.watched().values().flatten().map(|watch| watch.signal.clone()).collect()
    } else {
        // W1: after the last event the kernel may give the number to another file.
        let watches = match events.contains(ReadFlags::IGNORED) {
            true => watcher.watched().remove(&number),
            false => None,
        };
        let watches = watches.as_ref().or_else(|| watcher.watched.as_ref()?.get(&number));
        watches.into_iter().flatten().map(|watch| watch.signal.clone()).collect()
    };
    drop(watcher);
    for signal in concerned {
        // Whatever a waker does wrong is its own affair: the hook has told of it, and others wait.
        let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| signal.raise()));
    }
}

fn shared() -> &'static Shared {
    WATCHER.get_or_init(Shared::default)
}

fn lock() -> MutexGuard<'static, Watcher> {
    shared().watcher.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
