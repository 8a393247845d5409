//! What a server's successor continues from (N4).

mod codec;
mod fields;
mod ledger;
mod record;

pub(crate) use self::codec::{Corrupt, read_records};
pub(crate) use self::ledger::Ledger;
pub(crate) use self::record::{Grant, Kept, Member, Record, Reserved, SessionRecord};
