//! The programs of the storm: one that locks, and one that cleans.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::ErrorKind;
use locks_file::FileBackend;

use super::disk::is_for_want_of_room;
use super::worker::{self, end_with_input, fail, is_over, told_witness};
use crate::directory::{PATIENCE, told_directory};
use crate::peer::now;

/// The program that locks.
pub(crate) fn work() {
    worker::work(open(&told_directory(), &told_witness()).into_backend());
}

/// The program that cleans.
pub(crate) fn clean() {
    let witness = told_witness();
    let backend = open(&told_directory(), &witness);
    end_with_input();
    while !is_over() {
        let asked = now();
        if let Err(error) = backend.clean(Duration::ZERO)
            && !is_for_want_of_room(&witness, asked, &error)
        {
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
