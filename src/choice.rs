//! Which backend serves those who name none.

use std::env::{self, VarError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use locks_core::fork::{Inherited, PerProcess};
use locks_core::{Backend, ErrorKind, Kind, LockError};

use crate::opened;

const VARIABLE: &str = "LOCKS_URL";

/// The choices that have been made.
///
/// I1: each is set once, under the mutex of [`settling`], so that no installation slips in between
/// looking for one and settling without it. A forked child has the choices of its parent, and a
/// mutex of its own.
static RESOLVED: ByKind = ByKind::new();
static INSTALLED: ByKind = ByKind::new();

struct ByKind {
    strong: Inherited<Backend>,
    weak: Inherited<Backend>,
}

/// The backend for locks of `kind` whose call site names none. The first call settles it.
///
/// # Errors
/// `NotConfigured` if `LOCKS_URL` makes no sense, and what keeps the backend from being opened.
/// That settles nothing.
// Inlined where the program is optimized: mostly it finds that this is the engine of this process.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn default_backend(kind: Kind) -> Result<Backend, LockError> {
    match RESOLVED.of(kind).get() {
        Some(backend) => Ok(backend.clone()),
        None => settle_first(kind),
    }
}

#[cold]
#[inline(never)]
fn settle_first(kind: Kind) -> Result<Backend, LockError> {
    let _settling = settling();
    resolve(kind)
}

/// Installs `backend` for locks of `kind`.
///
/// # Errors
/// `NotConfigured` if one is installed, or if the choice is settled.
pub(crate) fn install(kind: Kind, backend: Backend) -> Result<(), LockError> {
    let _settling = settling();
    let function = match kind {
        Kind::Strong => "install",
        Kind::Weak => "install_weak",
    };
    let refused = if let Some(earlier) = INSTALLED.of(kind).get() {
        format!(
            "`locks::{function}` was called before, with `{}`: call it once, first thing in `main`",
            earlier.about().name
        )
    } else if let Some(used) = RESOLVED.of(kind).get() {
        format!(
            "`locks::{function}` came too late: `{}` has been in use since the first acquisition; \
             call it first thing in `main`",
            used.about().name
        )
    } else {
        INSTALLED.of(kind).get_or_init(|| backend);
        return Ok(());
    };
    Err(LockError::new(ErrorKind::NotConfigured, "").with_message(refused))
}

/// Under the mutex of [`settling`].
fn resolve(kind: Kind) -> Result<Backend, LockError> {
    // Somebody else may have been here first.
    if let Some(backend) = RESOLVED.of(kind).get() {
        return Ok(backend.clone());
    }
    let backend = match (INSTALLED.of(kind).get(), kind) {
        (Some(backend), _) => backend.clone(),
        (None, Kind::Weak) => resolve(Kind::Strong)?,
        (None, Kind::Strong) => match from_environment()? {
            Some(backend) => backend,
            None => widest()?,
        },
    };
    Ok(RESOLVED.of(kind).get_or_init(|| backend).clone())
}

fn from_environment() -> Result<Option<Backend>, LockError> {
    match env::var(VARIABLE) {
        Ok(url) => opened::open(&url).map(Some).map_err(|error| {
            let text = format!("`{VARIABLE}`: {error}");
            error.with_message(text)
        }),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            let text = format!("`{VARIABLE}`: it is not UTF-8");
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(text))
        }
    }
}

/// What serves where nobody has chosen: of the backends compiled in, the one that excludes most.
fn widest() -> Result<Backend, LockError> {
    #[cfg(feature = "net")]
    return crate::by_default::open("net:").map_err(|error| in_default(error, "net"));
    #[cfg(all(feature = "file", not(feature = "net")))]
    return crate::by_default::open("file:").map_err(|error| in_default(error, "file"));
    #[cfg(not(any(feature = "file", feature = "net")))]
    Ok(Backend::process())
}

/// Nobody asked for this backend by name, so the error says what would be another.
#[cfg(any(feature = "file", feature = "net"))]
fn in_default(error: LockError, feature: &str) -> LockError {
    let text = format!(
        "{error}; it is the default here (feature `{feature}`): `{VARIABLE}` or `locks::install` choose another"
    );
    error.with_message(text)
}

fn settling() -> MutexGuard<'static, ()> {
    static SETTLING: PerProcess<Mutex<()>> = PerProcess::new();
    SETTLING.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl ByKind {
    const fn new() -> Self {
        Self { strong: Inherited::new(), weak: Inherited::new() }
    }

    #[inline]
    const fn of(&self, kind: Kind) -> &Inherited<Backend> {
        match kind {
            Kind::Strong => &self.strong,
            Kind::Weak => &self.weak,
        }
    }
}
