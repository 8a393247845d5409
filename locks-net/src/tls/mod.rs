//! TLS 1.3 (N5): certificates, what is made of them, and one side of a connection as bytes.

mod certificate;
mod client;
mod fault;
mod server;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificate::{Authority, Certificate};
pub(crate) use self::client::{ClientTls, Trusted};
pub(crate) use self::fault::TlsFault;
pub(crate) use self::server::ServerTls;
pub(crate) use self::state::Tls;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What begins a TLS connection: the type of a record of its handshake. Of this protocol's own
/// frames, which are short at first, it is not the first byte.
pub(crate) const FIRST_BYTE: u8 = 0x16;
