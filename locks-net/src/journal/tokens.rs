use std::time::Duration;

use locks_core::{LockError, Token};

use super::directory::{Directory, read_all};
use super::fault;
use super::fields::{FieldReader, Read, Writer};

pub(super) const TOKENS: &str = "tokens";
const MAGIC: &[u8; 8] = b"lockstok";
const VERSION: u32 = 1;
/// How many tokens are promised at a time.
const BLOCK: u64 = 1 << 32;
/// The engine has no room for more.
const LAST: u64 = 1 << 61;

/// What a server knows of its past even after the machine was started anew (N4): on the disk,
/// synced, before any of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    /// The directory's own name, by which its journal is known.
    pub(super) directory: [u8; 16],
    /// When a server was started here last, the machine's start was this one: its journal is there.
    pub(super) boot: [u8; 16],
    /// No token from here on was ever granted.
    pub(super) end: u64,
    /// The greatest lease ever promised to a session that is kept by it.
    pub(super) lease: Duration,
    /// Whether TCP was ever offered.
    pub(super) tcp: bool,
}

impl Tokens {
    /// Of a directory in which nobody has served yet.
    pub(super) fn new(directory: [u8; 16], boot: [u8; 16]) -> Self {
        Self { directory, boot, end: 1, lease: Duration::ZERO, tcp: false }
    }

    /// What the directory has; `None`: nothing.
    pub(super) fn read(directory: &Directory) -> Result<Option<Self>, LockError> {
        let path = directory.file(TOKENS);
        let unusable = |error| fault::file(&path, error);
        let Some(file) = directory.open_file(TOKENS).map_err(unusable)? else { return Ok(None) };
        let content = read_all(&file).map_err(unusable)?;
        let tokens = Self::decode(&content).map_err(|why| fault::corrupt_tokens(&path, why))?;
        Ok(Some(tokens))
    }

    /// There ought to be some.
    #[cold]
    pub(super) fn missing(directory: &Directory) -> LockError {
        let why = "missing, although there is a journal beside it";
        fault::corrupt_tokens(&directory.file(TOKENS), why)
    }

    pub(super) fn write(&self, directory: &Directory) -> std::io::Result<()> {
        directory.replace(TOKENS, &[&self.encode()], true).map(drop)
    }

    /// With more, so that this token and this lease may be promised; `None`: they may be already.
    pub(super) fn covering(&self, token: Token, lease: Duration) -> std::io::Result<Option<Self>> {
        if token.get() < self.end && lease <= self.lease {
            return Ok(None);
        }
        let end = self.end.max((token.get() / BLOCK + 1).saturating_mul(BLOCK).min(LAST));
        if token.get() >= end {
            return Err(std::io::Error::other("there are no tokens left"));
        }
        Ok(Some(Self { end, lease: lease.max(self.lease), ..self.clone() }))
    }

    /// Every token granted so far is at most this.
    pub(super) const fn floor(&self) -> Token {
        Token::new(self.end - 1)
    }

    fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        let to = &mut Writer(&mut content);
        to.bytes(MAGIC);
        to.u32(VERSION);
        to.bytes(&self.directory);
        to.bytes(&self.boot);
        to.u64(self.end);
        to.duration(self.lease);
        to.bool(self.tcp);
        to.checksum();
        content
    }

    fn decode(content: &[u8]) -> Read<Self> {
        let from = &mut FieldReader::checked(content, MAGIC)?;
        if from.u32()? != VERSION {
            return Err("of a version that this one does not know");
        }
        let (directory, boot) = (from.array()?, from.array()?);
        let (end, lease, tcp) = (from.u64()?, from.duration()?, from.bool()?);
        from.end()?;
        if !(1..=LAST).contains(&end) {
            return Err("damaged: it has a number that no token has");
        }
        Ok(Self { directory, boot, end, lease, tcp })
    }
}
