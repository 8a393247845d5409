//! Where the processes of one user meet on a machine, and what they agree on there.

mod by_default;
mod default;
mod network;

pub use by_default::DefaultMarker;
pub use default::{default_directory, make_private};
pub use network::is_network;
