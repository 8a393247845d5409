use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;
use std::{panic, thread};

use super::{Alarm, Alarms, Clock, Moment, Stamp};
use crate::fork::PerProcess;
use crate::sync::plain::{Condvar, Mutex};

/// The machine's time awake: `CLOCK_MONOTONIC` where there is one, which stops in suspend.
///
/// Its alarms are served by one thread of the process, `locks-timer`, which starts with the
/// first alarm and ends once there has been none for a second. Where the system cannot start it,
/// waiting threads and tasks serve them by polling, and try again to start it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The time, for the record of a hold.
    ///
    /// It is coarse as long as nobody in the process has ever asked to steal: then it is only there
    /// for people to read.
    #[inline]
    pub(crate) fn stamp() -> Stamp {
        if STEALING.load(Ordering::Relaxed) {
            Self::exact_stamp()
        } else {
            Stamp::coarse(time::coarse())
        }
    }

    #[cold]
    #[inline(never)]
    fn exact_stamp() -> Stamp {
        Stamp::exact(time::precise())
    }

    /// Somebody asks to steal: from now on stamps are exact (C6).
    pub(crate) fn expect_thieves() {
        if !STEALING.load(Ordering::Relaxed) {
            STEALING.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn precise_now() -> Moment {
        time::precise()
    }

    pub(crate) fn coarse_now() -> Moment {
        time::coarse()
    }
}

static STEALING: AtomicBool = AtomicBool::new(false);

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        time::precise()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        let timer = Timer::own();
        let alarm = timer.alarms.set(at, waker);
        timer.expect_by(at);
        alarm
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        Some(at.since(time::precise()))
    }
}

struct Timer {
    alarms: Arc<Alarms>,
    thread: Mutex<Sleeper>,
    earlier: Condvar,
}

#[derive(Default)]
struct Sleeper {
    running: bool,
    /// Until when the thread sleeps.
    until: Option<Moment>,
}

/// A forked child has one of its own: the thread is not there, and may have had a mutex locked.
static TIMER: PerProcess<Timer> = PerProcess::new();

/// Whether there may be alarms that no thread serves (C2).
static UNATTENDED: AtomicBool = AtomicBool::new(false);

/// Sees to it that what `waker` wakes does not wait for alarms that no thread serves: serves them
/// here, and wakes it to do so again. To be called by whoever is about to wait, with no mutex
/// locked.
#[inline]
pub(crate) fn attend(waker: &Waker) {
    if UNATTENDED.load(Ordering::Relaxed) {
        Timer::own().attend(waker);
    }
}

impl Timer {
    const IDLE: Duration = Duration::from_secs(1);

    fn own() -> &'static Self {
        TIMER.get_or_init(|| Self {
            alarms: Alarms::new(),
            thread: Mutex::default(),
            earlier: Condvar::new(),
        })
    }

    /// Sees to it that the thread is awake at `at`.
    fn expect_by(&'static self, at: Moment) {
        let mut sleeper = self.thread.lock();
        if !sleeper.running {
            self.start(&mut sleeper);
        } else if sleeper.until.is_none_or(|until| at < until) {
            self.earlier.notify_one();
        }
    }

    fn start(&'static self, sleeper: &mut Sleeper) {
        let spawned = crate::thread::start("locks-timer", 128 * 1024, || self.run());
        sleeper.running = spawned.is_ok();
        UNATTENDED.store(spawned.is_err(), Ordering::Relaxed);
    }

    #[cold]
    fn attend(&'static self, waker: &Waker) {
        if self.alarms.next().is_none() {
            return;
        }
        let mut sleeper = self.thread.lock();
        if !sleeper.running {
            self.start(&mut sleeper);
        }
        let attended = sleeper.running;
        drop(sleeper);
        if !attended {
            self.fire();
            thread::yield_now();
            waker.wake_by_ref();
        }
    }

    /// Whatever a waker does wrong is its own affair: the hook has told of it, and others wait.
    fn fire(&self) {
        let fire = panic::AssertUnwindSafe(|| self.alarms.fire(time::precise()));
        let _ = panic::catch_unwind(fire);
    }

    fn run(&self) {
        let mut idle_since = None;
        loop {
            self.fire();
            let mut sleeper = self.thread.lock();
            let now = time::precise();
            let until = match self.alarms.next() {
                Some(next) if next <= now => continue,
                Some(next) => {
                    idle_since = None;
                    next
                }
                None => idle_since.get_or_insert(now).after(Self::IDLE),
            };
            if until <= now {
                // An alarm set from here on finds `running` unset, under the same mutex.
                sleeper.running = false;
                return;
            }
            sleeper.until = Some(until);
            let limit = until.since(now).min(Duration::from_secs(3600));
            self.earlier.wait(sleeper, Some(limit)).until = None;
        }
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod time {
    use std::mem::MaybeUninit;

    use super::Moment;

    #[inline]
    pub(super) fn coarse() -> Moment {
        read(libc::CLOCK_MONOTONIC_COARSE)
    }

    pub(super) fn precise() -> Moment {
        read(libc::CLOCK_MONOTONIC)
    }

    #[inline]
    fn read(clock: libc::clockid_t) -> Moment {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` is a timespec to write to.
        if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
            has_failed(clock);
        }
        // SAFETY: the clock was read, so `time` has been written.
        let time = unsafe { time.assume_init() };
        Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// Both clocks exist on every Linux; only a filter of system calls refuses them.
    #[cold]
    fn has_failed(clock: libc::clockid_t) -> ! {
        let error = std::io::Error::last_os_error();
        panic!("the system refuses to read its clock {clock}, without which no wait ends: {error}")
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod time {
    use std::time::Instant;

    use super::Moment;
    use crate::fork::Inherited;

    /// A little in the past, so that no moment is zero.
    static ORIGIN: Inherited<Instant> = Inherited::new();

    pub(super) fn coarse() -> Moment {
        precise()
    }

    pub(super) fn precise() -> Moment {
        Moment::from_nanos(
            1_000_000_000 + ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64,
        )
    }
}
