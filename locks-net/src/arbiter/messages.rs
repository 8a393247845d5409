//! Messages among clients (N8). They are kept by those who get them: here it is known who wants
//! any, how much each of them has room for, and no more.

use locks_core::{ErrorKind, LockError, ProcessInfo};

use super::Arbiter;
use super::session::{MailboxUsage, MessageTotals, ServerSession};
use crate::wire::{Event, Note, Publish, Published};

impl Arbiter {
    /// The client wants messages from now on, or none any more. `said`: what it says that it has of
    /// them.
    pub(super) fn set_mailbox(&mut self, realm: u32, open: bool, said: MessageTotals) {
        self.drop_mailbox(realm);
        if open && let Some(session) = self.sessions.get_mut(&realm) {
            session.mailbox = Some(MailboxUsage { said, sent: MessageTotals::default() });
        }
    }

    /// Nothing of it is counted any more.
    pub(super) fn drop_mailbox(&mut self, realm: u32) {
        let mailbox = self.sessions.get_mut(&realm).and_then(|session| session.mailbox.take());
        if let Some(mailbox) = mailbox {
            self.mail.take(mailbox.sent);
        }
    }

    /// So many messages have left the client's mailbox.
    pub(super) fn taken(&mut self, realm: u32, mut taken: MessageTotals) {
        let session = self.sessions.get_mut(&realm);
        let Some(mailbox) = session.and_then(|session| session.mailbox.as_mut()) else { return };
        // The oldest leave first.
        let old = mailbox.said.take(taken);
        taken.take(old);
        self.mail.take(mailbox.sent.take(taken));
    }

    /// Sends a message to those whom it concerns.
    pub(super) fn publish(&mut self, realm: u32, call: u64, publish: Publish) {
        let size = publish.note.size();
        let most = self.setup.limits.message;
        if size > most {
            let why = format!(
                "the message was not published: it has {size} bytes, and the lock server takes {most} at most \
                 (`message`)"
            );
            self.say("limit", why.clone());
            let error = LockError::new(ErrorKind::LimitExceeded, "").with_message(why);
            return self.tell(realm, &Event::Refused { call, error });
        }
        let Publish { note, to_self, receivers } = publish;
        let Some(sender) = self.sessions.get(&realm) else { return };
        let from = sender.party.clone();
        let wanted = self.sessions.values().filter(|session| {
            session.mailbox.is_some()
                && (to_self || session.realm != realm)
                && (receivers.is_empty()
                    || receivers.iter().any(|name| is_called(&session.party, name)))
        });
        let wanted = wanted.filter_map(|session| Some((session.realm, receipt(sender, session)?)));
        let mut wanted = wanted.collect::<Vec<_>>();
        wanted.sort_unstable_by_key(|(receiver, _)| *receiver);
        let mut published = Published::default();
        for (receiver, hearing) in wanted {
            match (self.deliver(receiver, &note, &from), hearing) {
                (_, Receipt::Withheld) => {}
                (true, Receipt::Given) => published.delivered += 1,
                (false, Receipt::Given) => published.full += 1,
            }
        }
        if published.full > 0 {
            let full = published.full;
            self.say("limit", format!("{full} clients have no room for a message of {from}"));
        }
        self.tell(realm, &Event::Published { call, published });
    }

    /// Whether there was room for it.
    fn deliver(&mut self, receiver: u32, note: &Note, from: &ProcessInfo) -> bool {
        let limits = &self.setup.limits;
        let size = note.size();
        // What is not acknowledged yet must not keep the client from hearing of its locks.
        let bytes_each = limits.message_bytes_per_client.min(limits.write_buffer / 2);
        let session = self.sessions.get_mut(&receiver);
        let Some(mailbox) = session.and_then(|session| session.mailbox.as_mut()) else {
            return false;
        };
        let there = mailbox.all();
        let has_room = there.count < limits.messages_per_client
            && there.bytes.saturating_add(size) <= bytes_each
            && self.mail.count < limits.messages
            && self.mail.bytes.saturating_add(size) <= limits.message_bytes;
        if !has_room {
            return false;
        }
        for counted in [&mut mailbox.sent, &mut self.mail] {
            counted.add(MessageTotals { count: 1, bytes: size });
        }
        let event = Event::Message { note: Box::new(note.clone()), from: from.clone() };
        self.tell(receiver, &event);
        true
    }
}

/// Whether the sender of a message learns that somebody was there to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    Given,
    Withheld,
}

/// Whether what one client says is for the other one to hear, by their namespaces (N5).
fn receipt(sender: &ServerSession, receiver: &ServerSession) -> Option<Receipt> {
    let (from, to) = (sender.namespace(), receiver.namespace());
    if from == to || sender.administers && to.starts_with(from) {
        return Some(Receipt::Given);
    }
    // What is said there is an administrator's business; that there is one is nobody's.
    (receiver.administers && from.starts_with(to)).then_some(Receipt::Withheld)
}

/// By its label; by its program's name, if it has none.
fn is_called(party: &ProcessInfo, name: &str) -> bool {
    party.label.as_deref().or(party.process.as_deref()) == Some(name)
}
