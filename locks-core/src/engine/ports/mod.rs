//! What an engine is connected to: the clock, the source of its tokens, an upstream, an observer.
//! It knows nothing of the other rooms.

mod observer;
mod time;
mod tokens;
mod upstream;

pub use self::observer::{Loss, Observer};
pub(super) use self::time::Time;
pub use self::tokens::TokenSource;
pub(super) use self::upstream::lost_error;
pub use self::upstream::{
    Bounds, Claim, ClaimSet, Completion, Upstream, UpstreamEnd, UpstreamGrant,
};
