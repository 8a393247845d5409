//! The books of a directory: whoever waits for them is patient as long as those before get on, and says what
//! is in the way if not (C2, row 43).

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
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

/// How many processes stand in line for the books.
fn standing(books: &File) -> usize {
    let inode = books.metadata().unwrap().ino();
    let table = std::fs::read_to_string("/proc/locks").unwrap();
    let of_books = |line: &&str| line.contains("OFDLCK") && line.contains(&format!(":{inode} "));
    table.lines().filter(of_books).count()
}

/// Each wants a key of its own, for which it needs the books: the epoch in its token tells when it had them.
#[test]
fn row_38_whoever_came_first_has_the_books_first() {
    let directory = Directory::new();
    let mut peers: [Peer; 6] = Peer::start_many(&directory);
    // They have opened the directory, which takes the books too.
    peers.iter_mut().for_each(|peer| _ = peer.assert_free("known"));
    let books = books(&directory);
    // A process that does not run for long is overtaken: a busy machine may do that to some rounds, not to all.
    let in_order = (0..10).any(|round| {
        fs4::FileExt::lock(&books).unwrap();
        let waiting = peers.iter_mut().enumerate().map(|(number, peer)| {
            let waits = peer.begin(&format!("{round}-{number}"), "");
            until("it stands in line", || standing(&books) == number + 1);
            waits
        });
        let waiting = Vec::from_iter(waiting);
        fs4::FileExt::unlock(&books).unwrap();
        let held = Vec::from_iter(waiting.into_iter().map(|waits| waits.granted()));
        assert_eq!(standing(&books), 0, "nobody stands there who has had them");
        held.is_sorted_by_key(|held| held.token)
    });
    assert!(in_order, "row 38: the books are for whoever comes first");
}

/// The first of the line is stopped, or gives up: nobody waits for it.
#[test]
fn row_38_who_stands_in_line_and_stands_still_is_in_nobodys_way() {
    let directory = Directory::new();
    let [mut stopped, mut gives_up, mut third] = Peer::start_many(&directory);
    for peer in [&mut stopped, &mut gives_up, &mut third] {
        peer.assert_free("known");
    }
    let books = books(&directory);
    fs4::FileExt::lock(&books).unwrap();
    let waits = stopped.begin("a", "");
    until("it stands in line", || standing(&books) == 1);
    let given_up = gives_up.begin("b", "");
    until("it stands in line", || standing(&books) == 2);
    crate::peer::stop(stopped.pid());
    drop(given_up);
    until("it has left", || standing(&books) == 1);
    let next = third.begin("c", "");
    until("it stands in line", || standing(&books) == 2);
    fs4::FileExt::unlock(&books).unwrap();
    third.release(next.granted()).unwrap();
    // Whoever comes later is not held up again, each time.
    for key in 0..20 {
        third.assert_free(&format!("later-{key}"));
    }
    rustix::process::kill_process(stopped.pid(), rustix::process::Signal::CONT).unwrap();
    stopped.release(waits.granted()).unwrap();
    until("nobody stands there", || standing(&books) == 0);
}
