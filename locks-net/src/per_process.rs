use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a process has of its own, and what a child that it forked has instead (C4).
///
/// A forked child finds what its parent had as it was in that instant, with threads that are gone and
/// mutexes that may be locked, and uses none of it: it takes the next place that none of its ancestors has taken. So that
/// no child waits for a place that its parent was about to make, there are some from the start.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    /// Whose each of `values` is; 0: nobody's yet.
    of: [AtomicU64; PLACES],
    values: [T; PLACES],
    more: OnceLock<Box<Self>>,
}

/// So many processes of one line of descent find a place made for them.
pub(crate) const PLACES: usize = 8;

const NOBODY: u64 = 0;

/// A number for this process that none of its ancestors has had.
pub(crate) fn this() -> u64 {
    u64::from(std::process::id())
}

/// For what is there before the program begins.
macro_rules! per_process {
    ($value:expr) => {
        $crate::per_process::PerProcess::of_values([const { $value }; $crate::per_process::PLACES])
    };
}
pub(crate) use per_process;

impl<T> PerProcess<T> {
    pub(crate) const fn of_values(values: [T; PLACES]) -> Self {
        Self { of: [const { AtomicU64::new(NOBODY) }; PLACES], values, more: OnceLock::new() }
    }
}

impl<T: Default> PerProcess<T> {
    /// What this process has, and how many of its ancestors have something here.
    pub(crate) fn own(&self) -> (&T, u16) {
        let this = this();
        let (mut own, mut before) = (self, 0);
        loop {
            for (of, value) in own.of.iter().zip(&own.values) {
                let taken = of.compare_exchange(NOBODY, this, Ordering::AcqRel, Ordering::Acquire);
                if taken.is_ok() || taken == Err(this) {
                    return (value, before);
                }
                before = before.saturating_add(1);
            }
            own = own.more.get_or_init(Box::default);
        }
    }

    /// As a child of so many ancestors finds it.
    #[cfg(test)]
    pub(crate) fn of_ancestors(count: usize) -> Self {
        let this = Self::default();
        this.of[..count].iter().for_each(|of| of.store(u64::MAX, Ordering::Relaxed));
        this
    }
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> Self {
        Self::of_values(std::array::from_fn(|_| T::default()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn c4_a_forked_child_begins_anew() {
        let parent = PerProcess::<Mutex<u32>>::of_ancestors(1);
        // Somebody was at it when the process was forked.
        let _locked = parent.values[0].lock().unwrap();
        let (child, depth) = parent.own();
        *child.try_lock().expect("nobody is at the child's") = 7;
        assert_eq!(depth, 1);
        assert_eq!(*parent.own().0.try_lock().unwrap(), 7, "once");
    }

    #[test]
    fn c4_whoever_has_many_ancestors_has_a_place_too() {
        let parents = PerProcess::<Mutex<u32>>::of_ancestors(PLACES);
        assert_eq!(parents.own().1, u16::try_from(PLACES).unwrap());
    }
}
