//! Stores with leases, and the adapter that makes backends of them.
//!
//! [`store`] is the trait of a store, [`steps`] what it is asked and answers, [`adapter`] what a
//! user sees. In between: the engine asks [`upstream`] for grants; a [`claim`] asks the store until
//! it grants, by its [`outlook`]; a [`client`] keeps what was granted among its [`holds`], each
//! judged by its [`renewal`], until their [`ending`]. The [`executor`]'s thread carries on what no
//! caller polls; [`hints`] wake those who are [`waiting`]; [`exit`] sees to the end of the process.

mod acquisition_id;
mod adapter;
mod claim;
mod client;
mod clock;
mod ending;
mod executor;
mod exit;
mod hints;
mod holds;
mod note;
mod oneshot;
mod outlook;
mod renewal;
mod steps;
mod store;
#[cfg(test)]
mod tests;
mod upstream;
mod waiting;
mod wake_sink;

pub use acquisition_id::AcquisitionId;
pub use adapter::{Leased, LeasedBuilder};
pub use clock::BootClock;
pub use steps::{
    Claimed, EntryState, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeasePlace, LeaseRenewal,
    Refusal, Renewed,
};
pub use store::{LeaseStore, Wake};
pub use wake_sink::WakeSink;
