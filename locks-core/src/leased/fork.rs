//! Which process this is, in the line of those that were forked.

/// Returns a number that a forked child reads greater than its parent did.
///
/// Not the process's id, which may come again: a process 1 may fork another process 1.
#[cfg(unix)]
pub(super) fn generation() -> u32 {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};

    static GENERATION: AtomicU32 = AtomicU32::new(0);
    static COUNTED: Once = Once::new();

    extern "C" fn count() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }

    COUNTED.call_once(|| {
        // SAFETY: `count` does nothing that a forked child may not do.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(count)) };
        assert_eq!(failed, 0, "there is no memory left to notice forks with");
    });
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(not(unix))]
pub(super) fn generation() -> u32 {
    0
}
