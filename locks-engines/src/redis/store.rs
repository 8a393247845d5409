//! The store: each step one script.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    BackendInfo, Claimed, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeaseRenewal,
    LeaseStore, LockError, Mode, Op, Query, Renewed, Reserve, Wake, WakeSink,
};
use redis::{Cmd, Value};

use super::layout::Layout;
use super::reply;
use super::scripts::{Script, Scripts};
use super::target::{Connection, Server, failed, replaced};
use crate::link::{Connected, Link, Links};

/// How many keys are looked at by one script for a list.
const BATCH: usize = 256;

/// The keys of one namespace at one server.
pub(super) struct Store {
    pub(super) about: BackendInfo,
    pub(super) links: Arc<Links<Server>>,
    /// The longest lease of the namespace, which all of its clients agree on.
    pub(super) longest: Duration,
    /// The namespace is known to be new: nothing can have been promised in it.
    pub(super) fresh: bool,
}

/// A duration as scripts take it.
fn micros(duration: Duration) -> u64 {
    // More than a century is for ever; sums stay exact in what scripts calculate with.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(4_000_000_000_000_000)
}

/// A duration that may be left out: `-1`.
fn optional(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-1".to_owned(), |duration| micros(duration).to_string())
}

/// A mode as scripts take it.
fn mode(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => 0,
        Mode::Shared => -1,
        Mode::Permit { of } => of.into(),
    }
}

impl Store {
    fn layout(&self) -> &Layout {
        &self.links.target.layout
    }

    /// Sends a script, and has `parse` make sense of its answer, on the driver.
    fn step<'a, T: Send + 'static>(
        &self,
        which: fn(&Scripts) -> &Script,
        keys: Vec<String>,
        arguments: impl FnOnce(&Connection) -> Vec<String> + Send + 'static,
        parse: impl FnOnce(Value) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'a, T> {
        self.links.drive(async move |link: Arc<Link<Server>>| {
            let connected = link.connected().await?;
            let arguments = arguments(&connected);
            let value = call(&link, &connected, which, &keys, &arguments).await?;
            parse(value).map_err(|error| error.with_backend(&link.name))
        })
    }
}

/// Calls a script by its name, and by its text where the server does not know it.
async fn call(
    link: &Link<Server>,
    connected: &Connected<Connection>,
    which: fn(&Scripts) -> &Script,
    keys: &[String],
    arguments: &[String],
) -> Result<Value, LockError> {
    let script = which(&connected.scripts);
    let mut connection = connected.commands.clone();
    let command = |name: &str, script: &str| {
        let mut command = Cmd::new();
        command.arg(name).arg(script).arg(keys.len()).arg(keys).arg(arguments);
        command
    };
    let known = command("EVALSHA", &script.hash).query_async(&mut connection).await;
    match known {
        Err(error) if error.code() == Some("NOSCRIPT") => {}
        known => return known.map_err(|error| failed(link, connected, error)),
    }
    // Flushed, or another server behind the same address. A claim's text looks whether it is for the
    // server that gets it; its last argument asks for that.
    let is_claim = std::ptr::eq(script, &raw const connected.scripts.claim);
    let mut text = command("EVAL", &script.text);
    if is_claim {
        text.arg("check");
    }
    let value = text.query_async(&mut connection).await;
    let value = value.map_err(|error| failed(link, connected, error))?;
    if is_claim && reply::is_of_another_server(&value) {
        return Err(replaced(link, connected));
    }
    Ok(value)
}

impl LeaseStore for Store {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let (name, longest) = (&self.about.name, self.longest);
        if claim.lease > longest {
            let text = format!(
                "`{name}` has leases of at most {longest:?}: a longer one is set by `?lease=` in the \
                 URL, for all clients of the namespace alike"
            );
            return Op::failed(LockError::new(ErrorKind::LimitExceeded, "").with_message(text));
        }
        let keys = claim.keys.iter().map(|key| self.layout().key(key));
        let keys = std::iter::once(self.layout().meta()).chain(keys).collect();
        let (waited, keep) = match claim.place {
            Some(place) => (micros(place.waited).to_string(), micros(place.keep)),
            None => ("-1".to_owned(), 0),
        };
        let none = Duration::ZERO;
        let mut arguments = vec![
            claim.id.to_string(),
            self.links.of_this_process().client.clone(),
            mode(claim.mode).to_string(),
            claim.note.clone(),
            micros(claim.lease).to_string(),
            optional(claim.steal_after),
            match claim.reserve {
                Reserve::Always => micros(claim.hold_at_least.unwrap_or(none)).to_string(),
                Reserve::IfDone => format!("-{}", micros(claim.hold_at_least.unwrap_or(none))),
            },
            micros(claim.hold_at_most.unwrap_or(none)).to_string(),
            waited,
            keep.to_string(),
            micros(longest).to_string(),
        ];
        let fresh = self.fresh;
        let names = claim.keys.clone();
        self.step(
            |scripts| &scripts.claim,
            keys,
            move |connected| {
                arguments.push(micros(connected.lag).to_string());
                arguments.push(u8::from(fresh).to_string());
                arguments
            },
            move |value| reply::claimed(value, &names, longest),
        )
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let keys = renewals.iter().flat_map(|renewal| &renewal.keys);
        let keys = keys.map(|key| self.layout().key(key)).collect();
        let arguments = renewals.iter().flat_map(|renewal| {
            let refresh = u8::from(renewal.refresh).to_string();
            let lease = micros(renewal.lease).to_string();
            [renewal.id.to_string(), lease, refresh, renewal.keys.len().to_string()]
        });
        let arguments = arguments.collect();
        self.step(|scripts| &scripts.renew, keys, |_| arguments, reply::renewed)
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let how = match ending.how {
            LeaseEnd::Release { reserve: false } => "0",
            LeaseEnd::Release { reserve: true } => "1",
            LeaseEnd::Remove => "2",
            _ => {
                let name = &self.about.name;
                return Op::failed(LockError::unsupported(name, "this end", ""));
            }
        };
        let keys = ending.keys.iter().map(|key| self.layout().key(key)).collect();
        let arguments = vec![
            ending.id.to_string(),
            self.links.of_this_process().client.clone(),
            how.to_owned(),
            optional(ending.next),
        ];
        self.step(|scripts| &scripts.end, keys, |_| arguments, reply::ended)
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let target = self.links.target.clone();
        let (exact, prefix) = match query {
            Query::Key(key) => (Some(key.clone()), String::new()),
            Query::Prefix(prefix) => (None, prefix.clone()),
            _ => (None, String::new()),
        };
        self.links.drive(async move |link: Arc<Link<Server>>| {
            let connected = link.connected().await?;
            if let Some(key) = exact {
                return listed(&link, &connected, &target.layout, vec![target.layout.key(&key)])
                    .await;
            }
            let (mut entries, mut cursor) = (Vec::new(), String::from("0"));
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor)
                    .arg("MATCH")
                    .arg(target.layout.pattern(&prefix))
                    .arg("COUNT")
                    .arg(1000);
                let mut connection = connected.commands.clone();
                let found = scan.query_async::<(String, Vec<Vec<u8>>)>(&mut connection).await;
                let (next, keys) = found.map_err(|error| failed(&link, &connected, error))?;
                let keys: Vec<String> =
                    keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
                for batch in keys.chunks(BATCH) {
                    entries
                        .extend(listed(&link, &connected, &target.layout, batch.to_vec()).await?);
                }
                if next == "0" {
                    // A scan may meet a key more than once.
                    entries.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
                    entries.dedup_by(|a, b| (&a.key, a.id) == (&b.key, b.id));
                    return Ok(entries);
                }
                cursor = next;
            }
        })
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }

    fn subscribe(&self, sink: WakeSink) -> bool {
        self.links.subscribe(sink)
    }
}

async fn listed(
    link: &Link<Server>,
    connected: &Connected<Connection>,
    layout: &Layout,
    keys: Vec<String>,
) -> Result<Vec<LeaseEntry>, LockError> {
    let value = call(link, connected, |scripts| &scripts.list, &keys, &[]).await?;
    let names: Vec<String> =
        keys.iter().map(|key| layout.name(key).unwrap_or(key).to_owned()).collect();
    reply::entries(value, &names)
}
