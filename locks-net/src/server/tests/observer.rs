//! Looking into a server from its own process (N12).

use locks_core::{ErrorKind, Token};

use super::Scratch;
use super::line::Line;

#[test]
fn n12_many_threads_look_and_each_gets_an_answer() {
    let place = Scratch::new();
    let server = place.serve(|_| {});
    let mut line = Line::local(&place.socket());
    line.acquire("k").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let observer = server.observer();
            scope.spawn(move || {
                for _ in 0..50 {
                    let seen = observer.observe().block().unwrap();
                    assert_eq!((seen.holds, seen.locks.len(), seen.clients.len()), (1, 1, 1));
                }
            });
        }
    });
    // One who does not wait for the answer is in nobody's way.
    drop(server.observer().observe());
    assert_eq!(server.observer().figures().block().unwrap().figures.grants(), 1);
}

#[test]
fn n9_what_the_operator_releases_is_written_down() {
    let place = Scratch::new();
    let server = place.serve(|_| {});
    let mut line = Line::local(&place.socket());
    let token = Token::new(line.acquire("k").unwrap());
    assert!(server.observer().release("k", token).block().unwrap());
    drop(server);
    let server = place.serve(|_| {});
    assert_eq!(server.observer().figures().block().unwrap().holds, 0);
    assert!(!server.observer().release("k", token).block().unwrap());
}

#[test]
fn n12_a_server_that_has_ended_says_so() {
    let place = Scratch::new();
    let server = place.serve(|_| {});
    let observer = server.observer();
    let asked = observer.figures();
    server.stop();
    for answer in [asked, observer.figures(), observer.observe()] {
        if let Err(error) = answer.block() {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }
    let error = observer.figures().block().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = observer.release("k", Token::new(1)).block().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
