//! The Redis backend against real servers, each test's own: on a free port, in a directory of its own.

mod conformance;
mod server;
