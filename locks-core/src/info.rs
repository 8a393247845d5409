use std::fmt;
use std::time::{Duration, SystemTime};

use crate::brief::{Lasting, Left};
use crate::fork::PerProcess;
use crate::{CallSite, Mode, OwnerId, Token};

/// The process of a holder or waiter, as far as the backend knows it.
///
/// All fields are empty for this process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The label that the program gave itself, as by `label=` in the URL.
    pub label: Option<String>,
    /// The host, for backends that serve several.
    pub host: Option<String>,
    /// The process id.
    pub pid: Option<u32>,
    /// The name of the process.
    pub process: Option<String>,
    /// The call site in that process, as text.
    pub site: Option<String>,
    /// `true` if the process cannot be seen from here: it runs in another pid namespace, or there
    /// is no `/proc`. The other fields are what it wrote down itself; `pid` is its number there.
    pub unseen: bool,
}

/// A hold of a key, as lists and errors describe it
/// ([C12](crate::contract#c12-holder-information)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HolderInfo {
    /// The mode in which the key is held.
    pub mode: Mode,
    /// The fencing token of the hold.
    pub token: Option<Token>,
    /// The identity of the holder; `None` for anonymous holds.
    pub owner: Option<OwnerId>,
    /// The name of the holder within its process: of a thread, a scope or an owner.
    pub who: Option<String>,
    /// The label of the request, as in `order 17`
    /// ([`LockBuilder::label`](crate::LockBuilder::label)).
    pub label: Option<String>,
    /// The number of guards that share the hold: more than one if it was entered again
    /// ([C9](crate::contract#c9-re-entry)).
    pub depth: usize,
    /// The process of the holder.
    pub party: ProcessInfo,
    /// The call site of the acquisition, if it is in this program.
    pub site: Option<CallSite>,
    /// The time since the grant or the last refresh, on the backend's clock.
    pub age: Option<Duration>,
}

/// A waiter for a key, as lists and errors describe it
/// ([C12](crate::contract#c12-holder-information)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// The mode that is asked for.
    pub mode: Mode,
    /// The identity of the waiter; `None` for anonymous ones.
    pub owner: Option<OwnerId>,
    /// The name of the waiter within its process.
    pub who: Option<String>,
    /// The label of the request.
    pub label: Option<String>,
    /// The process of the waiter.
    pub party: ProcessInfo,
    /// The call site of the request, if it is in this program.
    pub site: Option<CallSite>,
    /// The time that it has been waiting.
    pub waited: Duration,
}

/// A key that is held, waited for or reserved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockInfo {
    /// The key.
    pub key: String,
    /// The holders.
    pub holders: Vec<HolderInfo>,
    /// The waiters, in the order of the queue.
    pub waiters: Vec<WaiterInfo>,
    /// The time for which the key stays reserved without a holder, by `hold_at_least`
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub reserved_for: Option<Duration>,
    /// The tokens of the holds that have left it reserved, for
    /// [`evict`](crate::LockBackend::evict).
    pub reserved_by: Vec<Token>,
    /// The time of the query; ages and waits count back from here.
    pub at: SystemTime,
}

/// The keys that [`inspect`](crate::LockBackend::inspect) returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// Every key.
    #[default]
    All,
    /// One key.
    Key(String),
    /// Every key that begins with this prefix.
    Prefix(String),
}

impl Query {
    /// Returns `true` if the query covers `key`.
    pub fn matches(&self, key: &str) -> bool {
        match self {
            Query::All => true,
            Query::Key(wanted) => wanted == key,
            Query::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

impl HolderInfo {
    /// Creates a description with the mode; every other field is empty.
    pub fn new(mode: Mode) -> Self {
        let party = ProcessInfo::default();
        Self {
            mode,
            token: None,
            owner: None,
            who: None,
            label: None,
            depth: 1,
            party,
            site: None,
            age: None,
        }
    }
}

impl HolderInfo {
    /// The same as one that has been granted it just now.
    pub(crate) fn of_waiter(waiter: WaiterInfo) -> Self {
        let WaiterInfo { mode, owner, who, label, party, site, .. } = waiter;
        Self { owner, who, label, party, site, ..Self::new(mode) }
    }
}

impl WaiterInfo {
    /// Creates a description with the mode and the time waited; every other field is empty.
    pub fn new(mode: Mode, waited: Duration) -> Self {
        let party = ProcessInfo::default();
        Self { mode, owner: None, who: None, label: None, party, site: None, waited }
    }
}

impl LockInfo {
    /// Creates the description of a free key, as of now.
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

impl ProcessInfo {
    /// Returns `true` for this process.
    pub fn is_local(&self) -> bool {
        *self == ProcessInfo::default()
    }
}

impl fmt::Display for ProcessInfo {
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
    static OWN: PerProcess<Option<String>> = PerProcess::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    OWN.get_or_init(read).as_deref().is_some_and(|own| own.trim() == name)
}

impl fmt::Display for HolderInfo {
    /// As in «thread `worker-3` for `order 17`, for 2.1 s, at src/pay.rs:88 in `pay::settle`
    /// (shared, token 7)».
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_who(f, self.who.as_deref(), &self.party)?;
        write_label(f, self.label.as_deref())?;
        if let Some(age) = self.age {
            write!(f, ", {}", Lasting(age))?;
        }
        write_site(f, self.site, &self.party)?;
        write!(f, " ({}", self.mode)?;
        if let Some(token) = self.token {
            write!(f, ", token {token}")?;
        }
        if self.depth > 1 {
            write!(f, ", entered {} times", self.depth)?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for WaiterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_who(f, self.who.as_deref(), &self.party)?;
        write_label(f, self.label.as_deref())?;
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

fn write_who(f: &mut fmt::Formatter<'_>, who: Option<&str>, party: &ProcessInfo) -> fmt::Result {
    match (who, party.is_local()) {
        (Some(who), true) => f.write_str(who),
        (Some(who), false) => write!(f, "{who} of {party}"),
        (None, true) => f.write_str("a task of this process"),
        (None, false) => write!(f, "{party}"),
    }
}

fn write_label(f: &mut fmt::Formatter<'_>, label: Option<&str>) -> fmt::Result {
    label.map_or(Ok(()), |label| write!(f, " for `{label}`"))
}

fn write_site(
    f: &mut fmt::Formatter<'_>,
    site: Option<CallSite>,
    party: &ProcessInfo,
) -> fmt::Result {
    match (site, &party.site) {
        (Some(site), _) => write!(f, ", at {site}"),
        (None, Some(site)) => write!(f, ", at {site}"),
        (None, None) => Ok(()),
    }
}
