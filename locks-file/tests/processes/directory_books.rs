//! The books of a directory: whoever waits for them is patient as long as those before get on, and
//! says what is in the way if not (C2, row 43).

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Each wants a key of its own, for which it needs the books: the epoch in its token tells when it
/// had them.
#[test]
fn row_38_whoever_came_first_has_the_books_first() {
    let directory = Directory::new();
    let mut peers: [Peer; 6] = Peer::start_many(&directory);
    // They have opened the directory, which takes the books too.
    peers.iter_mut().for_each(|peer| _ = peer.assert_free("known"));
    let books = books(&directory);
    // A process that does not run for long is overtaken: a busy machine may do that to some rounds,
    // not to all.
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

/// Raises the flag when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The first of the line are stopped, or give up: nobody waits for them for long, though others who
/// do not stand in line have the books all the time.
#[test]
fn row_38_who_stands_in_line_and_stands_still_is_in_nobodys_way() {
    let directory = Directory::new();
    let [mut first, mut second, mut gives_up, mut last] = Peer::start_many(&directory);
    for peer in [&mut first, &mut second, &mut gives_up, &mut last] {
        peer.assert_free("known");
    }
    let books = books(&directory);
    fs4::FileExt::lock(&books).unwrap();
    let stand_in_line = |peer: &mut Peer, key: &str| {
        let before = standing(&books);
        let waits = peer.begin(key, "");
        until("it stands in line", || standing(&books) == before + 1);
        waits
    };
    let stopped = [stand_in_line(&mut first, "a"), stand_in_line(&mut second, "b")];
    let given_up = stand_in_line(&mut gives_up, "c");
    let next = stand_in_line(&mut last, "d");
    [&first, &second].into_iter().for_each(|peer| crate::peer::stop(peer.pid()));
    drop(given_up);
    until("it has left", || standing(&books) == 3);
    fs4::FileExt::unlock(&books).unwrap();
    let (client, over) = (directory.client(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        // Also if this fails: else the other thread would be waited for without end.
        let _over = Over(&over);
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                client.clean(Duration::from_secs(3600)).unwrap();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        last.release(next.granted()).unwrap();
        // Whoever comes later is not held up again, each time.
        for key in 0..20 {
            last.assert_free(&format!("later-{key}"));
        }
    });
    for (mut peer, waits) in [first, second].into_iter().zip(stopped) {
        rustix::process::kill_process(peer.pid(), rustix::process::Signal::CONT).unwrap();
        peer.release(waits.granted()).unwrap();
    }
    until("nobody stands there", || standing(&books) == 0);
}
