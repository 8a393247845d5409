use super::Secret;
use super::mac::{Derivation, MacKey};
use crate::wire::VERSION;

/// What proofs and keys are bound to.
#[derive(Debug)]
pub(super) struct Transcript {
    pub(super) server: [u8; 16],
    pub(super) client_nonce: [u8; 32],
    pub(super) server_nonce: [u8; 32],
}

/// Whose proof it is.
const CLIENT: &[u8; 16] = b"locks net client";
const SERVER: &[u8; 16] = b"locks net server";
/// What a key seals.
const UPWARD: &[u8; 16] = b"client to server";
const DOWNWARD: &[u8; 16] = b"server to client";

impl Transcript {
    pub(super) fn client_proof(&self, secret: &Secret) -> [u8; 32] {
        self.proof(secret, CLIENT)
    }

    pub(super) fn server_proof(&self, secret: &Secret) -> [u8; 32] {
        self.proof(secret, SERVER)
    }

    /// That of the client's frames, and that of the server's.
    pub(super) fn keys(&self, secret: &Secret) -> [MacKey; 2] {
        let nonces: [&[u8]; 2] = [&self.client_nonce, &self.server_nonce];
        let derivation = Derivation::new(&nonces, secret.bytes());
        let version = VERSION.to_le_bytes();
        [UPWARD, DOWNWARD].map(|seals| derivation.key(&[seals, &version, &self.server]))
    }

    fn proof(&self, secret: &Secret, role: &[u8; 16]) -> [u8; 32] {
        let Self { server, client_nonce, server_nonce } = self;
        let version = VERSION.to_le_bytes();
        MacKey::new(secret.bytes()).code(&[role, &version, server, client_nonce, server_nonce])
    }
}
