//! FAULTS 11: the release fails after the body has run. Its value stands, whatever it is.

use std::task::{Context, Poll, Waker};

use locks::backend::{About, Capabilities, Granted, Hold, LockBackend, Op, Query, Request};
use locks::{Backend, LockError, LockInfo, LostCause, Token, lock};

/// Grants everything, and cannot be reached for a release.
struct OutOfReach(About);

fn out_of_reach() -> Backend {
    Backend::new(OutOfReach(About::new("far:", Capabilities::process())))
}

impl LockBackend for OutOfReach {
    fn about(&self) -> &About {
        &self.0
    }

    fn acquire<'a>(&'a self, _: Request<'a>) -> Op<'a, Granted> {
        Op::ready(Granted::new(Hold::new(1, Token::new(1))))
    }

    fn release(&self, _: Hold) -> Op<'static, ()> {
        Op::failed(LockError::unavailable("far:", "as ordered").with_key("unheard"))
    }

    fn poll_lost(&self, _: &Hold, _: Option<&mut Context<'_>>) -> Poll<LostCause> {
        Poll::Pending
    }

    fn refresh(&self, _: &Hold) -> Op<'static, ()> {
        Op::ready(())
    }

    fn inspect(&self, _: Query) -> Op<'static, Vec<LockInfo>> {
        Op::ready(Vec::new())
    }

    fn evict(&self, _: &str, _: Token) -> Op<'static, bool> {
        Op::ready(false)
    }
}

type Outcome = Result<u8, anyhow::Error>;

fn body(fine: bool) -> Outcome {
    if fine { Ok(7) } else { Err(anyhow::anyhow!("my own")) }
}

#[lock("unheard", backend = out_of_reach())]
fn plain(fine: bool) -> Outcome {
    body(fine)
}

#[lock("unheard", backend = out_of_reach(), on_lost = "error")]
fn watchful(fine: bool) -> Outcome {
    body(fine)
}

#[lock("unheard", backend = out_of_reach())]
async fn plain_async(fine: bool) -> Outcome {
    body(fine)
}

#[lock("unheard", backend = out_of_reach(), on_lost = "error")]
async fn watchful_async(fine: bool) -> Outcome {
    body(fine)
}

fn output(future: impl Future<Output = Outcome>) -> Outcome {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("nothing was in its way"),
    }
}

const FUNCTIONS: [fn(bool) -> Outcome; 4] =
    [plain, watchful, |fine| output(plain_async(fine)), |fine| output(watchful_async(fine))];

#[test]
fn f11_the_value_stands_though_the_release_fails() {
    for function in FUNCTIONS {
        assert_eq!(function(true).unwrap(), 7);
        assert_eq!(function(false).unwrap_err().to_string(), "my own");
    }
}

#[cfg(feature = "tracing")]
#[test]
fn f11_every_release_that_fails_is_told_once() {
    use std::sync::mpsc::channel;

    use crate::warnings::Warnings;

    for function in FUNCTIONS {
        let (told, warnings) = channel();
        let listens = Warnings(move |text| told.send(text).unwrap());
        let outcome = tracing::subscriber::with_default(listens, || function(true));
        assert_eq!(outcome.unwrap(), 7);
        let warnings = warnings.iter().collect::<Vec<_>>();
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.contains("not released as it should be"), "{warning}");
        assert!(warning.contains("`unheard` at `far:` cannot be reached: as ordered"), "{warning}");
    }
}
