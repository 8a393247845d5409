//! In place of TCP where this build leaves it out.

use std::net::SocketAddr;
use std::path::PathBuf;

use locks::net::{Server, ServerBuilder};

use crate::status::Failure;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OnTcp {
    pub(super) secret_file: Option<PathBuf>,
    pub(super) clients: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

impl OnTcp {
    pub(super) fn over(self, _: Self) -> Self {
        self
    }

    pub(super) fn first_said(&self) -> Option<&'static str> {
        (*self != Self::default()).then_some("secret_file")
    }

    pub(super) fn read_anew(&self, _: &Server) {}

    pub(super) fn add_to(
        &self,
        _: ServerBuilder,
        _: &[SocketAddr],
    ) -> Result<ServerBuilder, Failure> {
        Err(Failure::new(
            "this build of `locks` has no TCP: build it with its feature `tcp`, or use `unix:`",
        ))
    }
}
