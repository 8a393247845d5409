use locks_core::{Moment, Token};

use super::fields::{FieldReader, Read, Writer};

const MAGIC: &[u8; 8] = b"locksjnl";
/// That of the records. What comes before them is the same in all versions to come (N11).
const VERSION: u32 = 5;

/// Why records of another version are not read.
pub(super) const ANOTHER_VERSION: &str = "of another version of `locks`";

/// What a journal begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The start of the machine that its moments count from.
    pub(super) boot: [u8; 16],
    /// The directory it was made in.
    pub(super) directory: [u8; 16],
    /// No token that was granted before is greater.
    pub(super) floor: Token,
    /// Until when its server grants nothing, on the clock that goes on in suspend (N4).
    pub(super) silent_until: Option<Moment>,
}

impl Header {
    /// How many bytes it takes.
    pub(super) const LEN: usize = 8 + 4 + 16 + 16 + 8 + 1 + 8 + 4;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(Self::LEN);
        let to = &mut Writer(&mut content);
        to.bytes(MAGIC);
        to.u32(VERSION);
        to.bytes(&self.boot);
        to.bytes(&self.directory);
        to.u64(self.floor.get());
        to.bool(self.silent_until.is_some());
        to.moment(self.silent_until.unwrap_or(Moment::from_nanos(0)));
        to.checksum();
        content
    }

    /// The header, what comes after it, and whether another build has written it.
    pub(super) fn split(journal: &[u8]) -> Read<(Self, &[u8], bool)> {
        let (header, records) = journal.split_at_checked(Self::LEN).ok_or("damaged: too short")?;
        let from = &mut FieldReader::checked(header, MAGIC)?;
        // An idle server leaves nothing else, which every build can go on from.
        let is_anothers = from.u32()? != VERSION;
        if is_anothers && !records.is_empty() {
            return Err(ANOTHER_VERSION);
        }
        let (boot, directory) = (from.array()?, from.array()?);
        let floor = Token::new(from.u64()?);
        let (silent, until) = (from.bool()?, from.moment()?);
        from.end()?;
        let silent_until = silent.then_some(until);
        Ok((Self { boot, directory, floor, silent_until }, records, is_anothers))
    }
}
