//! The engine checked against its own promises.

#![cfg(not(any(loom, shuttle)))]

#[macro_use]
mod quiet;

mod again;
mod auto_traits;
mod beside;
mod cancel;
mod cycles;
mod deadline;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod fails;
mod foreign;
mod histories;
#[cfg(feature = "tracing")]
mod listens;
mod model;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observed;
mod observer;
mod outside;
mod polled;
mod refused;
#[cfg(feature = "tracing")]
mod released;
mod restored;
mod sets;
mod strangers;
#[cfg(feature = "tracing")]
mod subscriber;
mod table;
mod thieves;
mod torture;
mod turns;
mod united;
mod unobserved;
mod upstream;
mod watchers;
mod witness;
mod words;
