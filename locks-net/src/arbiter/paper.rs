//! What is granted has to be written down first, and what can follow from it too (N6).

use std::collections::VecDeque;
use std::time::Duration;

use locks_core::{ErrorKind, LockError, Moment, Token};

use super::session::Requested;
use super::{Arbiter, Promise};
use crate::journal::{Grant, Record};
use crate::wire::Acquire;

/// The place that records take, and what waits for some.
pub(super) struct Paper {
    promise: Promise,
    /// So many guards are written down and have not ended.
    pub(super) guards: usize,
    /// The number of guards that were taken away and are still in snapshots: those in
    /// [`ServerSession::lost_before`] and those that their clients have not given up.
    ///
    /// [`ServerSession::lost_before`]: super::session::ServerSession::lost_before
    pub(super) lost: usize,
    /// So many sessions are.
    pub(super) sessions: usize,
    /// What the engine has granted to requests that waited, and could not be written down: nobody
    /// has been told. No other grant is written before the first of them: it may be nested in that.
    untold: VecDeque<(u32, u64)>,
    try_again_at: Option<Moment>,
}

/// Most that the end of a guard takes, and that it has left its thread, is shared, and was done.
pub(super) const END: usize = 112;

/// Most that a session takes, without its texts, and its end.
const SESSION: usize = 256;

/// Most that one key of a grant takes, without the key, the call site and the label.
const MEMBER: usize = 160;

/// Others may be granted meanwhile, between what is asked for before and after.
const AHEAD: u64 = 1 << 16;

/// How often it is tried whether there is room again.
const PAUSE: Duration = Duration::from_millis(100);

impl Paper {
    pub(super) fn new(promise: Promise) -> Self {
        Self {
            promise,
            guards: 0,
            lost: 0,
            sessions: 0,
            untold: VecDeque::new(),
            try_again_at: None,
        }
    }

    pub(super) fn try_again_at(&self) -> Option<Moment> {
        self.try_again_at
    }

    /// Room for so many bytes beside those that are `unwritten` yet, and for all ends that can
    /// follow.
    fn has_room(
        &mut self,
        token: Token,
        lease: Duration,
        unwritten: usize,
        bytes: usize,
    ) -> Result<(), String> {
        let ends = (self.guards + self.lost + 1) * END + (self.sessions + 1) * SESSION;
        (self.promise)(token, lease, unwritten + bytes + ends)
    }
}

impl Arbiter {
    /// Whether what is asked for could be written down, were it granted.
    pub(super) fn can_write(&mut self, realm: u32, acquire: &Acquire) -> Result<(), LockError> {
        let Some(session) = self.sessions.get(&realm) else { return Ok(()) };
        let lease = match session.is_leased() {
            true => session.promise(acquire.options.lease),
            false => Duration::ZERO,
        };
        let site = session.site(acquire.site).flatten().map_or(0, |_| 512);
        let label = acquire.label.as_ref().map_or(0, |label| label.len());
        let keys = acquire.keys.iter().map(|key| key.len() + site + label + MEMBER);
        let bytes = keys.sum::<usize>() + session.texts();
        let token = Token::new(self.promised.0.get() + AHEAD);
        let unwritten = self.journal.len();
        self.paper.has_room(token, lease, unwritten, bytes).map_err(|why| {
            let key = acquire.keys.first().map_or("", String::as_str);
            let why = format!(
                "the lock server grants nothing before it is written down, and cannot write: {why}"
            );
            LockError::new(ErrorKind::Unavailable, key).with_message(why)
        })
    }

    /// Whether one more record of so many bytes can be written down without taking the room of
    /// another.
    pub(super) fn has_room_to_write(&mut self, bytes: usize) -> Result<(), String> {
        let (token, unwritten) = (self.promised.0, self.journal.len());
        self.paper.has_room(token, Duration::ZERO, unwritten, bytes)
    }

    /// Writes a grant down, and the session it is the first one of. Otherwise it waits to be told.
    pub(super) fn write_grant(&mut self, grant: Grant) -> bool {
        let (realm, request, lease) = (grant.realm, grant.request, grant.lease);
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        let Some(session) = self.sessions.get(&realm) else { return false };
        let is_new = !session.is_recorded;
        if is_new {
            Record::Session(session.record()).encode(&mut record);
        }
        let lease = if session.is_leased() { lease } else { Duration::ZERO };
        Record::Grant(grant).encode(&mut record);
        let (token, unwritten) = (self.promised.0, self.journal.len());
        let has_room = self.paper.untold.is_empty()
            && self.paper.has_room(token, lease, unwritten, record.len()).is_ok();
        if has_room {
            self.paper.guards += 1;
            if is_new {
                self.paper.sessions += 1;
                self.sessions.get_mut(&realm).into_iter().for_each(|it| it.is_recorded = true);
            }
            #[cfg(test)]
            if self.broken == Some(crate::simulation::Bug::GrantNotWritten) {
                record.clear();
            }
            self.journal.extend_from_slice(&record);
        } else {
            self.paper.untold.push_back((realm, request));
            self.paper.try_again_at = Some(self.now().after(PAUSE));
        }
        self.scratch = record;
        has_room
    }

    /// Tells those who have waited for room what they were granted, as far as there is room now.
    pub(super) fn tell_untold(&mut self) {
        let now = self.now();
        if self.paper.try_again_at.is_none_or(|at| now < at) {
            return;
        }
        self.paper.try_again_at = None;
        for (realm, request) in std::mem::take(&mut self.paper.untold) {
            let Some(session) = self.sessions.get(&realm) else { continue };
            let Some(Requested::Held(held)) = session.requests.get(&request) else { continue };
            if !held.is_untold {
                continue;
            }
            let (token, lease) = (held.hold.token(), session.promise(held.lease()));
            let members = self.members(&held.hold);
            if self.write_grant(Grant { realm, request, lease, members }) {
                let held =
                    self.sessions.get_mut(&realm).and_then(|it| it.requests.get_mut(&request));
                if let Some(Requested::Held(held)) = held {
                    held.is_untold = false;
                }
                self.tell_granted(realm, request, token);
            }
        }
    }
}
