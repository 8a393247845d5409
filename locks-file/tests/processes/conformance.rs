//! The conformance kit: two clients of one directory in this process, and others in processes of
//! their own.

use std::process::Command;

use locks_conformance::{Fixture, conformance, serve};
use locks_core::Backend;
use locks_file::FileBackend;

use crate::directory::{Directory, tell_directory, told_directory};
use crate::program::program;

struct Clients {
    directory: Directory,
    own: FileBackend,
    ours: Backend,
    theirs: Backend,
}

impl Clients {
    fn new() -> Self {
        let directory = Directory::new();
        let own = directory.client();
        Self { ours: own.clone().into_backend(), theirs: directory.backend(), own, directory }
    }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }

    fn child(&self) -> Option<Command> {
        let mut command = program("kit");
        tell_directory(&mut command, self.directory.path());
        Some(command)
    }

    fn live_keys(&self) -> Option<usize> {
        Some(self.own.live_keys())
    }

    fn restart(&self) -> Option<Backend> {
        Some(self.directory.backend())
    }
}

pub(crate) fn serve_the_kit() {
    serve(&FileBackend::new(told_directory()).unwrap().into_backend()).unwrap();
}

conformance!(kit, Clients::new);
