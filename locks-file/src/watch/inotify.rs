//! inotify: one descriptor for the process, kept for good because closing it takes milliseconds, and
//! one thread, `locks-watch`, while anybody waits.

use std::collections::HashMap;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{panic, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Signal;

/// What may mean that a lock has become free, or that its file is no longer the one at its path.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CLOSE_NOWRITE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MODIFY);

/// For how long the thread stays when there is nothing to watch.
const IDLE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

static WATCHER: Mutex<Watcher> =
    Mutex::new(Watcher { descriptor: None, process: 0, watched: None, running: false });

struct Watcher {
    descriptor: Option<Arc<OwnedFd>>,
    /// Whose the descriptor is: a forked child would take the parent's events away.
    process: u32,
    /// W1: a number is here exactly while the kernel watches a file by it.
    watched: Option<HashMap<i32, Vec<Arc<Signal>>>>,
    running: bool,
}

/// A file being watched for somebody, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    number: i32,
    signal: Arc<Signal>,
    process: u32,
}

/// Raises `signal` when something happens to the file; `None` if the kernel will not watch it.
pub(crate) fn watch(file: &File, signal: &Arc<Signal>) -> Option<Watching> {
    let mut watcher = lock();
    let descriptor = watcher.descriptor()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let number = inotify::add_watch(&descriptor, path.as_str(), EVENTS).ok()?;
    watcher.watched().entry(number).or_default().push(signal.clone());
    if !watcher.running {
        let spawned = thread::Builder::new()
            .name("locks-watch".into())
            .stack_size(128 * 1024)
            .spawn(move || run(&descriptor));
        watcher.running = spawned.is_ok();
    }
    let watching = Watching { number, signal: signal.clone(), process: watcher.process };
    let running = watcher.running;
    drop(watcher);
    running.then_some(watching)
}

impl Watcher {
    fn descriptor(&mut self) -> Option<Arc<OwnedFd>> {
        let process = std::process::id();
        if self.process != process {
            *self = Self { descriptor: None, process, watched: None, running: false };
        }
        if self.descriptor.is_none() {
            let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
            self.descriptor = Some(Arc::new(inotify::init(flags).ok()?));
        }
        self.descriptor.clone()
    }

    fn watched(&mut self) -> &mut HashMap<i32, Vec<Arc<Signal>>> {
        self.watched.get_or_insert_default()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watcher = lock();
        if watcher.process != self.process {
            return;
        }
        let Some(signals) = watcher.watched().get_mut(&self.number) else { return };
        signals.retain(|signal| !Arc::ptr_eq(signal, &self.signal));
        if signals.is_empty() {
            watcher.watched().remove(&self.number);
            if let Some(descriptor) = watcher.descriptor() {
                // It fails where the file is gone, and the watch with it.
                let _ = inotify::remove_watch(&descriptor, self.number);
            }
        }
    }
}

/// The thread: raises the signals of what happens, and ends when nobody has waited for a while.
fn run(descriptor: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(descriptor, &mut buffer);
    loop {
        match events.next() {
            Ok(event) => raise(event.wd(), event.events()),
            Err(Errno::AGAIN) => {
                let idle = lock().watched().is_empty();
                let mut ready = [PollFd::new(descriptor, PollFlags::IN)];
                let nothing = poll(&mut ready, idle.then_some(&IDLE)) == Ok(0);
                let mut watcher = lock();
                if nothing && watcher.watched().is_empty() {
                    // Whoever comes from here on finds it unset, under the same mutex.
                    watcher.running = false;
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => {
                // Nobody would be told of anything: waiters are left to their own looks.
                let mut watcher = lock();
                watcher.running = false;
                watcher.descriptor = None;
                return;
            }
        }
    }
}

fn raise(number: i32, events: ReadFlags) {
    let concerned = {
        let mut watcher = lock();
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            watcher.watched().values().flatten().cloned().collect()
        } else if events.contains(ReadFlags::IGNORED) {
            // W1: the kernel may give the number to another file.
            watcher.watched().remove(&number).unwrap_or_default()
        } else {
            watcher.watched().get(&number).cloned().unwrap_or_default()
        }
    };
    for signal in concerned {
        // Whatever a waker does wrong is its own affair: the hook has told of it, and others wait.
        let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| signal.raise()));
    }
}

fn lock() -> MutexGuard<'static, Watcher> {
    WATCHER.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::pause;
    use super::*;
    use crate::kernel;

    #[test]
    fn f5_closing_a_file_tells_whoever_watches_it() {
        let path = std::env::temp_dir().join(format!("locks-watch-{}", std::process::id()));
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let (watched, signal) = (open(), Arc::<Signal>::default());
        let watching = watch(&watched, &signal).unwrap();
        drop(open());
        let until = kernel::now() + 20_000_000_000;
        let raised = locks_core::Op::later(async { Ok(pause(&signal, until).await) }).block();
        assert!(raised.unwrap());
        std::fs::remove_file(&path).unwrap();
        drop(watching);
    }

    #[test]
    fn f5_the_thread_ends_when_nobody_watches() {
        let path = std::env::temp_dir().join(format!("locks-watched-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        drop(watch(&file, &Arc::default()).unwrap());
        std::fs::remove_file(&path).unwrap();
        let start = Instant::now();
        // Another test of this process may be watching still.
        while lock().running {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
    }
}
