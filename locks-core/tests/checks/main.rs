//! The engine checked against its own promises.

#![cfg(not(any(loom, shuttle)))]

mod auto_traits;
mod cancel;
mod foreign;
mod model;
mod outside;
mod polled;
mod refused;
#[cfg(feature = "tracing")]
mod released;
mod sets;
mod thieves;
mod torture;
mod turns;
mod unheard;
#[cfg(feature = "tracing")]
mod warnings;
mod witness;
mod words;
