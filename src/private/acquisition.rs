use locks_core::OwnedGuard;

/// An acquisition that has begun: everything that needs the key has been done. Not boxed, as that
/// would be an allocation for each template (A6).
#[derive(Debug)]
pub enum Acquisition {
    /// The fast path got it.
    Granted(OwnedGuard),
    /// To be awaited.
    Asked(locks_core::StartedAcquire),
}
