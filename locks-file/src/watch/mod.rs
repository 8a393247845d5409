//! Being told when it is worth looking at a lock file again (F5).

#[cfg(target_os = "linux")]
mod inotify;
mod signal;

#[cfg(not(target_os = "linux"))]
mod inotify {
    //! Nobody tells: waiters look by themselves.

    use std::fs::File;
    use std::sync::Arc;

    use super::Signal;

    #[derive(Debug)]
    pub(crate) struct Watching;

    pub(crate) fn watch(_: &File, _: &Arc<Signal>, _: bool) -> Option<Watching> {
        None
    }

    pub(super) fn wait_here() {}
}

use self::inotify::wait_here;
pub(crate) use self::inotify::{Watching, watch};
pub(crate) use self::signal::{Signal, pause};
