//! A connection that is cut after every byte of an exchange (row 17), by somebody in between.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::LockBackend;
use locks_core::Query;
use locks_net::NetBackend;

use crate::place::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Passes everything on between a client and the server, and cuts one connection.
struct Between {
    path: PathBuf,
    /// Whether it has cut.
    cut: Arc<AtomicBool>,
}

impl Between {
    /// Cuts the first connection that has carried so many bytes in this direction.
    fn start(place: &Place, name: &str, cuts: Direction, after: usize) -> Self {
        let path = place.path().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let server = place.socket();
        let cut = Arc::new(AtomicBool::new(false));
        let done = cut.clone();
        // It ends with the process: nobody connects any more.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&server).unwrap());
                for direction in [Direction::Up, Direction::Down] {
                    let (from, to) = match direction {
                        Direction::Up => (&client, &server),
                        Direction::Down => (&server, &client),
                    };
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let limit = (direction == cuts).then_some(after);
                    let done = done.clone();
                    thread::spawn(move || pass(from, to, limit, &done));
                }
            }
        });
        Self { path, cut }
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, limit: Option<usize>, cut: &AtomicBool) {
    let mut passed = 0;
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let left = match limit {
            Some(limit) if !cut.load(Ordering::SeqCst) => limit.saturating_sub(passed),
            _ => usize::MAX,
        };
        let count = count.min(left);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        passed += count;
        if count == left {
            cut.store(true, Ordering::SeqCst);
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn row17_a_connection_cut_after_any_byte_doubles_nothing_and_leaves_nothing() {
    let place = Place::new();
    let _server = place.serve();
    let watcher = place.client();
    let mut greatest = None;
    let start = Instant::now();
    for direction in [Direction::Up, Direction::Down] {
        for after in 0.. {
            let name = format!("{direction:?}{after}");
            let between = Between::start(&place, &name, direction, after);
            let client = NetBackend::unix(&between.path).connect(Duration::from_secs(20)).build();
            let backend = client.unwrap().into_backend();
            for _ in 0..2 {
                let guard = backend.named("k").acquire().unwrap_or_else(|error| {
                    panic!("{name}: {error:?}");
                });
                assert!(Some(guard.token()) > greatest, "{name}");
                greatest = Some(guard.token());
                guard.check().unwrap();
                guard.release().unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
            // Nothing is left for a good-bye that may be cut off to release.
            drop(backend);
            let held = watcher.inspect(Query::All).block().unwrap();
            assert!(held.iter().all(|info| info.waiters.is_empty()), "{name}: {held:?}");
            if !between.cut.load(Ordering::SeqCst) {
                // The whole exchange is shorter than that.
                assert!(after > 100, "{after} bytes");
                break;
            }
        }
    }
    let free = watcher.clone().into_backend().named("k").wait(Duration::from_secs(20)).acquire();
    assert!(Some(free.unwrap().token()) > greatest);
    assert!(start.elapsed() < Duration::from_secs(60), "somebody waited for a lease to run out");
}
