//! Messages to and from other clients of a server (N8).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{Alarm, Clock, ErrorKind, LockError, Moment, Op, SystemClock};

use super::backend::NetBackend;
use super::link::Link;
use super::op::Calling;
use super::session::{Answer, Received};
use crate::wire::{Keep, MAX_RECEIVERS, MAX_SUBJECT, Note, Publish, Published};

/// A message to other clients of a server; [published](NetBackend::publish) to all clients that
/// have a [mailbox](NetBackend::messages), unless it names receivers.
///
/// ```no_run
/// use std::time::Duration;
/// use locks::net::{Message, NetBackend};
///
/// let backend = NetBackend::unix("/run/app/locks.sock").build()?;
/// let message = Message::new("prices", "reload").to("web").timeout(Duration::from_secs(60)).replace(true);
/// let published = backend.publish(message).block()?;
/// println!("{} have it", published.delivered);
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a message reaches nobody until it is published"]
pub struct Message {
    publish: Publish,
    unique: bool,
    replace: bool,
}

impl Message {
    /// Creates a message. Its `subject` has 1 to 1,024 bytes.
    pub fn new(subject: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        let (subject, content) = (subject.into(), content.into());
        let note = Note { subject, content, timeout: None, keep: Keep::Both };
        let publish = Publish { note, to_self: false, receivers: Vec::new() };
        Self { publish, unique: false, replace: false }
    }

    /// Adds a receiver by its [label](crate::NetBuilder::label), or by its program's name if it has
    /// none. All clients of that name get the message.
    pub fn to(mut self, name: impl Into<String>) -> Self {
        self.publish.receivers.push(name.into());
        self
    }

    /// Sets the time for which each receiver keeps the message unless it takes it before, on a
    /// clock that stops in suspend; for ever by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.publish.note.timeout = Some(timeout);
        self
    }

    /// Sets whether this process also gets the message, if it has a mailbox and is among the
    /// receivers. `false` by default.
    pub fn to_self(mut self, to_self: bool) -> Self {
        self.publish.to_self = to_self;
        self
    }

    /// Sets whether a receiver that has a message with this subject keeps that one and does not get
    /// this one. `false` by default.
    pub fn unique(mut self, unique: bool) -> Self {
        self.unique = unique;
        self
    }

    /// Sets whether the message replaces those with this subject that a receiver has. `false` by
    /// default.
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    fn finish(mut self) -> Result<Publish, LockError> {
        let refused = |why: String| {
            let why = format!("the message was not published: {why}");
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why))
        };
        let Publish { note, receivers, .. } = &mut self.publish;
        if note.subject.is_empty() || note.subject.len() > MAX_SUBJECT {
            let length = note.subject.len();
            return refused(format!(
                "a subject has 1 to {MAX_SUBJECT} bytes, and this one {length}"
            ));
        }
        if receivers.len() > MAX_RECEIVERS {
            let count = receivers.len();
            return refused(format!(
                "it names {count} clients, and {MAX_RECEIVERS} are allowed: send it to all"
            ));
        }
        note.keep = match (self.unique, self.replace) {
            (false, false) => Keep::Both,
            (true, false) => Keep::Older,
            (false, true) => Keep::Newer,
            (true, true) => {
                let why = "`unique` keeps the older message and `replace` the newer one: leave one of them out";
                return refused(why.into());
            }
        };
        Ok(self.publish)
    }
}

impl NetBackend {
    /// Publishes a message, and returns the number of clients that it was sent to. The server
    /// delivers it at once and keeps nothing: a client that opens its mailbox later does not get
    /// it.
    ///
    /// # Errors
    /// `NotConfigured` for an invalid message; `LimitExceeded` for one that is longer than the
    /// server's limit; `Unavailable` if the server is not reached, or restarts meanwhile, in which
    /// case some clients may have got it.
    pub fn publish(&self, message: Message) -> Op<'static, Published> {
        let publish = match message.finish() {
            Ok(publish) => publish,
            Err(error) => return Op::failed(error),
        };
        self.call(
            |session| session.publish(publish),
            |answer| match answer {
                Answer::Published(published) => Some(published),
                _ => None,
            },
        )
    }

    /// Opens this process's mailbox, which gets the messages of other clients until the last
    /// [`Mailbox`] of this backend is dropped. All handles share one mailbox: a message that is
    /// taken from one is gone from all.
    ///
    /// # Errors
    /// `Unavailable` or another kind if the server does not answer.
    pub fn messages(&self) -> Op<'static, Mailbox> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let begun = self.link().and_then(|link| {
            let call = link.begin(|session| session.open_mailbox(clock))?;
            Ok((Arc::clone(link), call))
        });
        match begun {
            Ok((link, call)) => {
                // It closes again, if nobody waits for the answer.
                let mailbox = Mailbox { link: Arc::clone(&link), _backend: self.clone() };
                let calling = Calling::new(link, call);
                Op::later(async move { calling.await.map(|_| mailbox) })
            }
            Err(error) => Op::failed(error),
        }
    }
}

/// The messages that this process got and has not taken yet; made by [`NetBackend::messages`].
///
/// They are kept here, and not at the server: a process that ends takes them with it. The server
/// counts them and enforces its [limits](crate::Limits::messages_per_client): publishing returns
/// the number of mailboxes that were [full](crate::Published::full).
///
/// ```no_run
/// use std::time::Duration;
/// use locks::net::NetBackend;
///
/// let backend = NetBackend::unix("/run/app/locks.sock").label("web").build()?;
/// let mailbox = backend.messages().block()?;
/// while let Some(message) = mailbox.wait(Duration::from_secs(60)) {
///     println!("{}: {} bytes", message.subject, message.content.len());
/// }
/// # Ok::<(), locks::LockError>(())
/// ```
pub struct Mailbox {
    link: Arc<Link>,
    /// The connection is kept as long as there is one.
    _backend: NetBackend,
}

impl Mailbox {
    /// Returns the messages in the mailbox, the oldest first, and leaves them where they are.
    pub fn list(&self) -> Vec<Received> {
        self.look(|session| session.messages())
    }

    /// Returns the oldest message with this subject, and leaves it where it is.
    pub fn find(&self, subject: &str) -> Option<Received> {
        self.list().into_iter().find(|received| received.subject == subject)
    }

    /// Takes the oldest message.
    pub fn pop(&self) -> Option<Received> {
        self.look(|session| session.take_message(|_, _| true))
    }

    /// Takes the oldest message with this subject.
    pub fn pop_subject(&self, subject: &str) -> Option<Received> {
        self.look(|session| session.take_message(|own, _| own == subject))
    }

    /// Removes a message. Returns `true` if it was there.
    pub fn remove(&self, id: u64) -> bool {
        self.look(|session| session.take_message(|_, own| own == id)).is_some()
    }

    /// Takes the oldest message, waiting until there is one; `None` if there will never be one, as
    /// in a forked child. Call it in a loop to receive all messages.
    ///
    /// # Cancel safety
    /// A message is taken by the poll that returns it: dropping the future before loses none.
    pub async fn next(&self) -> Option<Received> {
        NextMessage { mailbox: self, waker: None, until: None }.await
    }

    /// Takes the oldest message, blocking this thread until there is one, but no longer than
    /// `at_most`.
    pub fn wait(&self, at_most: Duration) -> Option<Received> {
        let until = SystemClock.now().after(at_most);
        let next = NextMessage { mailbox: self, waker: None, until: Some((until, None)) };
        Op::later(async move { Ok(next.await) }).block().ok().flatten()
    }

    /// Polls for the oldest message and takes it, as [`next`](Self::next) does.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        if !self.link.is_own() {
            return Poll::Ready(None);
        }
        let mut waker = cx.waker().clone();
        self.link.poll(|session| session.poll_message(&mut waker))
    }

    fn look<R: Default>(&self, act: impl FnOnce(&mut super::session::ClientSession) -> R) -> R {
        if !self.link.is_own() {
            return R::default();
        }
        self.link.with_news(act)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if self.link.is_own() {
            self.link.with(|session| session.close_mailbox());
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mailbox").field(&self.link).finish()
    }
}

/// The next message, or the end of the wait for it.
struct NextMessage<'a> {
    mailbox: &'a Mailbox,
    waker: Option<Waker>,
    until: Option<(Moment, Option<Alarm>)>,
}

impl Future for NextMessage<'_> {
    type Output = Option<Received>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(received) = this.mailbox.poll_next(cx) {
            this.waker = None;
            return Poll::Ready(received);
        }
        this.waker = Some(cx.waker().clone());
        let Some((until, alarm)) = &mut this.until else { return Poll::Pending };
        if *until <= SystemClock.now() {
            return Poll::Ready(None);
        }
        *alarm = Some(SystemClock.wake_at(*until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for NextMessage<'_> {
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take()
            && self.mailbox.link.is_own()
        {
            self.mailbox.link.look(|session| session.forget_message_waker(&waker));
        }
    }
}
