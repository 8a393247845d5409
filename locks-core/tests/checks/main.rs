//! The engine checked against its own promises.

#![cfg(not(any(loom, shuttle)))]

mod auto_traits;
mod model;
mod polled;
mod thieves;
