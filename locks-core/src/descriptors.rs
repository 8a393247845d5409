//! Open files that a forked child must not keep, or must not close (C4).
//!
//! A child has a copy of every descriptor, and with it of every lock by `flock`: one that it keeps
//! open outlives its parent. And it may close what it has inherited by number, as daemons do, and
//! open something else by that number: what it closes later by an object of its parent's is not the
//! parent's file any more. So descriptors of locks are listed here, and closed at the fork itself,
//! when each number still stands for what it stood for.

use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// What becomes of a descriptor in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InChild {
    /// It is closed at the fork.
    Closed,
    /// It stays open.
    Open,
}

const WORD: usize = u64::BITS as usize;
const WORDS: usize = 64;
const BLOCKS: usize = 1024;

/// A bit for each descriptor, in blocks that are made when they are needed and stay. No access
/// waits for a thread.
struct List([AtomicPtr<[AtomicU64; WORDS]>; BLOCKS]);

static CLOSED: List = List([const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS]);
static OPEN: List = List([const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS]);

/// Lists a descriptor that this process has opened. To be called right after that.
///
/// Where a child is forked by other means than the system's library it is not noticed, and keeps
/// what it has inherited.
pub fn list(descriptor: RawFd, in_child: InChild) {
    static NOTICED: AtomicBool = AtomicBool::new(false);
    if !NOTICED.load(Ordering::Relaxed) && !NOTICED.swap(true, Ordering::Relaxed) {
        // SAFETY: `in_forked_child` does nothing that a forked child may not do. Should it fail,
        // for want of memory, children keep what they inherit.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) };
    }
    list_of(in_child).set(descriptor, true);
}

/// Takes a descriptor off the list. To be called right before it is closed.
pub fn unlist(descriptor: RawFd, in_child: InChild) {
    list_of(in_child).set(descriptor, false);
}

/// Returns `true` if this process itself has opened this descriptor, and has listed it so: then it
/// does not stand for what a parent had open by that number.
pub fn is_listed(descriptor: RawFd, in_child: InChild) -> bool {
    list_of(in_child).has(descriptor)
}

const fn list_of(in_child: InChild) -> &'static List {
    match in_child {
        InChild::Closed => &CLOSED,
        InChild::Open => &OPEN,
    }
}

/// Runs in a forked child before anything else does.
extern "C" fn in_forked_child() {
    CLOSED.take(|descriptor| {
        // SAFETY: the child's descriptors are what the parent's were at the fork, and whoever had
        // listed this one does not use or close it in a child.
        unsafe { libc::close(descriptor) };
    });
    OPEN.take(|_| ());
}

impl List {
    fn set(&self, descriptor: RawFd, listed: bool) {
        let Some((block, word, bit)) = place(descriptor) else { return };
        let words = match self.words(block) {
            Some(words) => words,
            None if listed => self.make(block),
            None => return,
        };
        match listed {
            true => words[word].fetch_or(bit, Ordering::Relaxed),
            false => words[word].fetch_and(!bit, Ordering::Relaxed),
        };
    }

    fn has(&self, descriptor: RawFd) -> bool {
        let Some((block, word, bit)) = place(descriptor) else { return false };
        self.words(block).is_some_and(|words| words[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Empties the list.
    fn take(&self, each: impl Fn(RawFd)) {
        for block in 0..BLOCKS {
            let Some(words) = self.words(block) else { continue };
            for (word, bits) in words.iter().enumerate() {
                let mut bits = bits.swap(0, Ordering::Relaxed);
                while bits != 0 {
                    let number = (block * WORDS + word) * WORD + bits.trailing_zeros() as usize;
                    each(number as RawFd);
                    bits &= bits - 1;
                }
            }
        }
    }

    fn words(&self, block: usize) -> Option<&[AtomicU64; WORDS]> {
        // SAFETY: what is stored there is never freed.
        unsafe { self.0[block].load(Ordering::Acquire).as_ref() }
    }

    #[cold]
    fn make(&self, block: usize) -> &[AtomicU64; WORDS] {
        let made = Box::into_raw(Box::new([const { AtomicU64::new(0) }; WORDS]));
        let place = &self.0[block];
        let stored =
            place.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        if stored.is_err() {
            // SAFETY: it has not been stored, so nobody else knows it.
            drop(unsafe { Box::from_raw(made) });
        }
        self.words(block).expect("one of the two was stored")
    }
}

/// Where a descriptor's bit is. There are none beyond four million.
fn place(descriptor: RawFd) -> Option<(usize, usize, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    let (word, bit) = (number / WORD, 1 << (number % WORD));
    (word / WORDS < BLOCKS).then_some((word / WORDS, word % WORDS, bit))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn c4_what_is_listed_is_there_until_it_is_taken() {
        let list = List([const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS]);
        let numbers = [0, 1, 63, 64, 4095, 4096, 70_000, 4_194_303];
        for number in numbers {
            assert!(!list.has(number));
            list.set(number, true);
            assert!(list.has(number), "{number}");
        }
        list.set(64, false);
        list.set(5, false);
        list.set(-1, true);
        list.set(4_194_304, true);
        assert!(!list.has(-1) && !list.has(4_194_304));
        let taken = std::cell::RefCell::new(Vec::new());
        list.take(|number| taken.borrow_mut().push(number));
        assert_eq!(taken.into_inner(), [0, 1, 63, 4095, 4096, 70_000, 4_194_303]);
        assert!(numbers.iter().all(|number| !list.has(*number)));
    }
}
