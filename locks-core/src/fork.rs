//! Detection of forks: tells a child that it is one, and which of the things in its memory are its
//! parent's ([C4](crate::contract#c4-release)).
//!
//! A child has a copy of all memory, and of none of the threads: a mutex that a thread of the
//! parent had locked stays locked, connections and locks are the parent's. So what belongs to one
//! process notes the [`generation`], and what all of a process share is kept in a [`PerProcess`],
//! or in an [`Inherited`] if its children have it too. A `OnceLock`, which waits for the thread
//! that makes its value, is for neither.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Returns the number of this process in the line of those that were forked one from the other:
/// greater in a child than in its parent, at every call, and the same for as long as the process
/// lives.
///
/// Not the process's id, which may come again: process 1 of one pid namespace may fork process 1 of
/// another. A call costs an atomic load.
#[inline]
pub fn generation() -> u64 {
    match mark().load(Ordering::Relaxed) {
        0 => next(),
        known => known,
    }
}

/// The greatest number that was ever taken, in the memory that a child copies. It is raised before
/// the mark is set: a fork in between costs a number, and gives none twice.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The first call in a process: in one that was forked the mark is 0.
#[cold]
fn next() -> u64 {
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    // Of several threads one sets it.
    let set = mark().compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
    set.map_or_else(|known| known, |_| next)
}

/// Where this process's number is, which reads 0 in a child that has just been forked.
#[inline]
fn mark() -> &'static AtomicU64 {
    let mark = MARK.load(Ordering::Acquire);
    if mark.is_null() {
        return make_mark();
    }
    // SAFETY: what is stored there is never freed.
    unsafe { &*mark }
}

static MARK: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

#[cold]
fn make_mark() -> &'static AtomicU64 {
    let made = wiped_on_fork().unwrap_or_else(reset_on_fork);
    let set = MARK.compare_exchange(
        ptr::null_mut(),
        ptr::from_ref(made).cast_mut(),
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    // Of several threads one sets it; what the others have made stays, and is of no use.
    let mark = set.map_or_else(|known| known, |_| ptr::from_ref(made).cast_mut());
    // SAFETY: what is stored there is never freed.
    unsafe { &*mark }
}

/// A page that the kernel gives to children as zeros, however they were forked.
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
fn wiped_on_fork() -> Option<&'static AtomicU64> {
    const LENGTH: usize = size_of::<AtomicU64>();
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at a place that the kernel chooses, touches no other memory.
    let page = unsafe { libc::mmap(ptr::null_mut(), LENGTH, rights, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: it is the mapping that was made above, which nobody else knows. Where the kernel
    // refuses (before 4.14) it stays, and is of no use.
    if unsafe { libc::madvise(page, LENGTH, libc::MADV_WIPEONFORK) } != 0 {
        return None;
    }
    // SAFETY: the page is zeros, aligned, and stays for ever.
    Some(unsafe { &*page.cast::<AtomicU64>() })
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(miri))))]
fn wiped_on_fork() -> Option<&'static AtomicU64> {
    None
}

/// Where the kernel does not see to it: the system's library does, for forks that go through it.
#[cfg(unix)]
fn reset_on_fork() -> &'static AtomicU64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    extern "C" fn reset() {
        NUMBER.store(0, Ordering::Relaxed);
    }
    // SAFETY: `reset` does nothing that a forked child may not do.
    let failed = unsafe { libc::pthread_atfork(None, None, Some(reset)) };
    assert_eq!(failed, 0, "there is no memory left to notice forks with");
    &NUMBER
}

#[cfg(not(unix))]
fn reset_on_fork() -> &'static AtomicU64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    &NUMBER
}

/// A cell with a value for each process: a forked child does not see its parent's but makes its
/// own.
///
/// No access waits for a thread, so none can wait for one that the child does not have. What a
/// parent had is not dropped in a child: it may refer to locks and connections that go on being the
/// parent's.
pub struct PerProcess<T> {
    /// P1: a list, newest first, of values that are never moved, and never freed while this lives.
    newest: AtomicPtr<Made<T>>,
}

struct Made<T> {
    generation: u64,
    value: T,
    before: *mut Made<T>,
}

// SAFETY: it hands out shared references to `T`, and drops `T` on the thread that drops it.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as above; a value that one thread has made is seen by others, and may be dropped by them.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    /// Creates a cell with a value for no process.
    pub const fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Creates a cell with a value for this process.
    pub fn with(value: T) -> Self {
        let this = Self::new();
        this.set(value);
        this
    }

    /// Returns the value of this process, if it has one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.newest().filter(|made| made.generation == generation()).map(|made| &made.value)
    }

    /// Returns the value of the process that this one was forked from, if this one has none of its
    /// own.
    ///
    /// It is the parent's: nothing of it may be used that the parent's threads could have been
    /// changing.
    pub fn inherited(&self) -> Option<&T> {
        self.newest().filter(|made| made.generation != generation()).map(|made| &made.value)
    }

    /// Returns the values of this process and of those that it was forked from, newest first, each
    /// with the [`generation`] that has made it. Those of parents are to be used as
    /// [`inherited`](Self::inherited) says.
    pub fn of_line(&self) -> impl Iterator<Item = (u64, &T)> {
        // SAFETY: P1.
        let before = |made: &&Made<T>| unsafe { made.before.as_ref() };
        std::iter::successors(self.newest(), before).map(|made| (made.generation, &made.value))
    }

    /// Returns the value of this process, making it with `make` if there is none. Where several
    /// threads do that at the same time, one value is kept, and the others are dropped.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_try_init<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.get() {
            Some(value) => Ok(value),
            None => Ok(self.set(make()?)),
        }
    }

    /// As [`get_or_try_init`](Self::get_or_try_init), where nothing can fail.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.set(make()),
        }
    }

    fn newest(&self) -> Option<&Made<T>> {
        // SAFETY: P1.
        unsafe { self.newest.load(Ordering::Acquire).as_ref() }
    }

    fn set(&self, value: T) -> &T {
        let generation = generation();
        let mut before = self.newest.load(Ordering::Acquire);
        let made = Box::into_raw(Box::new(Made { generation, value, before }));
        loop {
            // SAFETY: P1.
            if let Some(known) = unsafe { before.as_ref() }
                && known.generation == generation
            {
                // SAFETY: it has not been stored, so nobody else knows it.
                drop(unsafe { Box::from_raw(made) });
                return &known.value;
            }
            // SAFETY: as above.
            unsafe { (*made).before = before };
            match self.newest.compare_exchange(before, made, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: P1.
                Ok(_) => return unsafe { &(*made).value },
                Err(newer) => before = newer,
            }
        }
    }
}

/// A cell with one value for a process and all that are forked from it, as
/// [`OnceLock`](std::sync::OnceLock) has.
///
/// No access waits for a thread: a child that is forked while a thread of its parent makes the
/// value makes one of its own.
pub struct Inherited<T>(PerProcess<T>);

impl<T> Inherited<T> {
    /// Creates a cell without a value.
    pub const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// Returns the value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.newest().map(|made| &made.value)
    }

    /// Returns the value, making it with `make` if there is none. Where several threads do that at
    /// the same time, one value is kept, and the others are dropped.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.0.set(make()),
        }
    }
}

impl<T> Default for Inherited<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Inherited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inherited").field(&self.get()).finish()
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let newest = *self.newest.get_mut();
        // SAFETY: P1.
        if unsafe { newest.as_ref() }.is_some_and(|made| made.generation == generation()) {
            // SAFETY: it is made by `Box`, and nobody has a reference to it any more. Those before
            // it are of parents, and stay.
            drop(unsafe { Box::from_raw(newest) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerProcess").field(&self.get()).finish()
    }
}

#[cfg(all(test, unix, not(any(loom, shuttle))))]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// Runs `child` in a forked process, which may do only what no other thread can be in the way
    /// of.
    fn forked(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child calls `child` and ends, without running anything of the parent's.
        unsafe {
            match libc::fork() {
                0 => {
                    // Should it hang, it does not stay.
                    libc::alarm(60);
                    libc::_exit(i32::from(!child()))
                }
                pid => {
                    let mut status = -1;
                    assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                    status == 0
                }
            }
        }
    }

    #[test]
    fn c4_a_child_is_of_a_later_generation_than_its_parent() {
        let own = generation();
        assert_eq!(generation(), own);
        assert!(forked(|| {
            let child = generation();
            child > own && generation() == child && forked(|| generation() > child)
        }));
        assert_eq!(generation(), own);
        let number = reset_on_fork();
        number.store(7, Ordering::Relaxed);
        assert!(forked(|| number.load(Ordering::Relaxed) == 0), "without the kernel's help");
    }

    #[test]
    fn c4_a_child_has_no_value_of_its_parents() {
        let cell = PerProcess::with(1);
        assert_eq!((cell.get(), cell.inherited()), (Some(&1), None));
        assert_eq!(cell.get_or_init(|| 2), &1);
        assert!(forked(|| {
            let before = (cell.get(), cell.inherited()) == (None, Some(&1));
            before && *cell.get_or_init(|| 3) == 3 && cell.get() == Some(&3)
        }));
        assert_eq!(cell.get(), Some(&1));
        assert_eq!(PerProcess::<u32>::new().get_or_try_init(|| Err::<u32, _>(5)), Err(5));
    }

    #[test]
    fn c4_a_child_inherits_a_value_and_does_not_wait_for_one_that_is_being_made() {
        let cell = &Inherited::new();
        let (begun, begins) = mpsc::channel();
        let (goes_on, going_on) = mpsc::channel();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                cell.get_or_init(|| {
                    begun.send(()).unwrap();
                    going_on.recv().unwrap();
                    1
                })
            });
            begins.recv().unwrap();
            assert!(forked(|| cell.get().is_none() && *cell.get_or_init(|| 2) == 2));
            goes_on.send(()).unwrap();
        });
        assert_eq!(cell.get(), Some(&1));
        assert!(forked(|| *cell.get_or_init(|| 3) == 1));
    }

    #[test]
    fn c4_of_several_threads_one_makes_the_value() {
        let (cell, value) = (PerProcess::new(), Arc::new(()));
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| cell.get_or_init(|| value.clone()));
            }
        });
        assert_eq!(Arc::strong_count(&value), 2, "what the others have made is dropped");
        drop(cell);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
