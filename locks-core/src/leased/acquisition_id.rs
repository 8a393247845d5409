use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of one acquisition: different from all others, everywhere and for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcquisitionId(u128);

impl AcquisitionId {
    /// Returns the id that a store has kept as this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// Returns an id unlike any other.
    pub fn unique() -> Self {
        static FIRST: LazyLock<u128> = LazyLock::new(|| {
            // The standard library seeds these from the operating system's randomness.
            let half = || u128::from(RandomState::new().hash_one(std::process::id()));
            half() << 64 | half()
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed).into()))
    }

    /// Returns the number, to be kept.
    pub const fn get(self) -> u128 {
        self.0
    }
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
