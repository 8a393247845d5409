use crate::LockError;

/// Tells of a release that failed: where the code under the lock has run and its value stands,
/// there is nobody to return the error to.
#[doc(hidden)]
#[cold]
pub fn report_release(error: &LockError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "locks", key = error.key(), %error, "a lock was not released as it should be");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}
