//! FAULTS 11: the release fails after the body has run. Its value stands, whatever it is.

use std::task::{Context, Poll, Waker};

use locks::{Backend, LockError, lock};

use crate::fails::fails;

fn out_of_reach() -> Backend {
    fails(|| LockError::unavailable("far:", "as ordered").with_key("unheard"))
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

    use crate::listens::warnings;

    for function in FUNCTIONS {
        let (told, heard) = channel();
        let listens = warnings(move |text| told.send(text).unwrap());
        let outcome = tracing::subscriber::with_default(listens, || function(true));
        assert_eq!(outcome.unwrap(), 7);
        let heard = heard.iter().collect::<Vec<String>>();
        let [warning] = heard.as_slice() else { panic!("{heard:?}") };
        assert!(warning.contains("not released as it should be"), "{warning}");
        assert!(warning.contains("`unheard` at `far:` cannot be reached: as ordered"), "{warning}");
    }
}
