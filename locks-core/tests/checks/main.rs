//! The engine checked against its own promises.

#![cfg(not(any(loom, shuttle)))]

mod polled;
mod thieves;
