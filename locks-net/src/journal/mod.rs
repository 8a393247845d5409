//! What a server's successor continues from (N4).

mod boot;
mod charge;
mod claim;
mod codec;
mod directory;
mod fault;
mod fields;
mod header;
mod ledger;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use self::charge::serving_pid;
#[cfg(any(test, fuzzing))]
pub(crate) use self::codec::Records;
/// How many bytes a journal begins with, whatever is in it.
#[cfg(test)]
pub(crate) const HEADER: usize = header::Header::LEN;
pub(crate) use self::ledger::{Ledger, ends_of};
pub(crate) use self::record::{
    Grant, LostGuards, Member, Record, Reserved, SessionKind, SessionRecord,
};
pub(crate) use self::store::{Recovered, Store};
