//! The primitives that the engine is made of, exchanged for those of the schedule explorers
//! when they run it.

#[cfg(not(any(loom, shuttle)))]
mod real {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;

    pub(crate) use foldhash::quality::RandomState;
    pub(crate) use parking_lot::{Mutex, MutexGuard};

    pub(crate) use super::unwatched::Witness;
}

#[cfg(loom)]
mod real {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic;
    pub(crate) use loom::thread;

    /// Each run of a model has to put the keys where the last one did.
    pub(crate) use foldhash::quality::FixedState as RandomState;

    pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no test panics in the engine")
        }
    }

    /// Stands for memory that is not atomic: a model fails if somebody looks at it while another
    /// changes it, or without having seen that.
    #[derive(Debug, Default)]
    pub(crate) struct Witness(loom::cell::UnsafeCell<()>);

    impl Witness {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn looked_at(&self) {
            self.0.with(|_| {});
        }

        pub(crate) fn changed(&self) {
            self.0.with_mut(|_| {});
        }
    }
}

#[cfg(all(shuttle, not(loom)))]
mod real {
    pub(crate) use shuttle::hint::spin_loop;
    pub(crate) use shuttle::sync::atomic;
    pub(crate) use shuttle::thread;

    pub(crate) use super::unwatched::Witness;

    /// Each run of a model has to put the keys where the last one did.
    pub(crate) use foldhash::quality::FixedState as RandomState;

    pub(crate) type MutexGuard<'a, T> = shuttle::sync::MutexGuard<'a, T>;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no test panics in the engine")
        }
    }
}

/// Where nobody watches.
#[cfg(not(loom))]
mod unwatched {
    #[derive(Debug)]
    pub(crate) struct Witness;

    impl Witness {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn looked_at(&self) {}

        #[inline(always)]
        pub(crate) fn changed(&self) {}
    }
}

pub(crate) use real::*;
