use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::brief::{Lasting, Left};
use crate::{CallSite, Mode, OwnerId, Token};

/// Somebody who holds or waits: which process of which host, and what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Party {
    /// A name given by the program, if any.
    pub label: Option<String>,
    /// The host, where the arbiter serves more than one.
    pub host: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// What the process is called.
    pub process: Option<String>,
    /// Where in that process, as text: for holders that are not of this process.
    pub site: Option<String>,
    /// The process cannot be seen from here: it runs in another pid namespace, or there is no `/proc`.
    /// What is known of it is what it has written down; `pid` is its number there.
    pub unseen: bool,
}

/// One hold of a key, as [`list`](crate::LockBackend::inspect) and errors tell of it (C12).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HolderInfo {
    /// How it holds the key.
    pub mode: Mode,
    /// Its fencing token.
    pub token: Option<Token>,
    /// The identity it holds it by.
    pub owner: Option<OwnerId>,
    /// What the owner calls itself within its process: a thread's name, a scope's number.
    pub who: Option<String>,
    /// Whose hold it is; empty for this process.
    pub party: Party,
    /// Where it was acquired, in this program.
    pub site: Option<CallSite>,
    /// How long ago it was granted or last refreshed, on the arbiter's clock.
    pub age: Option<Duration>,
}

/// One waiter for a key, in the order of the queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// How it wants to hold the key.
    pub mode: Mode,
    /// The identity that waits.
    pub owner: Option<OwnerId>,
    /// What the owner calls itself within its process.
    pub who: Option<String>,
    /// Whose request it is; empty for this process.
    pub party: Party,
    /// Where it was asked for, in this program.
    pub site: Option<CallSite>,
    /// How long it has been waiting.
    pub waited: Duration,
}

/// A key that is held, waited for or reserved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockInfo {
    /// The key.
    pub key: String,
    /// Who holds it.
    pub holders: Vec<HolderInfo>,
    /// Who waits for it, first come first.
    pub waiters: Vec<WaiterInfo>,
    /// How long the key stays reserved although nobody holds it (C14, `hold_at_least`).
    pub reserved_for: Option<Duration>,
    /// The tokens of the holds that have left it reserved, for [`evict`](crate::LockBackend::evict).
    pub reserved_by: Vec<Token>,
    /// When this was looked up; ages and waits count back from here.
    pub at: SystemTime,
}

/// What to [inspect](crate::LockBackend::inspect).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// Every key.
    #[default]
    All,
    /// One key.
    Key(String),
    /// Every key that begins with this.
    Prefix(String),
}

impl Query {
    /// Whether the query asks for `key`.
    pub fn matches(&self, key: &str) -> bool {
        match self {
            Query::All => true,
            Query::Key(wanted) => wanted == key,
            Query::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

impl HolderInfo {
    /// A hold of which nothing but the mode is known yet.
    pub fn new(mode: Mode) -> Self {
        let party = Party::default();
        Self { mode, token: None, owner: None, who: None, party, site: None, age: None }
    }
}

impl WaiterInfo {
    /// A waiter of which nothing but mode and waiting time are known yet.
    pub fn new(mode: Mode, waited: Duration) -> Self {
        Self { mode, owner: None, who: None, party: Party::default(), site: None, waited }
    }
}

impl LockInfo {
    /// A key as it is now, with nobody at it.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            holders: Vec::new(),
            waiters: Vec::new(),
            reserved_for: None,
            reserved_by: Vec::new(),
            at: SystemTime::now(),
        }
    }
}

impl Party {
    /// Whether it says nothing: somebody of this process.
    pub fn is_here(&self) -> bool {
        *self == Party::default()
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.label.as_deref().or(self.process.as_deref());
        match (name, self.pid) {
            (Some(name), Some(pid)) if self.unseen => {
                write!(f, "`{name}` (process {pid}, which cannot be seen from here)")?;
            }
            (None, None) if self.unseen => {
                f.write_str("a process that cannot be seen from here")?
            }
            (Some(name), Some(pid)) => write!(f, "`{name}` (process {pid})")?,
            (Some(name), None) => write!(f, "`{name}`")?,
            (None, Some(pid)) => write!(f, "process {pid}")?,
            (None, None) => f.write_str("this process")?,
        }
        match &self.host {
            Some(host) if !is_this_host(host) => write!(f, " on {host}"),
            _ => Ok(()),
        }
    }
}

/// Returns whether this machine has the name, which then needs no telling.
fn is_this_host(name: &str) -> bool {
    static OWN: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    OWN.get_or_init(read).as_deref().is_some_and(|own| own.trim() == name)
}

impl fmt::Display for HolderInfo {
    /// As in «thread `worker-3`, for 2.1 s, at src/pay.rs:88 in `pay::settle` (shared, token 7)».
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_who(f, self.who.as_deref(), &self.party)?;
        if let Some(age) = self.age {
            write!(f, ", {}", Lasting(age))?;
        }
        write_site(f, self.site, &self.party)?;
        write!(f, " ({}", self.mode)?;
        if let Some(token) = self.token {
            write!(f, ", token {token}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for WaiterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_who(f, self.who.as_deref(), &self.party)?;
        write!(f, ", {}", Lasting(self.waited))?;
        write_site(f, self.site, &self.party)?;
        write!(f, " ({})", self.mode)
    }
}

impl fmt::Display for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`:", self.key)?;
        let mut between = "";
        if self.holders.is_empty() && self.reserved_for.is_none() {
            f.write_str(" free")?;
            between = ";";
        }
        for holder in &self.holders {
            write!(f, "{between} held by {holder}")?;
            between = ";";
        }
        if let Some(left) = self.reserved_for {
            write!(f, "{between} reserved for {}", Left(left))?;
            between = ";";
        }
        for waiter in &self.waiters {
            write!(f, "{between} wanted by {waiter}")?;
            between = ";";
        }
        Ok(())
    }
}

fn write_who(f: &mut fmt::Formatter<'_>, who: Option<&str>, party: &Party) -> fmt::Result {
    match (who, party.is_here()) {
        (Some(who), true) => f.write_str(who),
        (Some(who), false) => write!(f, "{who} of {party}"),
        (None, true) => f.write_str("a task of this process"),
        (None, false) => write!(f, "{party}"),
    }
}

fn write_site(f: &mut fmt::Formatter<'_>, site: Option<CallSite>, party: &Party) -> fmt::Result {
    match (site, &party.site) {
        (Some(site), _) => write!(f, ", at {site}"),
        (None, Some(site)) => write!(f, ", at {site}"),
        (None, None) => Ok(()),
    }
}
