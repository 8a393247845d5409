//! An upstream for tests: a table that holds its grants to the contract and notes what it is asked.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use locks_core::{
    Alarm, Backend, Bounds, Claim, ClaimSet, Clock, Completion, Engine, ErrorKind, HolderInfo,
    LockError, LockInfo, LostCause, ManualClock, Mode, Moment, Op, Options, Query, Token, Upstream,
    UpstreamEnd, UpstreamGrant, Wait,
};

/// What the table was told, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    Claimed { key: String, options: Options, part_of_set: bool },
    Completed { key: String, token: u64, bounds: Option<Bounds> },
    Withdrawn { key: String },
    Refreshed { key: String, token: u64 },
    Ended { key: String, token: u64, wanted: bool },
}

/// Clones are the same table.
#[derive(Clone)]
pub(crate) struct Table {
    rows: Arc<Mutex<Rows>>,
    pub(crate) clock: ManualClock,
}

#[derive(Default)]
struct Rows {
    keys: BTreeMap<String, Row>,
    notes: Vec<Note>,
    next_id: u64,
    wakers: Vec<Waker>,
}

/// What there is to know of one key.
#[derive(Default)]
pub(crate) struct Row {
    /// The greatest token so far.
    pub(crate) token: u64,
    /// Whether somebody elsewhere holds it.
    pub(crate) is_taken: bool,
    /// How whatever is done to its grants fails, if it does.
    pub(crate) fails: Option<fn() -> LockError>,
    /// Whether it answers nothing that completes a grant.
    pub(crate) is_slow: bool,
    /// What happens elsewhere just when one of its grants is completed.
    pub(crate) on_complete: Option<Box<dyn FnOnce() + Send>>,
    /// What happens here while it is told of the end of one.
    pub(crate) on_end: Option<Box<dyn FnOnce() + Send>>,
    grants: Vec<Grant>,
}

struct Grant {
    turn: UpstreamGrant,
    mode: Mode,
    lost: Option<LostCause>,
    /// What it was called before it was completed, until the engine has heard.
    was: Option<Token>,
}

/// An engine in front of a table.
pub(crate) fn behind() -> (Engine, Backend, Table) {
    let table = Table { rows: Arc::default(), clock: ManualClock::new() };
    let clock = Arc::new(table.clock.clone());
    let engine = Engine::builder().clock(clock).upstream(Arc::new(table.clone())).build();
    (engine.clone(), Backend::new(engine), table)
}

impl Table {
    /// Changes a row and wakes those who may have waited for that.
    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows();
        change(rows.keys.entry(key.to_owned()).or_default());
        let wakers = std::mem::take(&mut rows.wakers);
        drop(rows);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Somebody elsewhere takes the key, or lets it go.
    pub(crate) fn take(&self, key: &str, is_taken: bool) {
        self.change(key, |row| row.is_taken = is_taken);
    }

    /// The key's grants are taken away, for this reason, and the engine is not told.
    pub(crate) fn lose(&self, key: &str, cause: LostCause) {
        self.change(key, |row| row.grants.iter_mut().for_each(|grant| grant.lost = Some(cause)));
    }

    /// What was noted since it was last asked for.
    pub(crate) fn notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.rows().notes)
    }

    /// What has ended since the notes were last asked for: key, token, whether it was wanted.
    pub(crate) fn ended(&self) -> Vec<(String, u64, bool)> {
        let ended = |note| match note {
            Note::Ended { key, token, wanted } => Some((key, token, wanted)),
            _ => None,
        };
        self.notes().into_iter().filter_map(ended).collect()
    }

    /// How many grants have not ended.
    pub(crate) fn live(&self) -> usize {
        self.rows().keys.values().map(|row| row.grants.len()).sum()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    /// `Pending`: the row is slow.
    fn try_complete(
        &self,
        key: &str,
        turn: UpstreamGrant,
        completion: Completion,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LockError>> {
        let Completion { token, bounds, .. } = completion;
        let mut rows = self.rows();
        if rows.keys[key].is_slow {
            rows.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let greatest = rows.keys[key].token;
        let own = turn.token;
        assert!(token >= own, "C7: {own} became {token}");
        let lost = rows.grant(key, turn).map_or(Some(LostCause::Forgotten), |grant| grant.lost);
        let overtaken = token.get() < greatest || token.get() == greatest && token != own;
        let forgotten = Some(LostCause::Forgotten).filter(|_| overtaken && bounds.is_some());
        if let Some(cause) = lost.or(forgotten) {
            return Poll::Ready(Err(LockError::new(ErrorKind::Lost { cause }, key)));
        }
        rows.fail(key)?;
        if bounds.is_some() {
            let grant = rows.grant(key, turn).expect("it was there");
            (grant.was, grant.turn.token) = (Some(own), token);
        }
        rows.keys.get_mut(key).expect("it was there").token = greatest.max(token.get());
        let note = Note::Completed { key: key.to_owned(), token: token.get(), bounds };
        rows.notes.push(note);
        let meanwhile = rows.keys.get_mut(key).and_then(|row| row.on_complete.take());
        drop(rows);
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.change(key, |row| row.grants.iter_mut().for_each(|grant| grant.was = None));
        Poll::Ready(Ok(()))
    }

    fn try_grant(&self, key: &str, mode: Mode) -> Option<UpstreamGrant> {
        let mut rows = self.rows();
        rows.next_id += 1;
        let id = rows.next_id;
        let row = rows.keys.entry(key.to_owned()).or_default();
        let conflicts = |grant: &Grant| mode == Mode::Exclusive || grant.mode == Mode::Exclusive;
        if row.is_taken || row.grants.iter().any(conflicts) {
            return None;
        }
        row.token += 1;
        let turn = UpstreamGrant::new(id, Token::new(row.token));
        row.grants.push(Grant { turn, mode, lost: None, was: None });
        Some(turn)
    }
}

impl Rows {
    fn grant(&mut self, key: &str, turn: UpstreamGrant) -> Option<&mut Grant> {
        let grants = &mut self.keys.get_mut(key)?.grants;
        let grant = grants.iter_mut().find(|grant| grant.turn.id == turn.id)?;
        let name = grant.was.unwrap_or(grant.turn.token);
        assert_eq!(name, turn.token, "the engine calls `{key}` by the name it has");
        Some(grant)
    }

    fn fail(&self, key: &str) -> Result<(), LockError> {
        self.keys[key].fails.map_or(Ok(()), |how| Err(how()))
    }
}

/// A claim on its way, which is withdrawn when it is dropped.
struct Claiming {
    table: Table,
    key: String,
    options: Options,
    deadline: Option<Moment>,
    alarm: Option<Alarm>,
    is_over: bool,
}

impl Claiming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<UpstreamGrant, LockError>> {
        let outcome = match self.table.try_grant(&self.key, self.options.mode) {
            Some(turn) => Ok(turn),
            None if self.options.wait == Some(Wait::Try) => Err(ErrorKind::Contended),
            None if self.deadline.is_some_and(|at| at <= self.table.clock.now()) => {
                Err(ErrorKind::Timeout)
            }
            None => {
                let wake = |at| self.table.clock.wake_at(at, cx.waker().clone());
                self.alarm = self.deadline.map(wake);
                self.table.rows().wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
        };
        self.is_over = true;
        Poll::Ready(outcome.map_err(|kind| LockError::new(kind, &*self.key)))
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        if !self.is_over {
            let key = std::mem::take(&mut self.key);
            self.table.rows().notes.push(Note::Withdrawn { key });
        }
    }
}

impl Upstream for Table {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, UpstreamGrant> {
        let (key, options, part_of_set) = (claim.key.to_owned(), claim.options, claim.part_of_set);
        self.rows().notes.push(Note::Claimed { key: key.clone(), options, part_of_set });
        let deadline = match options.wait {
            Some(Wait::AtMost(limit)) => Some(self.clock.now().after(limit)),
            _ => None,
        };
        let table = self.clone();
        let mut claiming = Claiming { table, key, options, deadline, alarm: None, is_over: false };
        Op::later(poll_fn(move |cx| claiming.poll(cx)))
    }

    fn complete(&self, key: &str, turn: UpstreamGrant, completion: Completion) -> Op<'static, ()> {
        let (table, key) = (self.clone(), key.to_owned());
        Op::later(poll_fn(move |cx| table.try_complete(&key, turn, completion, cx)))
    }

    fn claims_sets(&self) -> bool {
        false
    }

    fn claim_set<'a>(&'a self, _: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        unreachable!("sets are claimed one by one")
    }

    fn end(&self, key: &str, turn: UpstreamGrant, how: UpstreamEnd) -> Op<'static, ()> {
        let wanted = how.next.is_some();
        let mut rows = self.rows();
        let lost = rows.grant(key, turn).expect("a grant ends once").lost;
        let note = Note::Ended { key: key.to_owned(), token: turn.token.get(), wanted };
        rows.notes.push(note);
        let outcome = match lost {
            Some(cause) => Err(LockError::new(ErrorKind::Lost { cause }, key)),
            None => rows.fail(key),
        };
        let meanwhile = rows.keys.get_mut(key).and_then(|row| row.on_end.take());
        drop(rows);
        self.change(key, |row| row.grants.retain(|grant| grant.turn.id != turn.id));
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        // Known only later, like the answer of somebody far away.
        Op::later(async { outcome })
    }

    fn poll_lost(
        &self,
        key: &str,
        turn: UpstreamGrant,
        _: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        match self.rows().grant(key, turn).and_then(|grant| grant.lost) {
            Some(cause) => Poll::Ready(cause),
            None => Poll::Pending,
        }
    }

    fn unwatch(&self, _: &str, _: UpstreamGrant, _: &Waker) {}

    fn stolen_from(&self, _: &str, _: UpstreamGrant) -> Vec<HolderInfo> {
        Vec::new()
    }

    fn refresh(&self, key: &str, turn: UpstreamGrant) -> Op<'static, ()> {
        let mut rows = self.rows();
        let token = turn.token.get();
        rows.notes.push(Note::Refreshed { key: key.to_owned(), token });
        let outcome = match rows.grant(key, turn) {
            Some(_) => rows.fail(key),
            None => panic!("`{key}` has ended"),
        };
        Op::later(async { outcome })
    }

    fn inspect(&self, _: Query) -> Op<'static, Vec<LockInfo>> {
        Op::ready(Vec::new())
    }

    fn evict(&self, _: &str, _: Token) -> Op<'static, bool> {
        Op::ready(false)
    }
}
