//! The kit's controls: it is run over a plain arbiter written apart from the engine, and over that
//! arbiter with one defect at a time.

mod arbiter;
mod broken;
mod plain;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod sockets;
