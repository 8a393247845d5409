//! HMAC-SHA256 (RFC 2104).

use std::fmt;
use std::hint::black_box;

use hmac_sha256::Hash;
use zeroize::{Zeroize, optimization_barrier};

/// How many bytes SHA-256 takes at a time.
const BLOCK: usize = 64;

/// A key for HMAC-SHA256, as the two states that every code begins with: making one costs no more
/// than what it is made over and one block.
#[derive(Clone)]
pub(super) struct MacKey {
    inner: Hash,
    outer: Hash,
}

impl MacKey {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Hash::hash(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let mut key = Self { inner: Hash::new(), outer: Hash::new() };
        key.inner.update(block.map(|byte| byte ^ 0x36));
        key.outer.update(block.map(|byte| byte ^ 0x5c));
        block.zeroize();
        key
    }

    /// The code of all `parts`, one behind the other.
    pub(super) fn code(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner;
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer;
        outer.update(inner.finalize());
        outer.finalize()
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        (self.inner, self.outer) = (Hash::new(), Hash::new());
        // Or this would be left out, because nobody looks at it any more.
        optimization_barrier(self);
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

/// Takes as long wherever they differ.
pub(crate) fn are_equal<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let differences = one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other));
    black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn n5_codes_are_those_of_rfc_4231() {
        let long = vec![0xaa; 131];
        let cases: [(&[u8], &[u8], &str); 6] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &hex("0102030405060708090a0b0c0d0e0f10111213141516171819"),
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long,
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, code) in cases {
            let key = MacKey::new(key);
            assert_eq!(key.code(&[data]), *hex(code));
            let (begin, end) = data.split_at(data.len() / 2);
            assert_eq!(key.code(&[begin, b"", end]), *hex(code), "in parts, by the same key");
        }
    }

    #[test]
    fn n5_any_difference_is_one() {
        assert!(are_equal(&[7; 16], &[7; 16]));
        for bit in 0..128 {
            let mut other = [7; 16];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!are_equal(&[7; 16], &other), "bit {bit}");
        }
    }
}
