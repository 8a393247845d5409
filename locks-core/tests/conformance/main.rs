//! The kit run over the engine, and over the engine in front of an upstream.
#![cfg(not(any(loom, shuttle)))]

mod engine;
mod shelf;
mod upstream;
