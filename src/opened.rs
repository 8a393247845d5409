//! One client for one URL: several handles, one session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use locks_core::fork::PerProcess;
use locks_core::{Backend, LockError, WeakBackend};

use crate::url;

/// What this process has opened, while a handle to it lives. A forked child begins anew.
static OPENED: PerProcess<Mutex<HashMap<String, WeakBackend>>> = PerProcess::new();

/// The backend at `url`: the one that is open already, if one is.
pub(crate) fn open(url: &str) -> Result<Backend, LockError> {
    let opened = OPENED.get_or_init(Mutex::default);
    // Locked for as long as it takes, so that two who open at once get the same.
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = opened.get(url).and_then(WeakBackend::upgrade) {
        return Ok(backend);
    }
    let backend = url::open(url)?;
    opened.retain(|_, other| !other.is_gone());
    if let Some(weak) = backend.downgrade() {
        opened.insert(url.to_owned(), weak);
    }
    Ok(backend)
}
