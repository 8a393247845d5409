use std::collections::HashMap;

use locks_core::{
    CallSite, DeadlockStep, HolderInfo, LockError, LockInfo, OwnerId, ProcessInfo, WaiterInfo,
};

use crate::wire::Call;

/// So many call sites are told to a server, and so many names of threads; the rest go without.
const SITES: usize = 16_384;
const NAMES: usize = 1024;

/// What kind of owner a thread is, in parts.
const THREAD: u8 = 1;

/// The longest text of a call site or name that is told.
const TEXT: usize = 512;

/// Call sites and names of threads, which a server is told once and then knows by number (C12).
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// What the server has been told.
    sites: HashMap<(usize, u32, usize), u32>,
    threads: HashMap<u64, String>,
    /// All that any server of this session's was told, to be recognized in what it tells.
    known: HashMap<String, CallSite>,
}

impl Labels {
    /// The server knows nothing of them any more.
    pub(super) fn forgotten(&mut self) {
        self.sites.clear();
        self.threads.clear();
    }

    /// The server knows nothing of them any more, but goes on with holds of this session: what to
    /// tell it of their owners. Call sites of holds are not told again, for holds name none.
    pub(super) fn told_again(&mut self) -> Vec<Call> {
        self.sites.clear();
        let names = self.threads.iter();
        names.map(|(thread, text)| Call::Name { thread: *thread, text: text.clone() }).collect()
    }

    /// The number of a call site, and what to tell the server before it is used, if anything.
    pub(super) fn site(&mut self, site: Option<CallSite>) -> (u32, Option<Call>) {
        let Some(site) = site else { return (0, None) };
        let function = site.function().map_or(0, |function| function.as_ptr().addr());
        let place = (site.file().as_ptr().addr(), site.line(), function);
        if let Some(id) = self.sites.get(&place) {
            return (*id, None);
        }
        if self.sites.len() >= SITES {
            return (0, None);
        }
        let id = u32::try_from(self.sites.len() + 1).expect("at most `SITES`");
        self.sites.insert(place, id);
        let text = shortened(site.to_string());
        self.known.entry(text.clone()).or_insert(site);
        (id, Some(Call::Site { id, text }))
    }

    /// What to tell the server of an owner before it is named, if anything.
    pub(super) fn owner(&mut self, owner: Option<OwnerId>) -> Option<Call> {
        let (_, kind, thread) = owner?.to_parts();
        if kind != THREAD || self.threads.contains_key(&thread) || self.threads.len() >= NAMES {
            return None;
        }
        let name = owner?.describe()?;
        let name = name.strip_prefix("thread `")?.strip_suffix('`')?;
        let text = shortened(name.to_owned());
        self.threads.insert(thread, text.clone());
        Some(Call::Name { thread, text })
    }

    /// The error as this process sees it: what it tells of client `realm` is told of this process.
    pub(super) fn here(&self, realm: u32, mut error: LockError) -> LockError {
        let waiting = error.waiting();
        if !error.holders().is_empty() {
            let holders = error.holders().to_vec();
            error =
                error.with_holders(holders.into_iter().map(|it| self.holder(realm, it)).collect());
        }
        if !error.waiters().is_empty() {
            let waiters = error.waiters().to_vec();
            let waiters = waiters.into_iter().map(|it| self.waiter(realm, it)).collect();
            error = error.with_waiters(waiters).with_waiting(waiting);
        }
        if !error.cycle().is_empty() {
            let cycle = error.cycle().to_vec();
            let step = |step: DeadlockStep| {
                let waiter = self.waiter(realm, step.waiter);
                DeadlockStep::new(step.wants, waiter, self.holder(realm, step.holder))
            };
            error = error.with_cycle(cycle.into_iter().map(step).collect());
        }
        error
    }

    /// The same of a key.
    pub(super) fn info_here(&self, realm: u32, mut info: LockInfo) -> LockInfo {
        info.holders = info.holders.into_iter().map(|it| self.holder(realm, it)).collect();
        info.waiters = info.waiters.into_iter().map(|it| self.waiter(realm, it)).collect();
        info
    }

    pub(super) fn holder(&self, realm: u32, mut holder: HolderInfo) -> HolderInfo {
        if self.is_local(realm, &mut holder.owner, &mut holder.who) {
            holder.site = self.take_site(&mut holder.party);
        }
        holder
    }

    fn waiter(&self, realm: u32, mut waiter: WaiterInfo) -> WaiterInfo {
        if self.is_local(realm, &mut waiter.owner, &mut waiter.who) {
            waiter.site = self.take_site(&mut waiter.party);
        }
        waiter
    }

    #[expect(clippy::unused_self, reason = "beside `take_site`")]
    fn is_local(&self, realm: u32, owner: &mut Option<OwnerId>, who: &mut Option<String>) -> bool {
        let Some(known) = owner.filter(|owner| owner.realm() == realm) else { return false };
        let here = known.in_realm(0);
        (*owner, *who) = (Some(here), here.describe());
        true
    }

    fn take_site(&self, party: &mut ProcessInfo) -> Option<CallSite> {
        let site = std::mem::take(party).site?;
        self.known.get(&site).copied()
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > TEXT {
        text.truncate((0..=TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}
