use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// This start of the machine.
pub(super) fn id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits = text.trim().replace('-', "");
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(number.to_be_bytes())
}

/// What nobody else comes by.
pub(super) fn random() -> io::Result<[u8; 16]> {
    let (mut bytes, mut filled) = ([0; 16], 0);
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
