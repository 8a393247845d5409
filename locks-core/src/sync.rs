//! The primitives that the engine is made of, exchanged for those of the schedule explorers
//! when they run it.

#[cfg(not(any(loom, shuttle)))]
mod real {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;

    pub(crate) use foldhash::quality::RandomState;

    pub(crate) use super::plain::{Mutex, MutexGuard};
    pub(crate) use super::unwatched::Witness;
}

/// What stays itself while an explorer runs: no schedule of the engine depends on it.
pub(crate) mod plain {
    use std::sync;
    use std::time::Duration;

    pub(crate) use std::sync::MutexGuard;

    /// The standard library's, without its poison: no invariant here is broken while anybody's
    /// code runs, and a panic must not keep others from their locks.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(sync::PoisonError::into_inner)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(sync::Condvar);

    impl Condvar {
        pub(crate) const fn new() -> Self {
            Self(sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Sleeps until notified, or for `limit` at most; at times for less.
        pub(crate) fn wait<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            limit: Option<Duration>,
        ) -> MutexGuard<'a, T> {
            match limit {
                None => self.0.wait(guard).unwrap_or_else(sync::PoisonError::into_inner),
                Some(limit) => {
                    let woken = self.0.wait_timeout(guard, limit);
                    woken.unwrap_or_else(sync::PoisonError::into_inner).0
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::plain::Mutex;

    #[test]
    fn a_panic_keeps_nobody_out() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _guard = mutex.lock();
                panic!("on purpose");
            });
            panics.join().unwrap_err();
        });
        assert_eq!(*mutex.lock(), 1);
    }
}
