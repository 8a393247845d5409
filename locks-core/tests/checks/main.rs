//! The engine checked against its own promises.

#![cfg(not(any(loom, shuttle)))]

mod auto_traits;
mod cancel;
mod model;
mod polled;
mod thieves;
mod torture;
mod witness;
