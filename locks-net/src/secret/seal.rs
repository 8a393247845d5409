use super::mac::{MacKey, are_equal};
use crate::wire::Malformed;

/// How long a tag is.
pub(crate) const TAG: usize = 16;

/// Makes the tags of one direction's frames, in order.
#[derive(Debug)]
pub(crate) struct Sealer(Tags);

/// Checks the tags of one direction's frames, in order.
#[derive(Debug)]
pub(crate) struct Opener(Tags);

/// A tag covers its frame's number in its direction and connection, so that no frame can be left out,
/// repeated or moved.
#[derive(Debug)]
struct Tags {
    key: MacKey,
    number: u64,
}

impl Sealer {
    pub(super) fn new(key: MacKey) -> Self {
        Self(Tags { key, number: 0 })
    }

    /// The tag of the next frame.
    pub(crate) fn tag(&mut self, body: &[u8]) -> [u8; TAG] {
        self.0.next(body)
    }
}

impl Opener {
    pub(super) fn new(key: MacKey) -> Self {
        Self(Tags { key, number: 0 })
    }

    /// The body of the next frame, if its tag is right.
    pub(crate) fn open<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let (body, tag) =
            frame.split_last_chunk::<TAG>().ok_or(Malformed("the frame has no tag"))?;
        if !are_equal(&self.0.next(body), tag) {
            return Err(Malformed("the frame's tag is wrong"));
        }
        Ok(body)
    }
}

impl Tags {
    fn next(&mut self, body: &[u8]) -> [u8; TAG] {
        let code = self.key.code(&[&self.number.to_le_bytes(), body]);
        self.number += 1;
        *code.first_chunk().expect("a code is longer than a tag")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(MacKey::new(&[1; 32])), Opener::new(MacKey::new(&[1; 32])))
    }

    fn seal(sealer: &mut Sealer, body: &[u8]) -> Vec<u8> {
        [body, &sealer.tag(body)].concat()
    }

    #[test]
    fn n5_frames_are_opened_in_their_order() {
        let (mut sealer, mut opener) = pair();
        for body in [&b"one"[..], b"", b"one", &[0; 1000]] {
            let frame = seal(&mut sealer, body);
            assert_eq!(opener.open(&frame), Ok(body));
        }
    }

    #[test]
    fn n5_a_repeated_or_moved_frame_is_refused() {
        let (mut sealer, mut opener) = pair();
        let [first, second] = [b"same", b"same"].map(|body| seal(&mut sealer, body));
        assert!(pair().1.open(&second).is_err(), "before its turn");
        opener.open(&first).unwrap();
        assert!(opener.open(&first).is_err(), "a second time");
    }

    #[test]
    fn n5_a_changed_or_cut_frame_is_refused() {
        let frame = seal(&mut pair().0, b"body");
        for len in 0..frame.len() {
            assert!(pair().1.open(&frame[..len]).is_err(), "cut to {len} bytes");
        }
        for bit in 0..frame.len() * 8 {
            let mut other = frame.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(pair().1.open(&other).is_err(), "bit {bit}");
        }
        assert!(pair().1.open(&frame).is_ok());
    }
}
