//! Threads that can be started in a forked child too ([C4](crate::contract#c4-release)).
//!
//! The standard library locks a mutex of its own whenever one of its threads starts or ends. A
//! child that is forked at such a moment has that mutex locked for ever, and the first thread that
//! it starts never runs. So threads of a backend are started by the system's own call, which a
//! child may use.

use std::io;

/// Starts a thread with this name, which the system may cut off, and with a stack of so many bytes,
/// or a little more.
///
/// A panic is reported by the panic hook and ends this thread alone. The thread cannot be joined.
///
/// # Errors
/// Those of the system, which starts no more threads.
pub fn start(
    name: &'static str,
    stack: usize,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    imp::start(name, stack, Box::new(run))
}

#[cfg(all(unix, not(any(loom, shuttle))))]
mod imp {
    use std::ffi::{c_int, c_void};
    use std::io;
    use std::mem::MaybeUninit;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::ptr;

    struct Job {
        name: &'static str,
        run: Box<dyn FnOnce() + Send>,
    }

    pub(super) fn start(
        name: &'static str,
        stack: usize,
        run: Box<dyn FnOnce() + Send>,
    ) -> io::Result<()> {
        let job = Box::into_raw(Box::new(Job { name, run }));
        create(Some(stack), job.cast())
            // There may be more that belongs to each thread than this is room for.
            .or_else(
                |error| if error == libc::EINVAL { create(None, job.cast()) } else { Err(error) },
            )
            .map_err(|error| {
                // SAFETY: no thread has it.
                drop(unsafe { Box::from_raw(job) });
                io::Error::from_raw_os_error(error)
            })
    }

    fn create(stack: Option<usize>, job: *mut c_void) -> Result<(), c_int> {
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        // SAFETY: the attributes are used between their beginning and their end alone; `enter`
        // takes what `job` is, once, if there is a thread.
        unsafe {
            let failed = libc::pthread_attr_init(attributes.as_mut_ptr());
            if failed != 0 {
                return Err(failed);
            }
            let attributes = attributes.as_mut_ptr();
            libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
            let failed =
                match stack.map_or(0, |stack| libc::pthread_attr_setstacksize(attributes, stack)) {
                    0 => libc::pthread_create(thread.as_mut_ptr(), attributes, enter, job),
                    failed => failed,
                };
            libc::pthread_attr_destroy(attributes);
            if failed == 0 { Ok(()) } else { Err(failed) }
        }
    }

    extern "C" fn enter(job: *mut c_void) -> *mut c_void {
        // SAFETY: it was made by `start`, for this thread.
        let Job { name, run } = *unsafe { Box::from_raw(job.cast::<Job>()) };
        call_it(name);
        // The hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(run));
        ptr::null_mut()
    }

    /// Names this thread, for those who look at the process.
    fn call_it(name: &str) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Ok(name) = std::ffi::CString::new(&name[..name.len().min(15)]) {
            // SAFETY: it ends with a zero, and is short enough.
            unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
        }
        #[cfg(target_vendor = "apple")]
        if let Ok(name) = std::ffi::CString::new(name) {
            // SAFETY: it ends with a zero.
            unsafe { libc::pthread_setname_np(name.as_ptr()) };
        }
        let _ = name;
    }
}

#[cfg(not(all(unix, not(any(loom, shuttle)))))]
mod imp {
    use std::io;
    use std::thread::Builder;

    pub(super) fn start(
        name: &'static str,
        stack: usize,
        run: Box<dyn FnOnce() + Send>,
    ) -> io::Result<()> {
        Builder::new().name(name.into()).stack_size(stack).spawn(run).map(drop)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::mpsc;

    use super::start;

    #[test]
    fn a_thread_runs_with_its_name_and_its_stack() {
        let (sender, receiver) = mpsc::channel();
        for stack in [1, 64 * 1024, 1 << 20] {
            let sender = sender.clone();
            start("a-name-that-is-too-long", stack, move || {
                let name = std::fs::read_to_string("/proc/thread-self/comm");
                sender.send(name).unwrap();
            })
            .unwrap();
            let name = receiver.recv().unwrap();
            if cfg!(target_os = "linux") {
                assert_eq!(name.unwrap().trim_end(), "a-name-that-is-");
            }
        }
    }

    #[test]
    fn a_panic_ends_the_thread_alone() {
        struct Dropped(mpsc::Sender<bool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.send(std::thread::panicking()).unwrap();
            }
        }
        let (sender, receiver) = mpsc::channel();
        start("panics", 1 << 20, move || {
            let _dropped = Dropped(sender);
            panic!("as ordered");
        })
        .unwrap();
        assert_eq!(receiver.recv(), Ok(true));
    }
}
