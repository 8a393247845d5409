//! Where the processes of one user meet on a machine, and what they agree on there.

mod by_default;
mod default;
mod network;
mod private;

pub use by_default::DefaultMarker;
pub use default::default_directory;
pub use network::is_network;
pub use private::{await_usable, make_private, open_private};
