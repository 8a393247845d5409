//! The books of a directory: whoever waits for them is patient as long as those before get on, and says what
//! is in the way if not (C2, row 43).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use locks_core::ErrorKind;
use locks_file::FileBackend;

use crate::directory::{Directory, until};
use crate::peer::Peer;

/// Where the books count those who have had them.
const VISITS: u64 = 480;

fn books(directory: &Directory) -> File {
    let books = directory.path().join(".epochs");
    File::options().read(true).write(true).open(books).unwrap()
}

/// Others are always quicker: as long as they are, nobody is told that anything is wrong.
#[test]
fn row_38_who_opens_a_directory_waits_as_long_as_others_get_on() {
    let directory = Directory::new();
    drop(directory.client());
    let books = books(&directory);
    fs4::FileExt::lock(&books).unwrap();
    let path = directory.path().to_owned();
    let opening = std::thread::spawn(move || FileBackend::new(path));
    let start = Instant::now();
    let mut visits = 1_000_u64;
    while start.elapsed() < Duration::from_secs(12) {
        visits += 1;
        books.write_all_at(format!("{visits:016x}").as_bytes(), VISITS).unwrap();
        std::thread::park_timeout(Duration::from_millis(100));
        assert!(!opening.is_finished(), "it gave up after {:?}", start.elapsed());
    }
    drop(books);
    opening.join().unwrap().unwrap();
}

/// Nothing happens: an error that says so, and of what kind it is.
#[test]
fn row_43_books_that_are_held_up_are_no_contention() {
    let directory = Directory::new();
    let [mut peer, mut patient] = Peer::start_many(&directory);
    let token = peer.assert_free("known");
    patient.assert_free("known");
    let books = books(&directory);
    fs4::FileExt::lock(&books).unwrap();
    let waits = patient.begin("another", "");
    for options in ["no-wait", "wait=100", "shared wait=100"] {
        let refused = peer.begin("new", options).refused();
        assert_eq!(refused.kind, "Unavailable", "{options}: {refused:?}");
        let me = format!("held up by process {}", std::process::id());
        assert!(refused.text.contains(&me), "{options}: {refused:?}");
    }
    // A key that is known is granted without them.
    assert!(peer.assert_free("known") > token);
    let refused = waits.refused();
    assert_eq!(refused.kind, "Unavailable", "{refused:?}");
    let opened = FileBackend::new(directory.path()).unwrap_err();
    assert_eq!(opened.kind(), ErrorKind::Unavailable, "{opened}");
    drop(books);
    until("all is well again", || peer.begin("new", "wait=1000").outcome().is_ok());
}
