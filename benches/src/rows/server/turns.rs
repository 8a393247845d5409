//! Two clients that hand one lock to and fro, by turns.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::address::PATIENCE;
use super::client::Client;
use super::servers::served;
use crate::rows::latencies::{Turn, hold, now};

/// Lets each of two clients have the lock so many times; every grant but the first is a hand-over.
///
/// A hold ends when the other one has asked and then half a millisecond or more has passed, up to
/// `longest`: a hand-over is to somebody who waits, and has done so for long enough to be asleep.
/// Nobody asks again before the other one has the lock.
pub(super) fn by_turns(
    clients: &mut [Box<dyn Client>; 2],
    times: usize,
    longest: Duration,
    dice: &mut u64,
) -> Vec<Turn> {
    let ((asks, other_asks), (granted, other_granted)) = (channel(), channel());
    let ((other_asked, asked), (other_got, got)) = (channel(), channel());
    let [first, second] = clients;
    let first = Seat { client: &mut **first, asks, asked, granted, got };
    let second = Seat {
        client: &mut **second,
        asks: other_asked,
        asked: other_asks,
        granted: other_got,
        got: other_granted,
    };
    let holds = (0..times * 2).map(|_| hold(longest, dice)).collect::<Vec<_>>();
    let (ours, theirs) = holds.split_at(times);
    let mut turns = thread::scope(|scope| {
        let other = scope.spawn(|| {
            second.until_other_has_it();
            second.take_turns(theirs, false)
        });
        let mut turns = first.take_turns(ours, true);
        turns.extend(other.join().expect("it only locks"));
        turns
    });
    turns.sort_unstable();
    turns
}

/// One client, and what it tells and hears.
struct Seat<'a> {
    client: &'a mut dyn Client,
    asks: Sender<()>,
    asked: Receiver<()>,
    granted: Sender<()>,
    got: Receiver<()>,
}

impl Seat<'_> {
    fn take_turns(self, holds: &[Duration], first: bool) -> Vec<Turn> {
        let mut turns = Vec::with_capacity(holds.len());
        for (at, hold) in holds.iter().enumerate() {
            // The other one may have gone after its last turn.
            let _ = self.asks.send(());
            served(self.client.take());
            let granted = now();
            let _ = self.granted.send(());
            let last = at + 1 == holds.len();
            if first || !last {
                self.asked.recv_timeout(PATIENCE).expect("the other one asks");
            }
            thread::sleep(*hold);
            let released = now();
            served(self.client.give());
            turns.push((granted, released));
            if !last {
                self.until_other_has_it();
            }
        }
        turns
    }

    fn until_other_has_it(&self) {
        self.got.recv_timeout(PATIENCE).expect("the other one is served");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::{Condvar, Mutex};

    use super::*;
    use crate::rows::latencies::Latencies;

    /// A lock that goes to whoever comes first, and notes who that was.
    #[derive(Default)]
    struct Unfair {
        held: Mutex<bool>,
        given: Condvar,
        log: Mutex<Vec<usize>>,
    }

    struct Taker(usize, Arc<Unfair>);

    impl Client for Taker {
        fn take(&mut self) -> io::Result<()> {
            let mut held = self.1.held.lock();
            let wait = Duration::from_secs(10);
            if self.1.given.wait_while_for(&mut held, |held| *held, wait).timed_out() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            *held = true;
            self.1.log.lock().push(self.0);
            Ok(())
        }

        fn give(&mut self) -> io::Result<()> {
            *self.1.held.lock() = false;
            self.1.given.notify_one();
            Ok(())
        }

        fn give_and_wait(&mut self) -> io::Result<()> {
            self.give()
        }
    }

    #[test]
    fn every_grant_is_a_hand_over() {
        let lock = Arc::<Unfair>::default();
        let mut clients: [Box<dyn Client>; 2] =
            [0, 1].map(|id| Box::new(Taker(id, Arc::clone(&lock))) as Box<dyn Client>);
        for _ in 0..2 {
            let turns = by_turns(&mut clients, 10, Duration::ZERO, &mut 1);
            assert_eq!(Latencies::between(turns, 0).micros().len(), 19);
        }
        assert_eq!(*lock.log.lock(), [0, 1].repeat(20));
    }
}
