//! Whose list comes when (N6): a list takes as long as there are keys, and others have their turn
//! meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use locks_core::{ErrorKind, LockError, LockInfo, MAX_KEY_LEN, Moment, Query};

use super::Arbiter;
use super::session::ServerSession;
use crate::wire::Event;

/// The time that is spent on lists, and those that wait for theirs.
#[derive(Debug)]
pub(super) struct Lists {
    /// Sessions with lists that wait, in turn.
    turns: VecDeque<u32>,
    /// Until then the lists so far have used up their share of the server's time; on the boot
    /// clock.
    pub(super) paid_until: Moment,
    /// Sessions that have been told a part of a long list.
    long: Vec<u32>,
}

/// What a session asks for that takes as long as there are keys.
#[derive(Debug)]
pub(super) enum ListCall {
    Locks(Query),
    Status,
}

/// What is still to be told of a list that is too long to be told at once.
#[derive(Debug)]
pub(super) struct LongList {
    call: u64,
    parts: VecDeque<Event>,
    size: usize,
    /// When some of it was told last, on the boot clock.
    told: Moment,
}

/// Lists of one session that wait.
const PER_SESSION: usize = 16;

/// What there is to be done between two lists for each key that is looked at, and for each holder
/// and waiter that is told of: several times what that takes. So lists take up no more than a part
/// of the server's time, whoever asks for them.
const PER_KEY: Duration = Duration::from_nanos(200);
const PER_ENTRY: Duration = Duration::from_micros(4);

/// So much may come at a time.
const BURST: Duration = Duration::from_millis(100);

/// Long lists that are under way take so many times the `write_buffer` of one client at most, and
/// the last of them.
const LONG: usize = 16;

impl Default for Lists {
    fn default() -> Self {
        Self { turns: VecDeque::new(), paid_until: Moment::from_nanos(0), long: Vec::new() }
    }
}

impl Lists {
    /// When there is time for the next one; `None`: none waits.
    pub(super) fn next_at(&self) -> Option<Moment> {
        let nanos = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        let at = Moment::from_nanos(self.paid_until.nanos().saturating_sub(nanos));
        self.turns.front().map(|_| at)
    }
}

impl LongList {
    pub(super) fn new(call: u64, parts: Vec<Event>, size: usize, now: Moment) -> Self {
        Self { call, parts: parts.into(), size, told: now }
    }

    /// Bytes of what is still to be told.
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

impl Arbiter {
    /// Answers with a list, now or in its turn.
    pub(super) fn list(&mut self, realm: u32, call: u64, wanted: ListCall) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if let ListCall::Locks(Query::Key(text) | Query::Prefix(text)) = &wanted
            && text.len() > MAX_KEY_LEN
        {
            // There is no such key, and it is not to be kept until its turn comes.
            return Event::listed(call, [], 0).iter().for_each(|part| self.tell(realm, part));
        }
        if matches!(wanted, ListCall::Status) && session.namespace().is_empty() {
            // That takes no time.
            self.tell_status(realm, call);
            return;
        }
        let refused = match wanted {
            ListCall::Locks(_) if session.long_list.is_some() => Some(
                "a long list is being told to this client: ask again when it has been".to_owned(),
            ),
            _ if session.lists.len() >= PER_SESSION => {
                Some(format!("{PER_SESSION} lists of this client are to be told before"))
            }
            _ => None,
        };
        if let Some(why) = refused {
            let error = LockError::new(ErrorKind::LimitExceeded, "").with_message(why);
            return self.tell(realm, &Event::Refused { call, error });
        }
        if session.lists.is_empty() {
            self.lists.turns.push_back(realm);
        }
        session.lists.push_back((call, wanted));
        self.go_on_with_lists();
    }

    /// Tells the lists that there is time and room for.
    pub(super) fn go_on_with_lists(&mut self) {
        let now = self.now();
        while self.lists.next_at().is_some_and(|at| at <= now) && self.has_room_for_a_list(now) {
            let Some(realm) = self.lists.turns.pop_front() else { return };
            let Some(session) = self.sessions.get_mut(&realm) else { continue };
            let Some((call, wanted)) = session.lists.pop_front() else { continue };
            if !session.lists.is_empty() {
                self.lists.turns.push_back(realm);
            }
            let cost = match wanted {
                ListCall::Locks(query) => self.inspect(realm, call, query),
                ListCall::Status => self.tell_status(realm, call),
            };
            self.lists.paid_until = self.lists.paid_until.max(now).after(cost);
        }
    }

    /// When there is something to be done for those that wait.
    pub(super) fn next_list_at(&self) -> Option<Moment> {
        let at = self.lists.next_at()?;
        if self.long_lists().map(LongList::size).sum::<usize>() < self.room_for_lists() {
            return Some(at);
        }
        let stalled = self.long_lists().map(|list| list.told.after(self.setup.limits.patience));
        stalled.min().map(|stalled| stalled.max(at))
    }

    /// Tells as much more of a long list as the client has taken in before.
    pub(super) fn go_on_listing(&mut self, realm: u32) {
        let most = self.setup.limits.write_buffer / 2;
        let now = self.now();
        while let Some(session) = self.sessions.get_mut(&realm)
            && let Some(list) = &mut session.long_list
        {
            let Some(part) = list.parts.pop_front() else {
                session.long_list = None;
                return;
            };
            let (kept, _) = session.channel.kept();
            if kept > 0 && kept + part.size() > most {
                list.parts.push_front(part);
                return;
            }
            list.size -= part.size();
            list.told = now;
            self.tell(realm, &part);
        }
    }

    /// Begins with a list that is too long to be told at once: its connection would be closed over
    /// it, again and again, with all that it has to say.
    pub(super) fn begin_to_list(&mut self, realm: u32, list: LongList) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        session.long_list = Some(list);
        self.lists.long.push(realm);
        self.go_on_listing(realm);
    }

    /// Whether what is to be told of long lists leaves room for another list. Those that their
    /// clients do not take in make way.
    fn has_room_for_a_list(&mut self, now: Moment) -> bool {
        let sessions = &self.sessions;
        let is_told = |realm: &u32| sessions.get(realm).is_some_and(|it| it.long_list.is_some());
        self.lists.long.retain(is_told);
        let patience = self.setup.limits.patience;
        loop {
            if self.long_lists().map(LongList::size).sum::<usize>() < self.room_for_lists() {
                return true;
            }
            let stalled = self.lists.long.iter().copied().find(|realm| {
                let list = self.sessions.get(realm).and_then(|it| it.long_list.as_ref());
                list.is_some_and(|list| list.told.after(patience) <= now)
            });
            let Some(realm) = stalled else { return false };
            let list = self.sessions.get_mut(&realm).and_then(|it| it.long_list.take());
            let Some(LongList { call, .. }) = list else { return false };
            let why = "the client takes the list in too slowly, and others want theirs";
            let error = LockError::new(ErrorKind::LimitExceeded, "").with_message(why);
            self.tell(realm, &Event::Refused { call, error });
        }
    }

    fn room_for_lists(&self) -> usize {
        LONG * self.setup.limits.write_buffer
    }

    fn long_lists(&self) -> impl Iterator<Item = &LongList> {
        let sessions = self.lists.long.iter().filter_map(|realm| self.sessions.get(realm));
        sessions.filter_map(|session: &ServerSession| session.long_list.as_ref())
    }

    /// What a list costs, which is made by looking at all keys or at one.
    pub(super) fn cost_of_list(&self, looks_at_all: bool, infos: &[LockInfo]) -> Duration {
        let keys = if looks_at_all { self.engine.known_keys() } else { 0 };
        let entries = infos.iter().map(|info| 1 + info.holders.len() + info.waiters.len());
        let times = |each: Duration, count| each * u32::try_from(count).unwrap_or(u32::MAX);
        times(PER_KEY, keys) + times(PER_ENTRY, 1 + entries.sum::<usize>())
    }
}
