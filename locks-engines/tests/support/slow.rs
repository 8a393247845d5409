//! Slow links.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;

use super::until;

/// A way to a server on which everything takes a while.
pub(crate) struct Slow {
    pub(crate) port: u16,
}

impl Slow {
    /// One to that host and port, on which each direction takes so long.
    pub(crate) fn before(to: String, takes: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(&to).unwrap());
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                Self::carry(near, far, takes);
                Self::carry(far_again, near_again, takes);
            }
        });
        Self { port }
    }

    fn carry(mut from: TcpStream, mut to: TcpStream, takes: Duration) {
        let (sender, parts) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut part) {
                let _ = sender.send((Instant::now() + takes, part[..length].to_vec()));
            }
        });
        thread::spawn(move || {
            for (due, part) in parts {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&part).is_err() {
                    return;
                }
            }
        });
    }
}

/// One that hears late that it can go, and is heard late, is not gone: `far`, which waits, is
/// granted before `near`, which asks again and again.
pub(crate) fn waits_its_turn(ours: &Backend, far: Backend, near: &Backend) {
    drop(far.named("other").acquire().unwrap());
    let guard = ours.named("k").acquire().unwrap();
    let first = thread::spawn(move || {
        far.named("k").wait(Duration::from_secs(60)).acquire().unwrap().token()
    });
    until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    guard.release().unwrap();
    let mut second = None;
    until(|| {
        second = near.named("k").wait(false).acquire().ok().map(|guard| guard.token());
        second.is_some()
    });
    assert!(Some(first.join().unwrap()) < second);
}
