//! Looking into a server from other threads of its process (N12).

use std::sync::{Arc, Mutex, PoisonError};

use locks_core::{LockError, Op, Token};
use tokio::sync::oneshot;

use super::ready_queue::{ReadyQueue, ReadySource, Source};
use crate::arbiter::{Arbiter, Observation};

/// An observer of a [`Server`](super::Server) of this process, which can also release the holds of
/// its clients; made by [`Server::observer`](super::Server::observer).
///
/// The server's thread answers between two rounds of its work, so that an answer shows one moment.
/// Figures cost it next to nothing; a list takes about a microsecond for each lock: ask no more
/// often than you need.
#[derive(Clone, Debug)]
pub struct ServerObserver(Arc<Inquiries>);

/// What is asked of the server's thread.
#[derive(Debug)]
pub(super) struct Inquiries {
    /// `None` once nobody answers any more.
    queue: Mutex<Option<Vec<Inquiry>>>,
    ready_source: Arc<ReadySource>,
}

#[derive(Debug)]
enum Inquiry {
    Look { all: bool, answer: oneshot::Sender<Observation> },
    Release { key: String, token: Token, answer: ReleaseSender },
}

type Released = Result<bool, LockError>;
type ReleaseSender = oneshot::Sender<Released>;

impl ServerObserver {
    pub(super) fn new(inquiries: &Arc<Inquiries>) -> Self {
        Self(Arc::clone(inquiries))
    }

    /// Returns the counts, and the numbers of clients, keys and waiters, without naming them.
    ///
    /// # Errors
    /// `Unavailable` if the server has ended.
    pub fn figures(&self) -> Op<'static, Observation> {
        self.look(false)
    }

    /// Returns the same as [`figures`](Self::figures), with every lock and client.
    ///
    /// # Errors
    /// `Unavailable` if the server has ended.
    pub fn observe(&self) -> Op<'static, Observation> {
        self.look(true)
    }

    /// Revokes the hold or reservation of `key` with this token. Returns `true` if it existed. Its
    /// holder loses it with [`LostCause::Evicted`](locks_core::LostCause::Evicted); until it
    /// notices, it may run beside the next one.
    ///
    /// # Errors
    /// `Unavailable` if the server has ended, or cannot write it down.
    pub fn release(&self, key: &str, token: Token) -> Op<'static, bool> {
        let (answer, answered) = oneshot::channel();
        self.0.ask(Inquiry::Release { key: key.to_owned(), token, answer });
        Op::later(async move { answered.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn look(&self, all: bool) -> Op<'static, Observation> {
        let (answer, answered) = oneshot::channel();
        self.0.ask(Inquiry::Look { all, answer });
        Op::later(async move { answered.await.map_err(|_| ended()) })
    }
}

impl Inquiries {
    pub(super) fn new(ready_queue: &Arc<ReadyQueue>) -> Arc<Self> {
        let ready_source = ready_queue.source(Source::Operator);
        Arc::new(Self { queue: Mutex::new(Some(Vec::new())), ready_source })
    }

    fn ask(&self, inquiry: Inquiry) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody answers, dropping it says so.
        let Some(queue) = queue.as_mut() else { return };
        queue.push(inquiry);
        self.ready_source.mark_ready();
    }

    /// Answers what was asked. What has changed anything is answered by [`Answers::give`], once it
    /// is written down.
    pub(super) fn answer(&self, arbiter: &mut Arbiter, stalled: bool, answers: &mut Answers) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = queue.as_mut().map(std::mem::take).unwrap_or_default();
        drop(queue);
        for inquiry in asked {
            match inquiry {
                // Who has asked may have gone.
                Inquiry::Look { answer, .. } if answer.is_closed() => {}
                Inquiry::Look { all, answer } => {
                    let seen = Observation { stalled, ..arbiter.observe(all) };
                    let _ = answer.send(seen);
                }
                Inquiry::Release { key, token, answer } => {
                    answers.0.push((answer, arbiter.release_for_operator(&key, token)));
                }
            }
        }
    }

    /// Nobody answers any more.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What is answered once it is in the journal.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<(ReleaseSender, Released)>);

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn give(&mut self) {
        for (answer, released) in self.0.drain(..) {
            let _ = answer.send(released);
        }
    }
}

fn ended() -> LockError {
    LockError::unavailable("the lock server of this process", "it has ended")
}
