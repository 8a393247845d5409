//! Where a server listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// An address as `--listen` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `None`: the user's own socket.
    Unix(Option<PathBuf>),
    Tcp(SocketAddr),
}

const SHAPE: &str = "an address is `unix:/path`, `unix:` for the user's own socket, or `tcp:` with the number of an address and a port: \
     `tcp:127.0.0.1:7420` for this machine, `tcp:0.0.0.0:7420` for others too";

impl Address {
    /// # Errors
    /// What is wrong with it, and what mends that.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", place)) => unix(place.strip_prefix("//").unwrap_or(place)),
            Some(("tcp", place)) => tcp(place.strip_prefix("//").unwrap_or(place)),
            _ => Err(SHAPE.to_owned()),
        }
    }
}

/// Where the page is to be.
///
/// # Errors
/// What is wrong with it, and what mends that.
pub(super) fn page(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    let address: SocketAddr = numeric
        .parse()
        .map_err(|_| "the page is at an address and a port, as in `127.0.0.1:7421`".to_owned())?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "other machines reach `{address}`, and without TLS whoever is in between would see the token: \
             say `127.0.0.1:{}`, and let a proxy with TLS or `ssh -L` bring others there",
            address.port()
        ));
    }
    Ok(address)
}

/// A name by which the page may be called, with a port or without.
///
/// # Errors
/// What is wrong with it.
pub(super) fn host(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => {
            Err("a host is a name, with a port or without, as in `locks.example.org`".to_owned())
        }
    }
}

fn unix(path: &str) -> Result<Address, String> {
    match path {
        "" => Ok(Address::Unix(None)),
        path if path.starts_with('/') => Ok(Address::Unix(Some(path.into()))),
        _ => Err("the path of a socket is absolute, as in `unix:/run/locks/locks.sock`".to_owned()),
    }
}

fn tcp(place: &str) -> Result<Address, String> {
    let numeric = match place.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => place.to_owned(),
    };
    let address: SocketAddr = numeric.parse().map_err(|_| SHAPE.to_owned())?;
    Ok(Address::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written_elsewhere() {
        let socket = |path: &str| Address::Unix(Some(path.into()));
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (text, meant) in [
            ("unix:", Address::Unix(None)),
            ("unix:/run/a.sock", socket("/run/a.sock")),
            ("unix:///run/a.sock", socket("/run/a.sock")),
            ("tcp:127.0.0.1:0", tcp("127.0.0.1:0")),
            ("tcp://127.8.9.1:7420", tcp("127.8.9.1:7420")),
            ("tcp:[::1]:7420", tcp("[::1]:7420")),
            ("tcp:localhost:7420", tcp("127.0.0.1:7420")),
            ("tcp:0.0.0.0:7420", tcp("0.0.0.0:7420")),
        ] {
            assert_eq!(Address::parse(text), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        for (text, expected) in [
            ("", "an address is"),
            ("/run/a.sock", "an address is"),
            ("http://localhost", "an address is"),
            ("tcp:7420", "an address is"),
            ("tcp:127.0.0.1", "an address is"),
            ("unix:a.sock", "the path of a socket is absolute"),
            ("tcp:host:7420", "an address is"),
        ] {
            let why = Address::parse(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }
}
