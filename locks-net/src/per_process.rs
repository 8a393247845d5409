use std::sync::OnceLock;

/// What a process has of its own, and what a child that it forked has instead (C4).
///
/// A forked child finds what its parent had as it was in that instant, with threads that are gone and
/// mutexes that may be locked, and uses none of it: by its number it finds that it is not its own, and goes
/// on to the next.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    pid: u32,
    /// How many forks this process is away from the first.
    depth: u16,
    value: T,
    next: OnceLock<Box<Self>>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) fn new() -> Self {
        Self::at(0)
    }

    fn at(depth: u16) -> Self {
        Self { pid: std::process::id(), depth, value: T::default(), next: OnceLock::new() }
    }

    /// What this process has, and how many forks it is away from the first.
    pub(crate) fn own(&self) -> (&T, u16) {
        let pid = std::process::id();
        let mut own = self;
        while own.pid != pid {
            let depth = own.depth.saturating_add(1);
            own = own.next.get_or_init(|| Box::new(Self::at(depth)));
        }
        (&own.value, own.depth)
    }

    /// As a forked child finds it.
    #[cfg(test)]
    pub(crate) fn of_a_parent() -> Self {
        Self { pid: 0, ..Self::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn c4_a_forked_child_begins_anew() {
        let parent = PerProcess::<Mutex<u32>>::of_a_parent();
        // Somebody was at it when the process was forked.
        let _locked = parent.value.lock().unwrap();
        let (child, depth) = parent.own();
        *child.try_lock().expect("nobody is at the child's") = 7;
        assert_eq!(depth, 1);
        assert_eq!(*parent.own().0.try_lock().unwrap(), 7, "once");
    }
}
