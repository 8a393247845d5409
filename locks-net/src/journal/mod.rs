//! What a server's successor continues from (N4).

mod record;

pub(crate) use self::record::{Grant, Kept, Member, Record, Reserved, SessionRecord};

/// What records add up to.
#[derive(Debug, Default)]
pub(crate) struct Ledger;
