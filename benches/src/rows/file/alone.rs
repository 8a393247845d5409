//! One process that nobody disturbs locks one file over and over.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use fs4::FileExt;
use locks::{Backend, lock};
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::report::{Bound, Goal, Report};
use rustix::fs::{FlockOperation, flock};

use super::python::Python;
use crate::rows::place::Place;

const OPENED: &str = "open + flock + close (floor)";
const KEPT: &str = "flock + unlock, handle kept (floor)";
const OURS: &str = "#[lock(\"ledger\", backend = file)]";

#[lock("ledger", backend = backend)]
fn ours(backend: &Backend) {
    body();
}

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, "alone");
    let backend = super::backend(place.path());
    let file = |name: &str| place.path().join(name);
    let python = Python::find();
    let mut contestants = vec![
        opened(OPENED, file("opened"), |file| kernel(file, FlockOperation::LockExclusive)),
        Contestant::repeat(OURS, || ours(&backend)),
        Contestant::repeat("file.named(key).acquire()", || {
            let _held = backend.named("ledger").acquire().expect("nobody else has it");
            body();
        }),
        opened("std's File::lock, opened and closed", file("std"), |file| {
            file.lock().expect("nobody else has it");
        }),
        opened("fs4, opened and closed", file("fs4"), |file| {
            FileExt::lock(file).expect("nobody else has it");
        }),
        fd_lock_opened(file("fd-lock")),
        kept(KEPT, file("kept"), |file| {
            kernel(file, FlockOperation::LockExclusive);
            body();
            kernel(file, FlockOperation::Unlock);
        }),
        kept("std's File::lock, kept", file("std-kept"), |file| {
            file.lock().expect("nobody else has it");
            body();
            file.unlock().expect("it is locked");
        }),
        kept("fs4, kept", file("fs4-kept"), |file| {
            FileExt::lock(file).expect("nobody else has it");
            body();
            FileExt::unlock(file).expect("it is locked");
        }),
        fd_lock_kept(&file("fd-lock-kept")),
        named_lock_kept(&file("named-lock-kept")),
    ];
    if let Ok(python) = &python {
        contestants.extend(python.peers().map(|peer| python.alone(peer, &file(peer.name))));
    }
    let figures = race(pace, contestants);
    let place = place.described();
    let python = python.map_or_else(|why| format!("; no Python: {why}"), |_| String::new());
    vec![Report {
        row: "file",
        compares: format!("lock and unlock one file in {place}, one process{python}"),
        unit: "ns per operation",
        figures,
        goals: vec![Goal::ratio(OURS, OPENED, Bound::AtMost(3.0))],
    }]
}

fn kernel(file: &File, operation: FlockOperation) {
    flock(file, operation).expect("nobody else has it");
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Opens the file each time; closing it releases the lock.
fn opened<'a>(name: &str, path: PathBuf, lock: impl Fn(&File) + 'a) -> Contestant<'a> {
    Contestant::repeat(name, move || {
        let file = open(&path);
        lock(&file);
        body();
    })
}

/// Opens the file once.
fn kept<'a>(name: &str, path: PathBuf, lock: impl Fn(&File) + 'a) -> Contestant<'a> {
    let file = open(&path);
    Contestant::repeat(name, move || lock(&file))
}

fn fd_lock_opened(path: PathBuf) -> Contestant<'static> {
    Contestant::repeat("fd-lock, opened and closed", move || {
        let mut lock = fd_lock::RwLock::new(open(&path));
        let _held = lock.write().expect("nobody else has it");
        body();
    })
}

fn fd_lock_kept(path: &Path) -> Contestant<'static> {
    let mut lock = fd_lock::RwLock::new(open(path));
    Contestant::repeat("fd-lock, kept", move || {
        let _held = lock.write().expect("nobody else has it");
        body();
    })
}

/// As its documentation shows it, `named-lock` keeps the handle.
fn named_lock_kept(path: &Path) -> Contestant<'static> {
    let lock = named_lock::NamedLock::with_path(path).expect("the directory is there");
    Contestant::repeat("named-lock, kept", move || {
        let _held = lock.lock().expect("nobody else has it");
        body();
    })
}
