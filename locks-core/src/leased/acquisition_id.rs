use std::fmt;
use std::str::FromStr;

/// The id of an acquisition, unique among all processes and machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcquisitionId(u128);

impl AcquisitionId {
    /// Creates the id from a number that a store has kept.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// Creates a random id.
    ///
    /// All of it is random: a counter would go on alike in a forked child, or in the copy of a
    /// virtual machine.
    pub fn unique() -> Self {
        Self(random())
    }

    /// Returns the number, to be kept.
    pub const fn get(self) -> u128 {
        self.0
    }
}

#[cfg(unix)]
fn random() -> u128 {
    use std::ffi::{c_int, c_void};
    use std::io::Read;

    unsafe extern "C" {
        // The crate `libc` has it for some systems only.
        fn getentropy(buffer: *mut c_void, length: usize) -> c_int;
    }
    let mut bytes = [0; 16];
    // SAFETY: there is room for as many bytes as it is to write.
    if unsafe { getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } != 0 {
        // Not every filter of system calls knows it.
        let device = std::fs::File::open("/dev/urandom");
        let read = device.and_then(|mut device| device.read_exact(&mut bytes));
        read.expect(
            "the system has randomness, without which two acquisitions could have one name",
        );
    }
    u128::from_ne_bytes(bytes)
}

/// There are no forks.
#[cfg(not(unix))]
fn random() -> u128 {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    // The standard library seeds these from the operating system's randomness.
    let half = |of: u8| u128::from(RandomState::new().hash_one(of));
    half(0) << 64 | half(1)
}

/// Writes 32 hexadecimal digits, which [`FromStr`] reads back.
impl fmt::Display for AcquisitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for AcquisitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcquisitionId({self})")
    }
}

impl FromStr for AcquisitionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_survive_being_written_down() {
        let (one, two) = (AcquisitionId::unique(), AcquisitionId::unique());
        assert_ne!(one, two);
        assert_eq!(one.to_string().len(), 32);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(AcquisitionId::new(7).to_string().parse(), Ok(AcquisitionId::new(7)));
    }
}
