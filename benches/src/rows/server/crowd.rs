//! Many clients at once, a thread and a connection each.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::servers::served;

type Clients = [Box<dyn Client>];

/// How long all clients together take for so many operations, of which each takes its next one
/// as soon as it can.
pub(super) fn together(
    clients: &mut Clients,
    times: u64,
    operation: fn(&mut dyn Client),
) -> Duration {
    let (start, left) = (Barrier::new(clients.len()), AtomicU64::new(times));
    let (start, left) = (&start, &left);
    thread::scope(|scope| {
        let threads = clients.iter_mut().map(|client| {
            scope.spawn(move || {
                start.wait();
                let began = Instant::now();
                let one_less = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    operation(&mut **client);
                }
                (began, Instant::now())
            })
        });
        let threads = threads.collect::<Vec<_>>();
        let times = threads.into_iter().map(|each| each.join().expect("it only locks"));
        let (began, ended): (Vec<_>, Vec<_>) = times.unzip();
        let (began, ended) = (began.into_iter().min(), ended.into_iter().max());
        ended.zip(began).map_or(Duration::ZERO, |(ended, began)| ended - began)
    })
}

/// How often each client has had the lock when `window` has passed.
pub(super) fn shares(clients: &mut Clients, window: Duration) -> Vec<u64> {
    let start = &Barrier::new(clients.len());
    thread::scope(|scope| {
        let threads = clients.iter_mut().map(|client| {
            scope.spawn(move || {
                start.wait();
                let end = Instant::now() + window;
                let mut times = 0;
                while Instant::now() < end {
                    served(client.take());
                    served(client.give());
                    times += 1;
                }
                times
            })
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|each| each.join().expect("it only locks")).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Counts(u64);

    impl Client for Counts {
        fn take(&mut self) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn give(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn give_and_wait(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_together_do_as_many_operations_as_are_asked_for() {
        static DONE: AtomicU64 = AtomicU64::new(0);
        let mut clients =
            (0..3).map(|_| Box::new(Counts(0)) as Box<dyn Client>).collect::<Vec<_>>();
        together(&mut clients, 100, |client| {
            served(client.take());
            DONE.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(DONE.load(Ordering::Relaxed), 100);
    }
}
