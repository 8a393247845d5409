use std::future::IntoFuture;

/// Stands in for `.await` in a block that was refused, so that the code around it has its types.
pub trait Awaited: IntoFuture + Sized {
    /// Panics; what was refused never runs.
    fn __locks_awaited(self) -> Self::Output {
        unreachable!("this program does not compile")
    }
}

impl<F: IntoFuture> Awaited for F {}
