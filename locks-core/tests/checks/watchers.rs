//! Watching a hold for its loss leaves nothing behind (C8).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use locks_core::{Backend, LostCause};

use crate::polled::engine;
use crate::table::behind;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn backends() -> Vec<Backend> {
    vec![engine().1, behind().1]
}

#[test]
fn c8_futures_that_are_dropped_take_their_wakers_with_them() {
    for backend in backends() {
        let guard = backend.named("k").acquire().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        for _ in 0..1000 {
            let mut lost = pin!(guard.lost());
            assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1, "{backend:?}");
        drop(guard);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn c8_of_two_futures_in_one_task_the_other_is_still_woken() {
    for backend in backends() {
        let guard = backend.named("k").acquire().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut kept = pin!(guard.lost());
        {
            let mut dropped = pin!(guard.lost());
            assert!(dropped.as_mut().poll(&mut cx).is_pending());
            assert!(kept.as_mut().poll(&mut cx).is_pending());
        }
        assert!(backend.evict("k", guard.token()).block().unwrap());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(kept.as_mut().poll(&mut cx), Poll::Ready(LostCause::Evicted));
    }
}
