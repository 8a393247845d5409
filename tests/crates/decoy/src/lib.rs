//! Another crate by the name of `locks`, as somebody's program may depend on.

/// What it can do.
#[must_use]
pub fn whose() -> &'static str {
    "somebody else's"
}
