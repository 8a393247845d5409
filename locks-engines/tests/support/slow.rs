//! Slow links, and links that forget.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;

use super::{one_round_passes, until};

/// A way to a server on which everything takes a while.
pub(crate) struct Slow {
    pub(crate) port: u16,
    /// How often it has forgotten its connections.
    forgotten: Arc<AtomicUsize>,
}

impl Slow {
    /// One to that host and port, on which each direction takes so long.
    pub(crate) fn before(to: String, takes: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let forgotten = Arc::new(AtomicUsize::new(0));
        let forgets = Arc::clone(&forgotten);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(&to).unwrap());
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                Self::carry(near, far, takes, &forgets);
                Self::carry(far_again, near_again, takes, &forgets);
            }
        });
        Self { port, forgotten }
    }

    /// A fast one, which is to [`forget`](Self::forget), and the lease for those that use it: long
    /// enough that there is time on a busy machine.
    pub(crate) fn forgetful(to: String) -> (Self, Duration) {
        (Self::before(to, Duration::ZERO), Duration::from_secs(6))
    }

    /// Carries nothing more on the connections that there are, and tells neither end, as a firewall
    /// does that has forgotten them.
    pub(crate) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
    }

    fn carry(
        mut from: TcpStream,
        mut to: TcpStream,
        takes: Duration,
        forgotten: &Arc<AtomicUsize>,
    ) {
        let (sender, parts) = mpsc::channel::<(Instant, Vec<u8>)>();
        let (forgotten, begun) = (Arc::clone(forgotten), forgotten.load(Ordering::SeqCst));
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut part) {
                if forgotten.load(Ordering::SeqCst) == begun {
                    let _ = sender.send((Instant::now() + takes, part[..length].to_vec()));
                }
            }
            // The other end hears as little of its end.
            while forgotten.load(Ordering::SeqCst) != begun {
                thread::park();
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

/// A hold outlives the connections of its client, which go on as if nothing were: what is asked on
/// them is never answered, and is asked on others before the lease is over. So is what others of
/// the client wait for.
pub(crate) fn outlives_its_connections(
    way: &Slow,
    ours: &Backend,
    theirs: &Backend,
    lease: Duration,
) {
    one_round_passes(|| {
        let guard = ours.named("k").acquire().unwrap();
        let rival = theirs.named("other").acquire().unwrap();
        let (waits, most) = (ours.named("other"), lease * 5 / 6);
        let waiter = thread::spawn(move || waits.wait(most).acquire().map(drop));
        until(|| theirs.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
        way.forget();
        rival.release().unwrap();
        let forgotten = Instant::now();
        while forgotten.elapsed() < lease * 2 {
            guard.check().expect("it is renewed on another connection");
            thread::sleep(lease / 20);
        }
        guard.release().unwrap();
        waiter.join().unwrap().expect("it asks on another connection");
    });
}
