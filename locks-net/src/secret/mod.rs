//! Secrets, proofs that one knows one, and keys made of one (N5).

use crate::wire::Malformed;

/// Makes the tags of one direction's frames, in order.
#[derive(Debug)]
pub(crate) struct Sealer;

/// Checks the tags of one direction's frames, in order.
#[derive(Debug)]
pub(crate) struct Opener;

/// How long a tag is.
pub(crate) const TAG: usize = 16;

impl Sealer {
    /// The tag of the next frame.
    pub(crate) fn tag(&mut self, _body: &[u8]) -> [u8; TAG] {
        todo!()
    }
}

impl Opener {
    /// The body of the next frame, if its tag is right.
    pub(crate) fn open<'a>(&mut self, _frame: &'a [u8]) -> Result<&'a [u8], Malformed> {
        todo!()
    }
}

/// What both sides of a connection know and nobody else does: 256 bits (N5).
#[derive(Debug)]
pub(crate) struct Secret;

/// TEMPORARY while the real one is on its way.
#[derive(Debug)]
pub(crate) struct Handshake;
pub(crate) struct Proven {
    pub(crate) proof: crate::wire::Proof,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}
impl Handshake {
    pub(crate) fn new(_: &Secret, _: &[u8; 16], _: &[u8; 32], _: &[u8; 32]) -> Self {
        todo!()
    }
    pub(crate) fn check(&self, _: &crate::wire::Proof) -> Option<Proven> {
        todo!()
    }
}
