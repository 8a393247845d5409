//! What clients ask for.

use locks_core::{ErrorKind, LockError, LostCause, Op, OwnerId};

use super::acquisitions::ACQUISITION;
use super::connection::CloseReason;
use super::lists::ListCall;
use super::session::{Journaled, MessageTotals, Requested, ServerHold};
use super::{Arbiter, ConnId};
use crate::journal::Record;
use crate::wire::{Call, Event, Malformed};

impl Arbiter {
    pub(super) fn apply(&mut self, id: ConnId, realm: u32, call: Call) -> Result<(), CloseReason> {
        match call {
            Call::Acquire(acquire) => self.acquire(realm, *acquire)?,
            Call::End { request } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if session.requests.get(&request).is_some_and(Requested::is_held) {
                    session.owe_word(false);
                }
                self.end(realm, request);
            }
            Call::Refresh { call, request } => self.refresh(realm, call, request),
            Call::Disown { request } => self.detach_owner(realm, request),
            Call::Done { request } => self.done(realm, request),
            Call::Share { call, request } => self.share(realm, call, request),
            Call::Inspect { call, query } => self.list(realm, call, ListCall::Locks(query)),
            Call::Evict { call, key, token } => self.evict(realm, call, key, token),
            Call::Status { call } => self.list(realm, call, ListCall::Status),
            Call::Site { id, text } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if !session.add_site(id, &text) {
                    return Err(Malformed("the number of a call site is not the next one").into());
                }
            }
            Call::Name { thread, text } => {
                self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?.name(thread, text);
            }
            Call::Holding { held, pending, more } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if !session.name_requests(held, pending, self.setup.limits.requests_per_session) {
                    return Err(Malformed("more is said to be held than was granted").into());
                }
                if !more {
                    self.keep_only(realm);
                }
            }
            Call::Publish { call, publish } => self.publish(realm, call, *publish),
            Call::Mailbox { call, open, count, bytes } => {
                self.set_mailbox(realm, open, mail_of(count, bytes));
                self.tell(realm, &Event::Done { call });
            }
            Call::Taken { count, bytes } => self.taken(realm, mail_of(count, bytes)),
            Call::Ping => self.acknowledge(id, 1),
            Call::Bye => {
                self.end_session(realm, None);
                return Err(CloseReason::Over);
            }
        }
        Ok(())
    }

    fn refresh(&mut self, realm: u32, call: u64, request: u64) {
        let at = self.time_awake();
        if let Err(why) = self.has_room_to_write(REFRESHED) {
            let why =
                format!("the lock server cannot write down that the hold was refreshed: {why}");
            let error = LockError::new(ErrorKind::Unavailable, "").with_message(why);
            return self.tell(realm, &Event::Refused { call, error });
        }
        let held = self.held(realm, request);
        let refreshed = held.map(|held| self.engine.refresh(&held.hold));
        let event = match refreshed {
            Some(Op::Now(Ok(()))) => {
                self.record(&Record::Refreshed { realm, request, at });
                Event::Done { call }
            }
            Some(Op::Now(Err(error))) => Event::Refused { call, error: self.describe_error(error) },
            Some(Op::Later(_)) => unreachable!("an engine without an upstream refreshes at once"),
            None => Event::Refused { call, error: forgotten() },
        };
        self.tell(realm, &event);
    }

    /// What was done under a hold has succeeded (C14).
    fn done(&mut self, realm: u32, request: u64) {
        if let Some(held) = self.held(realm, request).filter(|held| held.lost.is_none()) {
            self.engine.mark_done(&held.hold);
            if self.is_first(realm, request, |said| &mut said.done) {
                self.record(&Record::Done { realm, request });
            }
        }
    }

    /// A hold is a shared one from now on (C9). Those who get in by that are told afterwards.
    fn share(&mut self, realm: u32, call: u64, request: u64) {
        let held = self.held(realm, request);
        let event = match held.map(|held| self.engine.share(&held.hold)) {
            Some(Op::Now(Ok(()))) => {
                if self.is_first(realm, request, |said| &mut said.shared) {
                    self.record(&Record::Shared { realm, request });
                }
                Event::Done { call }
            }
            Some(Op::Now(Err(error))) => {
                let error = self.bounded(realm, self.describe_error(error));
                Event::Refused { call, error }
            }
            Some(Op::Later(_)) => unreachable!("an engine without an upstream shares at once"),
            None => Event::Refused { call, error: forgotten() },
        };
        self.tell(realm, &event);
    }

    fn detach_owner(&mut self, realm: u32, request: u64) {
        if let Some(held) = self.held(realm, request).filter(|held| held.lost.is_none()) {
            // It remains this session's.
            self.engine
                .detach_owner_to(&held.hold, OwnerId::from_parts(realm, ACQUISITION, request));
            if self.is_first(realm, request, |said| &mut said.disowned) {
                self.record(&Record::Disowned { realm, request });
            }
        }
    }

    /// Whether that is said of a guard for the first time: it is written down then, as there is
    /// room for it once.
    fn is_first(
        &mut self,
        realm: u32,
        request: u64,
        which: impl FnOnce(&mut Journaled) -> &mut bool,
    ) -> bool {
        let session = self.sessions.get_mut(&realm);
        match session.and_then(|it| it.requests.get_mut(&request)) {
            Some(Requested::Held(held)) => !std::mem::replace(which(&mut held.said), true),
            Some(Requested::Waiting(_)) | None => false,
        }
    }

    pub(super) fn held(&self, realm: u32, request: u64) -> Option<&ServerHold> {
        match self.sessions.get(&realm)?.requests.get(&request)? {
            Requested::Held(held) if !held.is_untold => Some(held),
            Requested::Held(_) | Requested::Waiting(_) => None,
        }
    }
}

/// What is written of a refreshed hold, in bytes.
const REFRESHED: usize = 64;

/// What a client says that it has of messages.
fn mail_of(count: u32, bytes: u64) -> MessageTotals {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    MessageTotals { count, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

fn forgotten() -> LockError {
    LockError::new(ErrorKind::Lost { cause: LostCause::Forgotten }, "")
}
