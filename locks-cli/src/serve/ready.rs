//! Telling whoever has started the server that it listens.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::status::{Failure, say};

/// Tells the descriptor, if one was named, and systemd, if that has started us.
pub(super) fn tell(descriptor: Option<u32>) -> Result<(), Failure> {
    if let Some(number) = descriptor {
        // By its name, since a number alone may be anything, also something of ours.
        let written = File::options()
            .append(true)
            .open(format!("/dev/fd/{number}"))
            .and_then(|mut file| file.write_all(b"\n"));
        written.map_err(|error| Failure::during(&format!("`--ready-fd {number}`"), error))?;
    }
    notify("READY=1\n");
    Ok(())
}

/// Tells systemd that the server is about to end.
pub(super) fn tell_stopping() {
    notify("STOPPING=1\n");
}

/// That it is not heard is no reason not to serve, but one to say so.
fn notify(state: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(name.as_bytes(), state) {
        say(format_args!("`NOTIFY_SOCKET`: {error}"));
    }
}

fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?
        }
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}
