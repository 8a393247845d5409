use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map};

use locks_core::{LostCause, Mode, Moment, OwnerId, Token};

use super::codec::{Corrupt, Records};
use super::record::{Grant, LostGuards, Member, Record, Reserved, SessionRecord};

/// What records add up to: the sessions, the guards that live, in the order they were granted in,
/// and the reservations.
///
/// * L1: a guard is in `guards` and in `numbers` or in neither, and is counted by its session.
/// * L2: a hold is in `holds` as long as one of its guards is in `guards`, and lists just those.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    sessions: BTreeMap<u32, LedgerSession>,
    /// By a number that counts the grants.
    guards: BTreeMap<u64, Grant>,
    numbers: HashMap<(u32, u64), u64>,
    holds: HashMap<String, BTreeMap<Token, LedgerHold>>,
    reserved: BTreeMap<(String, Token), Reserved>,
    next: u64,
    greatest: Token,
}

#[derive(Clone, Debug)]
struct LedgerSession {
    record: SessionRecord,
    /// How many guards it has.
    guards: usize,
    /// Guards that were taken away from its client, which it may not have heard of.
    lost: LostGuards,
}

/// One hold of a key, as the engine has it: a nest of guards, of which the first may be gone.
#[derive(Clone, Debug)]
struct LedgerHold {
    /// Each nested in the one before it.
    guards: BTreeSet<u64>,
    since: Option<Moment>,
    reserved_until: Option<Moment>,
    if_done: bool,
    is_done: bool,
    ends_at: Option<Moment>,
    /// When guards of it were lost last, and the strongest mode of those: what is lost together is
    /// told of one by one, and was one hold.
    lost: Option<(Moment, Mode)>,
}

/// How a guard ended.
#[derive(Clone, Copy)]
struct End {
    cause: Option<LostCause>,
    at: Moment,
}

impl Ledger {
    /// What these bytes add up to, and how many of them count.
    ///
    /// # Errors
    /// They are damaged, or do not follow from each other.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, usize), Corrupt> {
        let (mut ledger, mut records) = (Self::default(), Records::new(bytes));
        loop {
            let offset = records.offset();
            let Some(record) = records.next()? else { return Ok((ledger, offset)) };
            ledger.apply(record).map_err(|why| Corrupt { offset, why })?;
        }
    }

    /// Sessions, each with what its client has lost; guards in the order they were granted in;
    /// reservations.
    pub(crate) fn into_parts(
        mut self,
    ) -> (Vec<(SessionRecord, LostGuards)>, Vec<Grant>, Vec<Reserved>) {
        let guards = std::mem::take(&mut self.guards);
        let guards =
            guards.into_iter().map(|(number, guard)| self.as_of_now(number, guard)).collect();
        let sessions = self.sessions.into_values().map(|session| (session.record, session.lost));
        let sessions = sessions.collect();
        (sessions, guards, self.reserved.into_values().collect())
    }

    /// Goes on by one record.
    ///
    /// The end of a guard, or of a reservation, that is over already changes nothing: a guard goes
    /// together with the hold it is nested in and with the rest of its keys, and then is told of
    /// itself.
    ///
    /// # Errors
    /// Why it does not follow from those before. The ledger is of no use then.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Session(session) => self.begin(session)?,
            Record::Gone { realm } => match self.session(realm)?.guards {
                0 => drop(self.sessions.remove(&realm)),
                _ => return Err("a session is over that still holds something"),
            },
            Record::Grant(grant) => self.grant(grant)?,
            Record::Ended { realm, request, cause, at } => {
                if let Some(number) = self.number(realm, request)? {
                    self.end(number, End { cause, at });
                }
                self.lose(realm, request, cause);
            }
            Record::Refreshed { realm, request, at } => self.refresh(realm, request, at)?,
            Record::Disowned { realm, request } => {
                let number = self.number(realm, request)?;
                if let Some(guard) = number.and_then(|number| self.guards.get_mut(&number)) {
                    guard.members.iter_mut().for_each(detach_owner);
                }
            }
            Record::Done { realm, request } => self.done(realm, request)?,
            Record::Shared { realm, request } => {
                let number = self.number(realm, request)?;
                if let Some(guard) = number.and_then(|number| self.guards.get_mut(&number)) {
                    guard.members.iter_mut().for_each(|member| member.mode = Mode::Shared);
                }
            }
            Record::Reserved(reserved) => {
                self.greatest = self.greatest.max(reserved.token);
                self.reserved.insert((reserved.key.clone(), reserved.token), reserved);
            }
            Record::Freed { key, token } => {
                self.reserved.remove(&(key, token));
            }
        }
        Ok(())
    }

    /// The shortest journal that adds up to the same, without the reservations that are over by
    /// `now`.
    pub(crate) fn records(&self, now: Moment) -> Vec<Record> {
        let sessions = self.sessions.values().flat_map(|session| {
            let lost = ends_of(session.record.realm, &session.lost, now);
            std::iter::once(Record::Session(session.record.clone())).chain(lost)
        });
        let guards = self.guards.iter();
        let guards = guards.map(|(number, guard)| self.as_of_now(*number, guard.clone()));
        let reserved = self.reserved.values().filter(|reserved| reserved.until > now).cloned();
        let reserved = reserved.map(Record::Reserved);
        sessions.chain(guards.map(Record::Grant)).chain(reserved).collect()
    }

    /// All of it as bytes, with reservations that may be over.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.records(Moment::from_nanos(0)).iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    /// The greatest token that it was told of, also of what is over.
    pub(super) const fn greatest_token(&self) -> Token {
        self.greatest
    }

    fn begin(&mut self, record: SessionRecord) -> Result<(), &'static str> {
        match self.sessions.entry(record.realm) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(LedgerSession { record, guards: 0, lost: LostGuards::new() });
            }
            btree_map::Entry::Occupied(mut entry) if entry.get().record.secret == record.secret => {
                entry.get_mut().record = record;
            }
            btree_map::Entry::Occupied(_) => {
                return Err("a session has the number of one that is not over");
            }
        }
        Ok(())
    }

    fn refresh(&mut self, realm: u32, request: u64, at: Moment) -> Result<(), &'static str> {
        let number = self.number(realm, request)?;
        let Some(guard) = number.and_then(|number| self.guards.get(&number)) else { return Ok(()) };
        for member in &guard.members {
            let holds = self.holds.get_mut(&member.key);
            if let Some(held) = holds.and_then(|holds| holds.get_mut(&member.outer)) {
                held.since = held.since.map(|_| at);
            }
        }
        Ok(())
    }

    fn done(&mut self, realm: u32, request: u64) -> Result<(), &'static str> {
        let Some(number) = self.number(realm, request)? else { return Ok(()) };
        let Some(guard) = self.guards.get(&number) else { return Ok(()) };
        for member in &guard.members {
            let holds = self.holds.get_mut(&member.key);
            if let Some(held) = holds.and_then(|holds| holds.get_mut(&member.outer)) {
                // Of a nest the guard counts that is outermost among those left, also after a
                // compaction.
                held.is_done |= held.guards.first() == Some(&number);
            }
        }
        Ok(())
    }

    fn grant(&mut self, grant: Grant) -> Result<(), &'static str> {
        let session = self.sessions.get_mut(&grant.realm).ok_or(NO_SESSION)?;
        if grant.members.is_empty() {
            return Err("a guard has no keys");
        }
        if !grant.members.is_sorted_by(|a, b| a.key < b.key) {
            return Err("the keys of a guard are out of order");
        }
        let (number, request) = (self.next, grant.request);
        match self.numbers.entry((grant.realm, request)) {
            hash_map::Entry::Occupied(_) => return Err("a request was granted twice"),
            hash_map::Entry::Vacant(entry) => entry.insert(number),
        };
        for member in &grant.members {
            if !self.holds.contains_key(&member.key) {
                self.holds.insert(member.key.clone(), BTreeMap::new());
            }
            let holds = self.holds.get_mut(&member.key).expect("it was just put there");
            if !member.nested && holds.contains_key(&member.outer) {
                return Err("a token was granted twice");
            }
            let held = holds.entry(member.outer).or_insert_with(|| LedgerHold::begun(member));
            held.guards.insert(number);
            self.greatest = self.greatest.max(member.token).max(member.outer);
        }
        self.guards.insert(number, grant);
        session.guards += 1;
        session.lost.remove(&request);
        self.next += 1;
        Ok(())
    }

    /// Ends a guard, and with it what is lost together with it.
    fn end(&mut self, number: u64, end: End) {
        let mut numbers = vec![number];
        while let Some(number) = numbers.pop() {
            let Some(guard) = self.guards.remove(&number) else { continue };
            self.numbers.remove(&(guard.realm, guard.request));
            if let Some(session) = self.sessions.get_mut(&guard.realm) {
                session.guards -= 1;
            }
            self.lose(guard.realm, guard.request, end.cause);
            for member in &guard.members {
                self.leave(member, number, end, &mut numbers);
            }
        }
    }

    fn lose(&mut self, realm: u32, request: u64, cause: Option<LostCause>) {
        if let (Some(cause), Some(session)) = (cause, self.sessions.get_mut(&realm)) {
            session.lost.insert(request, cause);
        }
    }

    /// The guard is no longer in this hold. Who is lost by that is added to `lost`.
    fn leave(&mut self, member: &Member, number: u64, end: End, lost: &mut Vec<u64>) {
        let Some(holds) = self.holds.get_mut(&member.key) else { return };
        let Some(held) = holds.get_mut(&member.outer) else { return };
        let is_first = held.guards.first() == Some(&number);
        held.guards.remove(&number);
        let mut mode = held.mode_at(member.mode, end);
        // One with a token of its own may have been lost by another of its keys.
        if is_first && member.token == member.outer && end.cause.is_some() {
            // It was not given back but taken away, with all that is nested in it.
            for number in std::mem::take(&mut held.guards) {
                let members = self.guards.get(&number).map(|guard| &*guard.members);
                let own = members.unwrap_or_default().iter().find(|own| own.key == member.key);
                mode = own.map_or(mode, |own| stronger(mode, own.mode));
                lost.push(number);
            }
        }
        if !held.guards.is_empty() {
            return;
        }
        let until = held.reserved_until.filter(|until| *until > end.at);
        let reserves = !held.if_done || held.is_done && end.cause.is_none();
        if let Some(until) = until.filter(|_| reserves && end.cause != Some(LostCause::Evicted)) {
            let (key, token) = (member.key.clone(), member.outer);
            self.reserved.insert((key.clone(), token), Reserved { key, mode, token, until });
        }
        holds.remove(&member.outer);
        if holds.is_empty() {
            self.holds.remove(&member.key);
        }
    }

    fn session(&self, realm: u32) -> Result<&LedgerSession, &'static str> {
        self.sessions.get(&realm).ok_or(NO_SESSION)
    }

    /// `None`: the guard is over.
    fn number(&self, realm: u32, request: u64) -> Result<Option<u64>, &'static str> {
        self.session(realm)?;
        Ok(self.numbers.get(&(realm, request)).copied())
    }

    /// The guard, with its holds as they have become: what is left of a nest begins with the first
    /// that is left.
    fn as_of_now(&self, number: u64, mut guard: Grant) -> Grant {
        for member in &mut guard.members {
            let holds = self.holds.get(&member.key);
            if let Some(held) = holds.and_then(|holds| holds.get(&member.outer)) {
                member.nested = held.guards.first() != Some(&number);
                member.since = held.since;
                member.reserved_until = held.reserved_until;
                member.if_done = held.if_done;
                member.is_done = held.is_done;
                member.ends_at = held.ends_at;
            }
        }
        guard
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            guards: BTreeMap::new(),
            numbers: HashMap::new(),
            holds: HashMap::new(),
            reserved: BTreeMap::new(),
            next: 0,
            greatest: Token::new(0),
        }
    }
}

impl LedgerHold {
    fn begun(member: &Member) -> Self {
        Self {
            guards: BTreeSet::new(),
            since: member.since,
            reserved_until: member.reserved_until,
            if_done: member.if_done,
            is_done: member.is_done,
            ends_at: member.ends_at,
            lost: None,
        }
    }

    /// The mode that the hold had if it ends with this guard.
    fn mode_at(&mut self, mode: Mode, end: End) -> Mode {
        if end.cause.is_none() {
            return mode;
        }
        let together = self.lost.filter(|(at, _)| *at == end.at);
        let mode = together.map_or(mode, |(_, lost)| stronger(lost, mode));
        self.lost = Some((end.at, mode));
        mode
    }
}

/// What says that these guards of a session are lost.
pub(crate) fn ends_of(realm: u32, lost: &LostGuards, at: Moment) -> impl Iterator<Item = Record> {
    let end = move |(request, cause): (&u64, &LostCause)| {
        let (request, cause) = (*request, Some(*cause));
        Record::Ended { realm, request, cause, at }
    };
    lost.iter().map(end)
}

fn stronger(a: Mode, b: Mode) -> Mode {
    if b == Mode::Exclusive { b } else { a }
}

/// Only what belongs to a thread comes to belong to nobody (C9).
fn detach_owner(member: &mut Member) {
    const THREAD: u8 = 1;
    let is_thread = |owner: &mut OwnerId| matches!(OwnerId::to_parts(*owner), (_, THREAD, _));
    member.owner.take_if(is_thread);
    member.runs_as.take_if(is_thread);
}

const NO_SESSION: &str = "there is no such session";
