//! From the journal, and to it (N4).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use locks_core::{
    BackendInfo, CallSite, Capabilities, Clock, Engine, ErrorKind, Hold, HoldRecord, LockError,
    Mode, Moment, OwnerId, Token,
};

use super::acquisitions::ACQUISITION;
use super::clock::OwnTime;
use super::events::Happened;
use super::session::{Requested, ServerHold, ServerSession};
use super::{Arbiter, ArbiterSetup, Fixed, Notice};
use crate::journal::{Grant, Member, Record, Reserved, SessionKind, ends_of};

impl Arbiter {
    /// An arbiter that goes on from what the journal had.
    ///
    /// # Errors
    /// If what it had cannot have been.
    pub(crate) fn new(setup: ArbiterSetup) -> Result<Self, LockError> {
        let time = OwnTime::new(setup.clock);
        let happened = Arc::<Happened>::default();
        let engine = Engine::builder()
            .about(BackendInfo::new("the lock server", Capabilities::process()))
            .clock(time.clone())
            .token_floor(setup.floor)?
            .observer(happened.clone())
            .build();
        let now = setup.boot_clock.now();
        let mut this = Self {
            setup: Fixed {
                limits: setup.limits,
                server: setup.server,
                process: setup.process,
                boot_clock: setup.boot_clock,
                random: setup.random,
                started: now,
            },
            engine,
            time,
            happened,
            woken: VecDeque::new(),
            sessions: HashMap::default(),
            connections: HashMap::default(),
            newcomers: VecDeque::new(),
            deadlines: BTreeSet::new(),
            journal: Vec::new(),
            notices: Vec::new(),
            said: Vec::new(),
            next_connection: 0,
            next_realm: 0,
            next_order: 0,
            waiting: 0,
            figures: super::Figures::default(),
            mail: super::MessageTotals::default(),
            room: super::Room::default(),
            lists: super::Lists::default(),
            paper: super::Paper::new(setup.promise),
            promised: (setup.floor, std::time::Duration::ZERO),
            silent_until: setup.silent_for.map(|left| now.after(left)),
            scratch: Vec::new(),
            #[cfg(test)]
            broken: None,
        };
        let (sessions, grants, reservations) = setup.ledger.into_parts();
        for (record, lost) in sessions {
            this.paper.lost += lost.len();
            let mut session = ServerSession::new(record, now);
            session.lost_before = lost;
            this.restore_session(session, now);
        }
        for grant in grants {
            this.restore_grant(grant)?;
        }
        this.time.go();
        for reserved in reservations {
            let Reserved { key, mode, token, until } = reserved;
            this.engine
                .restore_reservation(&key, mode, token, until)
                .map_err(|error| impossible(&error.to_string()))?;
        }
        let realms = this.sessions.keys().copied().collect::<Vec<_>>();
        for realm in realms {
            this.set_session_deadline(realm);
        }
        this.run();
        Ok(this)
    }

    fn restore_session(&mut self, mut session: ServerSession, now: Moment) {
        session.is_restored = true;
        session.is_recorded = true;
        self.paper.sessions += 1;
        match session.kept {
            // It has as long to come back as if its connection had just ended.
            SessionKind::ByProcess(process) => {
                session.ends_at = Some(now.after(session.lease));
                self.notices.push(Notice::Watch { realm: session.realm, process, by: None });
            }
            SessionKind::ByLease => self.promised.1 = self.promised.1.max(session.lease),
        }
        self.sessions.insert(session.realm, session);
    }

    fn restore_grant(&mut self, grant: Grant) -> Result<(), LockError> {
        let Grant { realm, request, lease, mut members } = grant;
        for member in &mut members {
            // Of a guard that has left its thread.
            let anybody = || OwnerId::from_parts(realm, ACQUISITION, request);
            member.owner = member.owner.or_else(anybody);
            member.runs_as = member.runs_as.or_else(|| member.owner?.runs());
        }
        let members = members.into_iter().map(Member::into_record).collect::<Vec<_>>();
        let session = self.sessions.get_mut(&realm).ok_or_else(|| impossible("no session"))?;
        let hold = self.engine.restore(&members).map_err(|error| impossible(&error.to_string()))?;
        self.promised.0 = self.promised.0.max(hold.token());
        self.next_order += 1;
        let own = (session.is_leased() && lease != session.lease).then_some(lease);
        let held = ServerHold::new(hold, self.next_order, own, self.time.real());
        if let Some(lease) = held.lease() {
            self.promised.1 = self.promised.1.max(lease);
        }
        session.put_request(request, Requested::Held(held));
        self.paper.guards += 1;
        Ok(())
    }

    /// All of the state, as records: in place of the journal so far.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let mut guards = Vec::new();
        for session in self.sessions.values() {
            if session.is_recorded {
                Record::Session(session.record()).encode(&mut records);
            }
            let mut lost = session.lost_before.clone();
            for (request, requested) in &session.requests {
                let Requested::Held(held) = requested else { continue };
                match held.lost {
                    Some(cause) => drop(lost.insert(*request, cause)),
                    None if !held.is_untold => guards.push((held.order, session, *request, held)),
                    None => {}
                }
            }
            if session.is_recorded {
                let ends = ends_of(session.realm, &lost, self.time_awake());
                ends.for_each(|end| end.encode(&mut records));
            }
        }
        guards.sort_unstable_by_key(|(order, ..)| *order);
        for (_, session, request, held) in guards {
            let members = self.members(&held.hold);
            if !members.is_empty() {
                let lease = held.lease().unwrap_or(session.lease);
                let realm = session.realm;
                Record::Grant(Grant { realm, request, lease, members }).encode(&mut records);
            }
        }
        for (key, mode, token, until) in self.engine.reservations() {
            Record::Reserved(Reserved { key, mode, token, until }).encode(&mut records);
        }
        records
    }

    /// What the journal says of a hold; nothing of one that is lost.
    pub(super) fn members(&self, hold: &Hold) -> Vec<Member> {
        self.engine.record(hold).into_iter().map(Member::from_record).collect()
    }

    /// The time on the engine's clock.
    pub(super) fn time_awake(&self) -> Moment {
        self.time.now()
    }
}

/// The error of a journal that tells of what cannot have been.
fn impossible(why: &str) -> LockError {
    let why = format!("the journal tells of locks that cannot have been held together: {why}");
    LockError::new(ErrorKind::Io, "").with_message(why)
}

impl Member {
    /// An exclusive hold of one key, by a guard that is not nested.
    pub(super) fn plain(key: String, token: Token) -> Self {
        Self {
            key,
            token,
            outer: token,
            nested: false,
            mode: Mode::Exclusive,
            owner: None,
            runs_as: None,
            site: None,
            label: None,
            since: None,
            reserved_until: None,
            if_done: false,
            is_done: false,
            ends_at: None,
        }
    }

    fn from_record(record: HoldRecord) -> Self {
        let HoldRecord {
            key,
            token,
            outer,
            nested,
            mode,
            owner,
            runs_as,
            site,
            label,
            since,
            reserved_until,
            if_done,
            is_done,
            ends_at,
        } = record;
        let site = site.map(|site| site.to_string());
        let label = label.map(|label| label.to_string());
        Self {
            key,
            token,
            outer,
            nested,
            mode,
            owner,
            runs_as,
            site,
            label,
            since,
            reserved_until,
            if_done,
            is_done,
            ends_at,
        }
    }

    fn into_record(self) -> HoldRecord {
        let Self {
            key,
            token,
            outer,
            nested,
            mode,
            owner,
            runs_as,
            site,
            label,
            since,
            reserved_until,
            if_done,
            is_done,
            ends_at,
        } = self;
        let site = site.as_deref().and_then(CallSite::interned);
        let label = label.map(Arc::from);
        HoldRecord {
            key,
            token,
            outer,
            nested,
            mode,
            owner,
            runs_as,
            site,
            label,
            since,
            reserved_until,
            if_done,
            is_done,
            ends_at,
        }
    }
}
