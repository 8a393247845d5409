//! What a child that was forked without `exec` finds of its parent's (C4).

use locks_core::{Backend, OwnedGuard};

/// The reply of a child that has to open the backend again.
pub(super) const OPEN_AGAIN: &str = "open it again";

/// Forks; returns the guard, and what the forked child has found, as a reply.
#[cfg(unix)]
pub(super) fn look(backend: &Backend, key: &str, guard: OwnedGuard) -> (OwnedGuard, String) {
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use locks_core::ErrorKind;

    // The child takes it out of its own copy of the memory.
    let shared = Arc::new(Mutex::new(Some(guard)));
    let (theirs, backend, key) = (shared.clone(), backend.clone(), key.to_owned());
    let found = move || {
        let guard = theirs.lock().ok()?.take()?;
        let error = guard.check().err()?;
        if !error.is_lost() || !guard.is_lost() || !guard.refresh().is_err_and(|e| e.is_lost()) {
            return Some("the guard is not lost");
        }
        drop(guard);
        if backend.named(&*key).wait(false).acquire().is_ok() {
            return Some("what its parent holds was granted to it");
        }
        // By a connection of its own, if the backend can open one; without a hang in any case.
        match backend.named("forked").wait(false).acquire() {
            Ok(guard) => guard.release().is_ok().then_some(""),
            Err(error) if error.kind() == ErrorKind::Unavailable => Some("open it again"),
            Err(_) => None,
        }
    };
    let mut command = Command::new("true");
    let child = move || {
        // What this returns is how it ends: it never becomes the command.
        let answer = match found() {
            Some("") => 0,
            Some("the guard is not lost") => 1,
            Some("open it again") => 3,
            Some(_) => 2,
            None => 4,
        };
        Err(io::Error::from_raw_os_error(1000 + answer))
    };
    #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
    // SAFETY: the child does what a user's may: that it works there is what is tested. Whatever
    // lock of another thread it waits for is a failure, and its parent gives up on it.
    unsafe {
        command.pre_exec(child);
    }
    let answer = command.spawn().map(drop).map_err(|error| error.raw_os_error());
    let told = match answer {
        Err(Some(1000)) => "ok ".to_owned(),
        Err(Some(1003)) => format!("ok {OPEN_AGAIN}"),
        Err(Some(1004)) => {
            "failed forked: it can neither acquire nor is told to open it again".to_owned()
        }
        Err(Some(1001)) => "failed forked: the guard is not lost".to_owned(),
        Err(Some(1002)) => "failed forked: what its parent holds was granted to it".to_owned(),
        other => format!("failed forked: {other:?}"),
    };
    let guard = shared.lock().ok().and_then(|mut guard| guard.take());
    (guard.expect("it is still in the parent's memory"), told)
}

/// There is no fork here.
#[cfg(not(unix))]
pub(super) fn look(_: &Backend, _: &str, guard: OwnedGuard) -> (OwnedGuard, String) {
    (guard, "ok ".to_owned())
}
