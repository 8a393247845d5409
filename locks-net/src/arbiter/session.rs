use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use locks_core::{CallSite, Granted, Hold, LostCause, Moment, Op, OwnerId, ProcessInfo};

use super::ConnId;
use super::figures::stamp;
use super::leases::{RequestLeases, in_millis, millis};
use super::lists::{ListCall, LongList};
use crate::access::Access;
use crate::channel::Channel;
use crate::journal::{LostGuards, SessionKind, SessionRecord};

/// How many messages, and how many bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageTotals {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// What a client has of messages that it has not taken yet, or that are on their way to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MailboxUsage {
    /// What it has said that it had when it wanted messages: its word alone, which takes up nothing
    /// of what all clients may have.
    pub(super) said: MessageTotals,
    /// What was sent to it since.
    pub(super) sent: MessageTotals,
}

impl MessageTotals {
    pub(super) fn add(&mut self, more: MessageTotals) {
        self.count = self.count.saturating_add(more.count);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// Takes so much out, if it is there; what was taken.
    pub(super) fn take(&mut self, wanted: MessageTotals) -> MessageTotals {
        let taken = MessageTotals {
            count: wanted.count.min(self.count),
            bytes: wanted.bytes.min(self.bytes),
        };
        self.count -= taken.count;
        self.bytes -= taken.bytes;
        taken
    }
}

impl MailboxUsage {
    pub(super) fn all(&self) -> MessageTotals {
        let mut all = self.said;
        all.add(self.sent);
        all
    }
}

/// One client, connected or not.
pub(super) struct ServerSession {
    pub(super) realm: u32,
    pub(super) secret: [u8; 16],
    pub(super) party: ProcessInfo,
    pub(super) kept: SessionKind,
    pub(super) lease: Duration,
    /// The name of the client that it belongs to, over TCP.
    pub(super) client: Option<String>,
    /// What that may do; `None`: everything.
    pub(super) access: Option<Access>,
    /// It may release what others hold (N9), and be told what others say (N8).
    pub(super) administers: bool,
    pub(super) channel: Channel,
    pub(super) connection: Option<ConnId>,
    /// When its newest frame arrived, on the boot clock.
    pub(super) heard: Moment,
    /// When it was begun, or the server; on the boot clock.
    pub(super) began: Moment,
    /// What was over by then for want of renewal has ended; on the boot clock.
    pub(super) checked: Moment,
    /// When it ends unless it is resumed: its connection has ended although its process lives.
    pub(super) ends_at: Option<Moment>,
    /// The deadline that is set for it, no later than the one that it has.
    pub(super) alarm: Option<Moment>,
    /// It came out of the journal, and its client has not said yet what still matters.
    pub(super) is_restored: bool,
    /// The frame whose acknowledgement tells its client what has become of all that it has released
    /// (C4).
    pub(super) word_with: u64,
    /// The guards that earlier servers took away from it, kept until its client says `Holding`: an
    /// `End` of one may have been under way, and is answered by `Lost` then (C4).
    pub(super) lost_before: LostGuards,
    /// The journal has it: from its first grant on.
    pub(super) is_recorded: bool,
    /// What it has said so far still matters: held, and asked for. Of the latter only what is in
    /// `requests`.
    pub(super) named: (HashSet<u64>, HashSet<u64>),
    /// By [`put_request`](Self::put_request) and [`take_request`](Self::take_request) alone.
    pub(super) requests: HashMap<u64, Requested, foldhash::fast::RandomState>,
    /// Those of `requests` that are not the session's; none if that is kept by its process.
    pub(super) leases: RequestLeases,
    /// What is still to be told of a list that is too long to be told at once.
    pub(super) long_list: Option<LongList>,
    /// Lists that it waits for, by the numbers of the calls.
    pub(super) lists: VecDeque<(u64, ListCall)>,
    /// It wants messages (N8).
    pub(super) mailbox: Option<MailboxUsage>,
    sites: Vec<Option<CallSite>>,
    names: HashMap<u64, String>,
}

/// A request that waits or was granted. By its number, and so once.
pub(super) enum Requested {
    Waiting(Box<WaitingRequest>),
    Held(ServerHold),
}

pub(super) struct WaitingRequest {
    pub(super) op: Op<'static, Granted>,
    pub(super) lease: Option<Duration>,
    /// Since when, on the clock of the time awake.
    pub(super) asked: Moment,
}

/// A guard.
pub(super) struct ServerHold {
    pub(super) hold: Hold,
    /// Its place among all grants.
    pub(super) order: u64,
    /// In milliseconds; 0 for the session's.
    lease: u32,
    /// When, as [`stamp`](super::figures::stamp) has it.
    pub(super) granted: u32,
    /// It could not be written down yet, and its client waits for it as before.
    pub(super) is_untold: bool,
    /// What was written of it since this server began.
    pub(super) said: Journaled,
    /// It has ended, and its client has been told. It stays until that gives it up.
    pub(super) lost: Option<LostCause>,
}

/// What is written of a guard, once each, as there is room for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Journaled {
    pub(super) disowned: bool,
    pub(super) done: bool,
    pub(super) shared: bool,
}

impl Requested {
    pub(super) const fn is_held(&self) -> bool {
        matches!(self, Requested::Held(_))
    }

    /// Its own lease, if that is not the session's.
    pub(super) fn lease(&self) -> Option<Duration> {
        match self {
            Requested::Waiting(waiting) => waiting.lease.map(in_millis),
            Requested::Held(held) => held.lease(),
        }
    }
}

impl ServerHold {
    pub(super) fn new(hold: Hold, order: u64, lease: Option<Duration>, at: Moment) -> Self {
        let lease = lease.map_or(0, millis);
        Self {
            hold,
            order,
            lease,
            granted: stamp(at),
            is_untold: false,
            said: Journaled::default(),
            lost: None,
        }
    }

    /// Its own lease, if that is not the session's.
    pub(super) fn lease(&self) -> Option<Duration> {
        (self.lease > 0).then(|| Duration::from_millis(self.lease.into()))
    }
}

/// The kind of [owners](OwnerId::to_parts) that are threads.
const THREAD: u8 = 1;

/// So many names of threads are remembered for a session.
const NAMES: usize = 1024;

/// Room for so many requests is no reason to look for less.
const ROOMY: usize = 1024;

/// So many call sites.
const SITES: usize = 16_384;

impl ServerSession {
    pub(super) fn new(record: SessionRecord, now: Moment) -> Self {
        let SessionRecord { realm, secret, party, kept, lease, client } = record;
        Self {
            realm,
            secret,
            party,
            kept,
            lease,
            client,
            access: None,
            administers: false,
            channel: Channel::default(),
            connection: None,
            heard: now,
            began: now,
            checked: Moment::from_nanos(0),
            ends_at: None,
            alarm: None,
            is_restored: false,
            word_with: 0,
            lost_before: LostGuards::new(),
            is_recorded: false,
            named: Default::default(),
            requests: HashMap::default(),
            leases: RequestLeases::default(),
            long_list: None,
            lists: VecDeque::new(),
            mailbox: None,
            sites: Vec::new(),
            names: HashMap::new(),
        }
    }

    pub(super) fn record(&self) -> SessionRecord {
        SessionRecord {
            realm: self.realm,
            secret: self.secret,
            party: self.party.clone(),
            kept: self.kept,
            lease: self.lease,
            client: self.client.clone(),
        }
    }

    /// Its client begins anew: with numbers, sites and names.
    pub(super) fn start_over(&mut self) {
        self.channel = Channel::default();
        self.word_with = 0;
        self.named = Default::default();
        self.long_list = None;
        self.lists = VecDeque::new();
        self.sites.clear();
        self.names.clear();
    }

    /// For how long what is granted to it with this lease of its own is promised.
    pub(super) fn promise(&self, lease: Option<Duration>) -> Duration {
        lease.unwrap_or(self.lease)
    }

    /// How many bytes its texts take.
    pub(super) fn texts(&self) -> usize {
        let ProcessInfo { label, host, process, .. } = &self.party;
        [label, host, process, &self.client].into_iter().flatten().map(|text| text.len()).sum()
    }

    /// What all keys begin with that it may lock and see.
    pub(super) fn namespace(&self) -> &str {
        self.access.as_ref().map_or("", |access| &access.namespace)
    }

    pub(super) fn is_leased(&self) -> bool {
        self.kept == SessionKind::ByLease
    }

    /// When the next thing ends by itself; on the boot clock.
    pub(super) fn deadline(&self) -> Option<Moment> {
        if !self.is_leased() {
            return self.ends_at;
        }
        let ends = self.leases.of_holds().chain([self.lease]).map(|lease| self.heard.after(lease));
        ends.filter(|end| *end > self.checked).min()
    }

    /// When nothing of it is left; on the boot clock.
    pub(super) fn end(&self) -> Option<Moment> {
        if !self.is_leased() {
            return self.ends_at;
        }
        self.leases.of_holds().chain([self.lease]).max().map(|longest| self.heard.after(longest))
    }

    /// Something has been released, which the acknowledgement of the frame tells that was applied
    /// last, or of the one behind it.
    pub(super) fn owe_word(&mut self, behind: bool) {
        self.word_with = self.channel.applied() + u64::from(behind);
    }

    /// Whether its client may not know yet what has become of what it has released. A process of
    /// this machine has what its socket has taken, even if the server ends.
    pub(super) fn may_lack_word(&self) -> bool {
        self.is_leased() && self.channel.passed() < self.word_with
    }

    pub(super) fn put_request(&mut self, request: u64, requested: Requested) {
        if self.is_leased() {
            self.leases.count(requested.lease(), requested.is_held());
        }
        self.requests.insert(request, requested);
    }

    /// Takes a request out, and after a crowd gives back the room that it took.
    pub(super) fn take_request(&mut self, request: u64) -> Option<Requested> {
        let taken = self.requests.remove(&request);
        if let Some(taken) = &taken
            && self.is_leased()
        {
            self.leases.discount(taken.lease(), taken.is_held());
        }
        if self.requests.capacity() > ROOMY && self.requests.len() < self.requests.capacity() / 8 {
            self.requests.shrink_to(2 * self.requests.len());
        }
        taken
    }

    /// What still matters, or more of it. Whether it can hold so much, at `most` requests for a
    /// session.
    pub(super) fn name_requests(&mut self, held: Vec<u64>, pending: Vec<u64>, most: usize) -> bool {
        let (named_held, named_pending) = &mut self.named;
        named_held.extend(held);
        // Of what is not here nothing has to be kept, and it is asked for again.
        named_pending.extend(pending.iter().filter(|request| self.requests.contains_key(request)));
        // The limit may have been higher when they were granted.
        named_held.len() <= most.max(self.requests.len())
    }

    /// The next call site. Whether its number is the one that is due.
    pub(super) fn add_site(&mut self, id: u32, text: &str) -> bool {
        if id as usize != self.sites.len() + 1 || self.sites.len() >= SITES {
            return false;
        }
        self.sites.push(CallSite::interned(text));
        true
    }

    /// A call site by number; `None` for one that was not introduced. 0 is none.
    #[expect(clippy::option_option, reason = "no site and a wrong number are different things")]
    pub(super) fn site(&self, id: u32) -> Option<Option<CallSite>> {
        match id.checked_sub(1) {
            None => Some(None),
            Some(index) => self.sites.get(index as usize).copied(),
        }
    }

    pub(super) fn name(&mut self, thread: u64, text: String) {
        if self.names.len() < NAMES || self.names.contains_key(&thread) {
            self.names.insert(thread, text);
        }
    }

    /// What one of its owners calls itself (C12).
    pub(super) fn describe(&self, owner: OwnerId) -> Option<String> {
        let (_, kind, number) = owner.to_parts();
        match self.names.get(&number).filter(|_| kind == THREAD) {
            Some(name) => Some(format!("thread `{name}`")),
            // Its client has yet to say what it is called; a number of its own tells nobody
            // anything.
            None if self.is_restored => None,
            None => owner.describe(),
        }
    }
}
