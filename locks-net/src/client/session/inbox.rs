//! Messages of other clients, kept here until they are taken (N8).

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use locks_core::{Clock, LockError, Moment, ProcessInfo};

use super::ClientSession;
use super::wakers::take;
use crate::wire::{Call, Keep, Note};

/// A message of another client, or of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The number of the message, unique in this mailbox; later messages have greater numbers.
    pub id: u64,
    /// The subject.
    pub subject: String,
    /// The content.
    pub content: Vec<u8>,
    /// The client that published it.
    pub from: ProcessInfo,
    /// The time for which it stays from now on unless it is taken, on a clock that stands still
    /// while this machine sleeps; `None`: until it is taken.
    pub expires_in: Option<Duration>,
}

/// The messages that have come in and have not been taken.
pub(super) struct Inbox {
    /// The time awake.
    clock: Arc<dyn Clock>,
    /// How many have it open.
    pub(super) users: usize,
    kept: VecDeque<KeptMessage>,
    bytes: usize,
    last_id: u64,
    /// What has left since the server was told last.
    left: (u32, u64),
    wakers: Vec<Waker>,
}

struct KeptMessage {
    id: u64,
    note: Note,
    from: ProcessInfo,
    until: Option<Moment>,
}

impl Inbox {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            users: 0,
            kept: VecDeque::new(),
            bytes: 0,
            last_id: 0,
            left: (0, 0),
            wakers: Vec::new(),
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        !self.wakers.is_empty()
    }

    /// How long it is until the next one expires.
    pub(super) fn next_end(&self) -> Option<Duration> {
        let next = self.kept.iter().filter_map(|kept| kept.until).min()?;
        Some(next.since(self.clock.now()))
    }

    /// What the server is told that there is.
    pub(super) fn call(&self, call: u64, open: bool) -> Call {
        let count = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        Call::Mailbox { call, open, count, bytes: self.bytes as u64 }
    }

    fn take_where(&mut self, mut leaves: impl FnMut(&KeptMessage) -> bool) -> Option<KeptMessage> {
        let at = self.kept.iter().position(&mut leaves)?;
        let taken = self.kept.remove(at)?;
        self.count_out(&taken.note);
        Some(taken)
    }

    fn count_out(&mut self, note: &Note) {
        let size = note.size();
        self.bytes -= size;
        self.left.0 += 1;
        self.left.1 += size as u64;
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        while self.take_where(|kept| kept.until.is_some_and(|until| until <= now)).is_some() {}
    }

    /// Whether there is anything new.
    fn put(&mut self, note: Note, from: ProcessInfo) -> bool {
        self.expire();
        self.bytes += note.size();
        let is_alike = |kept: &KeptMessage| kept.note.subject == note.subject;
        match note.keep {
            Keep::Older if self.kept.iter().any(is_alike) => {
                self.count_out(&note);
                return false;
            }
            Keep::Newer => while self.take_where(is_alike).is_some() {},
            Keep::Older | Keep::Both => {}
        }
        self.last_id += 1;
        let until = note.timeout.map(|timeout| self.clock.now().after(timeout));
        self.kept.push_back(KeptMessage { id: self.last_id, note, from, until });
        true
    }

    fn received(&self, kept: &KeptMessage) -> Received {
        let now = self.clock.now();
        Received {
            id: kept.id,
            subject: kept.note.subject.clone(),
            content: kept.note.content.clone(),
            from: kept.from.clone(),
            expires_in: kept.until.map(|until| until.since(now)),
        }
    }
}

impl ClientSession {
    /// Wants messages from now on, which expire by this clock; its number is to be fetched by
    /// [`poll_call`](Self::poll_call).
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn open_mailbox(&mut self, clock: Arc<dyn Clock>) -> Result<u64, LockError> {
        let call = self.next_number()?;
        let mail = self.mail.get_or_insert_with(|| Inbox::new(clock));
        mail.users += 1;
        // What has left is known by what there is.
        mail.left = (0, 0);
        let opening = mail.call(call, true);
        self.begin(call, opening, None, self.now());
        Ok(call)
    }

    /// One of those who have it open does not want it any more.
    pub(crate) fn close_mailbox(&mut self) {
        let Some(mail) = &mut self.mail else { return };
        mail.users -= 1;
        if mail.users == 0 {
            self.wakers.put_away(mail.wakers.drain(..));
            self.mail = None;
            if self.is_open() {
                self.transmit(&Call::Mailbox { call: 0, open: false, count: 0, bytes: 0 });
            }
        }
    }

    /// A message has come in.
    pub(super) fn received(&mut self, note: Note, from: ProcessInfo) {
        let Some(mail) = &mut self.mail else { return };
        if mail.put(note, from) {
            self.wakers.wake(mail.wakers.drain(..));
        }
        self.tell_taken();
    }

    /// Messages whose time is over go.
    pub(super) fn expire_mail(&mut self) {
        if let Some(mail) = &mut self.mail {
            mail.expire();
        }
        self.tell_taken();
    }

    /// Takes the first message for which `is_wanted`.
    pub(crate) fn take_message(
        &mut self,
        mut is_wanted: impl FnMut(&str, u64) -> bool,
    ) -> Option<Received> {
        let mail = self.mail.as_mut()?;
        mail.expire();
        let taken = mail.take_where(|kept| is_wanted(&kept.note.subject, kept.id));
        let received = taken.map(|kept| mail.received(&kept));
        self.tell_taken();
        received
    }

    /// As [`take_message`](Self::take_message), of all; `Ready(None)`: there will be none.
    pub(crate) fn poll_message(&mut self, waker: &mut Waker) -> Poll<Option<Received>> {
        if let Some(received) = self.take_message(|_, _| true) {
            return Poll::Ready(Some(received));
        }
        let Some(mail) = &mut self.mail else { return Poll::Ready(None) };
        if !mail.wakers.iter().any(|known| known.will_wake(waker)) {
            mail.wakers.push(take(waker));
        }
        Poll::Pending
    }

    /// Whoever has waited with this waker does not any more.
    pub(crate) fn forget_message_waker(&mut self, waker: &Waker) {
        if let Some(mail) = &mut self.mail {
            self.wakers.put_away(mail.wakers.extract_if(.., |known| known.will_wake(waker)));
        }
    }

    /// The messages that there are, the oldest first.
    pub(crate) fn messages(&mut self) -> Vec<Received> {
        self.expire_mail();
        let Some(mail) = &self.mail else { return Vec::new() };
        mail.kept.iter().map(|kept| mail.received(kept)).collect()
    }

    /// The server of a new session, or one that was started anew, knows nothing of it.
    pub(super) fn reopen_mailbox(&mut self) {
        if let Some(mail) = &mut self.mail {
            mail.left = (0, 0);
            let opening = mail.call(0, true);
            self.transmit(&opening);
        }
    }

    /// The server hears what has left, now or once there is a connection.
    pub(super) fn tell_taken(&mut self) {
        if !self.is_open() {
            return;
        }
        let Some(mail) = &mut self.mail else { return };
        let (count, bytes) = std::mem::take(&mut mail.left);
        if count > 0 {
            self.transmit(&Call::Taken { count, bytes });
        }
    }
}
