//! What a server's successor continues from (N4).

mod codec;
mod fields;
mod ledger;
mod record;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::codec::Records;
pub(crate) use self::ledger::Ledger;
pub(crate) use self::record::{Grant, Kept, Member, Record, Reserved, SessionRecord};
