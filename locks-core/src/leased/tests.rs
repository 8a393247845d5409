//! How often the adapter's thread is woken (A6), with stores that answer at once and late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::client::{Client, Settings};
use super::clock::BootClock;
use super::holds::LeasedHold;
use super::upstream::StoreUpstream;
use crate::sync::plain::Mutex;
use crate::{
    AcquisitionId, Backend, BackendInfo, Capabilities, Claimed, Engine, Exclusion, LeaseClaim,
    LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore, LostCause, Op, Query, Renewed, Token,
    TokenScope, UpstreamEnd, Wake,
};

/// Grants everything; for the threads of one process, which the engine keeps apart.
struct Yes {
    about: BackendInfo,
    token: AtomicU64,
    /// Where the steps are answered from, if not at once.
    late: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    /// Hears of the keys that are ended.
    ended: Option<mpsc::Sender<Vec<String>>>,
}

impl Yes {
    fn new(is_late: bool) -> Self {
        let late = is_late.then(|| {
            let (sender, steps) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
            thread::spawn(move || {
                for step in steps {
                    thread::sleep(Duration::from_millis(1));
                    step();
                }
            });
            sender
        });
        let about =
            BackendInfo::new("yes", Capabilities::plain(Exclusion::Lease, TokenScope::Process));
        Self { about, token: AtomicU64::new(0), late, ended: None }
    }

    fn answer<T: Send + Unpin + 'static>(&self, answer: T) -> Op<'_, T> {
        let Some(late) = &self.late else { return Op::ready(answer) };
        let slot = Arc::new(Mutex::new((None, None::<Waker>)));
        let given = slot.clone();
        let step = move || {
            let mut slot = given.lock();
            slot.0 = Some(answer);
            let waker = slot.1.take();
            drop(slot);
            waker.into_iter().for_each(Waker::wake);
        };
        late.send(Box::new(step)).expect("the thread lives as long as this");
        Op::later(std::future::poll_fn(move |cx| {
            let mut slot = slot.lock();
            slot.1 = Some(cx.waker().clone());
            slot.0.take().map_or(std::task::Poll::Pending, |answer| Ok(answer).into())
        }))
    }
}

impl LeaseStore for Yes {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, _: &'a LeaseClaim) -> Op<'a, Claimed> {
        let token = self.token.fetch_add(1, Ordering::Relaxed) + 1;
        self.answer(Claimed::Granted(Token::new(token)))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        self.answer(vec![Renewed::Kept; renewals.len()])
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        if let Some(ended) = &self.ended {
            ended.send(ending.keys.clone()).expect("somebody listens");
        }
        self.answer(true)
    }

    fn list<'a>(&'a self, _: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        self.answer(Vec::new())
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }
}

fn settings() -> Settings {
    Settings {
        lease: Duration::from_secs(86_400),
        connect: Duration::from_secs(60),
        poll: None,
        label: String::new(),
    }
}

fn wakes_of_pairs(pairs: usize, is_late: bool) -> usize {
    let client = Client::new(Yes::new(is_late), Arc::new(BootClock), settings());
    let engine = Engine::builder().upstream(Arc::new(StoreUpstream(client.clone()))).build();
    client.engine.get_or_init(|| engine.downgrade());
    let backend = Backend::new(engine);
    for _ in 0..pairs {
        drop(backend.named("k").acquire().expect("it is free"));
    }
    client.executor.wakes()
}

/// Between the ends of two keys of a set the store is told of the first by itself.
#[test]
fn c11_the_last_key_of_a_set_that_is_lost_ends_at_the_store_too() {
    let (ended, heard) = mpsc::channel();
    let store = Yes { ended: Some(ended), ..Yes::new(false) };
    let client = Client::new(store, Arc::new(BootClock), settings());
    let claim = LeaseClaim::all(["a", "b"], AcquisitionId::unique(), client.settings.lease);
    let id = client.take_in(LeasedHold::new(
        &claim,
        Token::new(1),
        client.clock.now(),
        client.clock.now(),
    ));
    let end = |key| client.release(key, id, UpstreamEnd { next: None, reserves: true }).block();
    end("a").expect("it is held");
    assert_eq!(heard.recv().unwrap(), ["a"]);
    assert!(client.holds.note(id, |renewal, now| renewal.gone(LostCause::Stolen, now)).is_some());
    assert!(end("b").unwrap_err().is_lost());
    assert_eq!(heard.recv_timeout(Duration::from_secs(60)), Ok(vec!["b".to_owned()]));
}

#[test]
fn a6_a_store_that_answers_at_once_costs_no_wake_of_the_thread() {
    assert_eq!(wakes_of_pairs(100, false), 0);
}

#[test]
fn a6_a_store_that_answers_late_costs_a_wake_for_each_end_that_it_confirms() {
    let wakes = wakes_of_pairs(100, true);
    assert!(wakes <= 101, "{wakes} wakes for 100 pairs");
}
