//! The kit run over the engine and over a plain arbiter written apart from it; and, as the
//! control, over that arbiter with one defect at a time.
#![cfg(all(feature = "conformance", not(any(loom, shuttle))))]

mod arbiter;
mod broken;
mod engine;
mod plain;
#[cfg(target_os = "linux")]
mod processes;
mod shelf;
#[cfg(target_os = "linux")]
mod sockets;
mod upstream;
