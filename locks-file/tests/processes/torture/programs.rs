//! The programs of the storm: one that locks, and one that cleans.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::ErrorKind;
use locks_file::FileBackend;

use super::worker::{self, end_with_input, fail, is_over, told_witness};
use crate::directory::{PATIENCE, told_directory};
use crate::forked::{fork, wait_for};

/// The program that locks. It forks children all the time, which do nothing.
pub(crate) fn work() {
    let backend = open(&told_directory(), &told_witness()).into_backend();
    thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over() {
                let child = fork(|| thread::park_timeout(Duration::from_millis(30)));
                let ended = wait_for(child);
                assert!(ended, "a child has failed");
                thread::park_timeout(Duration::from_millis(10));
            }
        });
        worker::work(&backend);
    });
}

/// The program that cleans.
pub(crate) fn clean() {
    let witness = told_witness();
    let backend = open(&told_directory(), &witness);
    end_with_input();
    while !is_over() {
        if let Err(error) = backend.clean(Duration::ZERO) {
            fail(&witness, &format!("cleaning: {error:?}"));
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// The directory, as soon as it can be had: whoever is stopped may have its books in hand, and
/// opening it does not wait for that for long.
fn open(directory: &Path, witness: &Path) -> FileBackend {
    let start = Instant::now();
    loop {
        match FileBackend::new(directory) {
            Ok(backend) => return backend,
            Err(error) if error.kind() == ErrorKind::Unavailable && start.elapsed() < PATIENCE => {}
            Err(error) => fail(witness, &format!("the directory: {error:?}")),
        }
    }
}
