//! Stores with leases, and the adapter that makes backends of them.
//!
//! [`store`] is what a store has to do, [`adapter`] what a user sees. In between: the engine asks
//! [`behind`] for grants; a [`claim`] asks the store until it grants; a [`client`] looks after
//! what was granted until its [`ending`]; each [`held`] one is judged by its [`renewal`] and
//! carried on by the [`keeper`]'s thread, which leaves outcomes on a [`slip`]; [`hints`] wake those
//! who are [`waiting`].

mod acquisition_id;
mod adapter;
mod behind;
mod claim;
mod client;
mod clock;
mod ending;
mod held;
mod hints;
mod keeper;
mod note;
mod renewal;
mod slip;
mod steps;
mod store;
mod waiting;

pub use acquisition_id::AcquisitionId;
pub use adapter::{Leased, LeasedBuilder};
pub use clock::BootClock;
pub use hints::WakeSink;
pub use steps::{
    Claimed, EntryState, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeasePlace, LeaseRenewal,
    Refusal, Renewed,
};
pub use store::{LeaseStore, Wake};
