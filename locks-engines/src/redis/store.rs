//! The store: each step one script.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use locks_core::{
    BackendInfo, Claimed, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeaseRenewal,
    LeaseStore, LockError, Mode, Op, Query, Renewed, Reserve, Wake, WakeSink,
};
use redis::aio::ConnectionLike;
use redis::{Cmd, RedisResult, Value};

use super::fault::RedisFault;
use super::layout::RedisLayout;
use super::reply;
use super::scripts::{Script, Scripts};
use super::target::{HOPS, RedisConnection, RedisServer, failed, redirected, replaced};
use crate::link::{Connected, Link, Links, SILENCE, renewal_silence};

/// How many keys are looked at by one script for a list.
const BATCH: usize = 256;

/// The keys of one namespace at one server.
pub(super) struct RedisStore {
    pub(super) about: BackendInfo,
    pub(super) links: Arc<Links<RedisServer>>,
    /// The longest lease of the namespace, which all of its clients agree on.
    pub(super) longest: Duration,
    /// The namespace is said to be new, and this client has not seen it yet: nothing can have been
    /// promised in it.
    pub(super) fresh: Arc<AtomicBool>,
}

/// A duration as scripts take it.
fn micros(duration: Duration) -> u64 {
    // More than a century is for ever; sums stay exact in what scripts calculate with.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(4_000_000_000_000_000)
}

/// A bound that may be left out: `0`.
fn bound(most: Option<Duration>) -> u64 {
    // One of less than a microsecond is a bound all the same.
    most.map_or(0, |most| micros(most).max(1))
}

/// A duration that may be left out: `-1`.
fn optional(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-1".to_owned(), |duration| micros(duration).to_string())
}

/// What the script takes of a claim. First what each needs; then what the usual one has to agree
/// with, the longest lease, or nothing if it is another; last, in one piece, what only another
/// needs, to which is added what is known when it is sent.
fn claim_arguments(claim: &LeaseClaim, client: String, longest: Duration) -> Vec<String> {
    let none = Duration::ZERO;
    let (least, most) = (claim.hold_at_least.unwrap_or(none), bound(claim.hold_at_most));
    let is_usual = claim.reserve == Reserve::Always && least.is_zero() && most == 0;
    let (longest, steal) = (micros(longest), optional(claim.steal_after));
    let waited = optional(claim.place.map(|place| place.waited));
    let keep = claim.place.map_or(0, |place| micros(place.keep));
    let if_done = if claim.reserve == Reserve::IfDone { "-" } else { "" };
    let least = micros(least);
    vec![
        claim.id.to_string(),
        client,
        mode(claim.mode).to_string(),
        claim.note.clone(),
        micros(claim.lease).to_string(),
        if is_usual { longest.to_string() } else { String::new() },
        format!("{steal} {if_done}{least} {most} {waited} {keep} {longest}"),
    ]
}

/// A mode as scripts take it.
fn mode(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => 0,
        Mode::Shared => -1,
        Mode::Permit { of, .. } => of.into(),
    }
}

/// What a script takes of a renewal.
#[derive(Clone)]
struct Renewal {
    keys: Vec<String>,
    id: String,
    lease: u64,
    refresh: bool,
}

impl Renewal {
    fn arguments(&self) -> [String; 4] {
        let (refresh, count) = (u8::from(self.refresh), self.keys.len());
        [self.id.clone(), self.lease.to_string(), refresh.to_string(), count.to_string()]
    }
}

impl RedisStore {
    fn renewal(&self, renewal: &LeaseRenewal) -> Renewal {
        Renewal {
            keys: renewal.keys.iter().map(|key| self.layout().key(key)).collect(),
            id: renewal.id.to_string(),
            lease: micros(renewal.lease),
            refresh: renewal.refresh,
        }
    }

    fn layout(&self) -> &RedisLayout {
        &self.links.target.layout
    }
}

/// One of the scripts.
type Which = fn(&Scripts) -> &Script;

/// Calls a script, wherever the keys are; the connection becomes the one that leads there.
async fn call(
    link: &Arc<Link<RedisServer>>,
    connected: &mut Connected<RedisConnection>,
    which: Which,
    keys: &[String],
    arguments: &[String],
) -> Result<Value, LockError> {
    let target = &link.target;
    for _ in 0..HOPS {
        // On its own, so that no step is larger than what allocators have at hand.
        let asked = Box::pin(call_at(link, connected, which, keys, arguments));
        let error = match link.answer(connected.number(), SILENCE, "a step", asked).await? {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => return Err(replaced(link, connected)),
            Err(error) => error,
        };
        // In both cases nothing was done here.
        match (error.code(), redirected(&error, &connected.at)) {
            (Some("MOVED"), Some(to)) => {
                target.moved(to);
                link.lost(connected.number(), "another node of the cluster has the keys");
                *connected = link.connected().await?;
            }
            (Some("ASK"), Some(to)) => {
                // Seldom, and large: no step has to have room for it.
                let aside = Box::pin(target.beside(&link.name, connected, to)).await?;
                let asked = Box::pin(call_asking(link, &aside, which, keys, arguments)).await;
                let asked = asked.map_err(|error| RedisFault::of(&link.name, error));
                if !matches!(asked, Ok(Some(_)) | Err(RedisFault { reconnect: false, .. })) {
                    connected.aside.lock().await.take();
                }
                let away = || LockError::unavailable(&link.name, "another node has the keys now");
                return asked.map_err(|fault| fault.error)?.ok_or_else(away);
            }
            _ => return Err(failed(link, connected, error)),
        }
    }
    Err(LockError::unavailable(&link.name, "its nodes refer to each other"))
}

/// The command that calls a script by its name, or by its text.
fn command(
    link: &Link<RedisServer>,
    connection: &RedisConnection,
    which: Which,
    by_text: bool,
    keys: &[String],
    arguments: &[String],
) -> Cmd {
    let script = which(&connection.scripts);
    let (name, what) = if by_text { ("EVAL", &script.text) } else { ("EVALSHA", &script.hash) };
    // It grows no more, unless a key or a note is long.
    let mut command = Cmd::with_capacity(3 + keys.len() + arguments.len(), 512);
    command.arg(name).arg(what).arg(keys.len()).arg(keys);
    let ([first @ .., usual, rest], true) = (arguments, is_claim(connection, script)) else {
        command.arg(arguments);
        return command;
    };
    command.arg(first);
    let times = [connection.lag.time, link.trip.grace(), connection.memory];
    let [lag, grace, memory] = times.map(micros);
    // By its text where it was flushed, or another server is behind the same address. It looks then
    // whether it is for the server that gets it.
    let (usual, check) = if by_text { ("", " check") } else { (usual.as_str(), "") };
    command.arg(usual).arg(format!("{rest} {lag} {grace} {memory}{check}"));
    command
}

fn is_claim(connection: &RedisConnection, script: &Script) -> bool {
    std::ptr::eq(script, &raw const connection.scripts.claim)
}

/// Calls a script by its name, and by its text where the server does not know it. `None`: it is
/// another server than the one that the script was written for.
async fn call_at(
    link: &Link<RedisServer>,
    connection: &RedisConnection,
    which: Which,
    keys: &[String],
    arguments: &[String],
) -> RedisResult<Option<Value>> {
    let mut commands = connection.commands.clone();
    let known = command(link, connection, which, false, keys, arguments);
    let sent = Instant::now();
    let answer: RedisResult<Value> = known.query_async(&mut commands).await;
    // Silence is no answer.
    if answer.as_ref().map_or_else(|error| error.code().is_some(), |_| true) {
        link.trip.took(sent.elapsed());
    }
    match answer {
        Err(error) if error.code() == Some("NOSCRIPT") => {}
        known => return known.map(Some),
    }
    let unknown = command(link, connection, which, true, keys, arguments);
    Ok(unless_replaced(connection, which, unknown.query_async(&mut commands).await?))
}

/// Calls the script at the node that a slot is moving to, which answers only after `ASKING`.
async fn call_asking(
    link: &Link<RedisServer>,
    connection: &RedisConnection,
    which: Which,
    keys: &[String],
    arguments: &[String],
) -> RedisResult<Option<Value>> {
    let mut commands = connection.commands.clone();
    let mut by_text = false;
    loop {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command(link, connection, which, by_text, keys, arguments));
        let mut answers = commands.req_packed_commands(&both, 0, 2).await?;
        match answers.pop().unwrap_or(Value::Nil).extract_error() {
            Err(error) if error.code() == Some("NOSCRIPT") && !by_text => by_text = true,
            answer => return Ok(unless_replaced(connection, which, answer?)),
        }
    }
}

fn unless_replaced(connection: &RedisConnection, which: Which, value: Value) -> Option<Value> {
    let is_claim = is_claim(connection, which(&connection.scripts));
    (!is_claim || !reply::is_of_another_server(&value)).then_some(value)
}

impl LeaseStore for RedisStore {
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
        let keys: Vec<_> = std::iter::once(self.layout().meta()).chain(keys).collect();
        let (names, fresh) = (claim.keys.clone(), self.fresh.clone());
        let client = self.links.of_this_process().client.clone();
        let mut arguments = claim_arguments(claim, client, longest);
        self.links.drive(async move |link: Arc<Link<RedisServer>>| {
            let mut connected = link.connected().await?;
            let claim: Which = |scripts| &scripts.claim;
            if let Some(rest) = arguments.last_mut() {
                rest.push_str(if fresh.load(Ordering::Relaxed) { " 1" } else { " 0" });
            }
            let value = call(&link, &mut connected, claim, &keys, &arguments).await?;
            // There is one by now: if it is gone later, it was lost.
            fresh.store(false, Ordering::Relaxed);
            let claimed = reply::claimed(value, &names, longest);
            claimed.map_err(|error| error.with_backend(&link.name))
        })
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let silence = renewal_silence(renewals);
        let renewals: Vec<_> = renewals.iter().map(|renewal| self.renewal(renewal)).collect();
        self.links.drive(async move |link: Arc<Link<RedisServer>>| {
            let mut connected = link.connected().await?;
            let number = connected.number();
            let asked = renewed(&link, &mut connected, &renewals);
            let all = link.answer(number, silence, "a renewal", asked).await?;
            let several = renewals.iter().map(|renewal| renewal.keys.len()).sum::<usize>() > 1;
            if all.is_ok() || !several || !connected.is_cluster {
                return all;
            }
            each_renewed(&link, &connected, renewals, silence / 2).await
        })
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
        let keys: Vec<_> = ending.keys.iter().map(|key| self.layout().key(key)).collect();
        let arguments = vec![
            ending.id.to_string(),
            self.links.of_this_process().client.clone(),
            how.to_owned(),
            optional(ending.next),
        ];
        self.links.drive(async move |link: Arc<Link<RedisServer>>| {
            let mut connected = link.connected().await?;
            let all = ended(&link, &mut connected, &keys, &arguments).await;
            if all.is_ok() || keys.len() < 2 || !connected.is_cluster {
                return all;
            }
            // As with renewals.
            let mut any = false;
            for key in keys.chunks(1) {
                any |= ended(&link, &mut connected, key, &arguments).await?;
            }
            Ok(any)
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let target = self.links.target.clone();
        let (exact, prefix) = match query {
            Query::Key(key) => (Some(key.clone()), String::new()),
            Query::Prefix(prefix) => (None, prefix.clone()),
            _ => (None, String::new()),
        };
        self.links.drive(async move |link: Arc<Link<RedisServer>>| {
            let layout = &target.layout;
            let mut connected = link.connected().await?;
            if let Some(key) = exact {
                return listed(&link, &mut connected, layout, &[layout.key(&key)]).await;
            }
            let pattern = layout.pattern(&prefix);
            for _ in 0..HOPS {
                if connected.is_cluster {
                    // A scan is answered by any node; this leads to the one that has the keys.
                    listed(&link, &mut connected, layout, &[layout.key("")]).await?;
                }
                let number = connected.number();
                let mut nodes = vec![(*connected).clone()];
                nodes.extend(connected.aside.lock().await.clone());
                let mut keys = Vec::new();
                for node in nodes {
                    let found = scan(node, &pattern).await;
                    keys.extend(found.map_err(|error| failed(&link, &connected, error))?);
                }
                // A scan may meet a key more than once.
                keys.sort_unstable();
                keys.dedup();
                let mut entries = Vec::new();
                for batch in keys.chunks(BATCH) {
                    let all = listed(&link, &mut connected, layout, batch).await;
                    if all.is_ok() || batch.len() < 2 || !connected.is_cluster {
                        entries.extend(all?);
                        continue;
                    }
                    // As with renewals.
                    for key in batch.chunks(1) {
                        entries.extend(listed(&link, &mut connected, layout, key).await?);
                    }
                }
                if connected.number() == number {
                    return Ok(entries);
                }
            }
            Err(LockError::unavailable(&link.name, "its keys are being moved among nodes"))
        })
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }

    fn subscribe(&self, sink: WakeSink) -> bool {
        self.links.subscribe(sink)
    }

    fn leases(&self) -> RangeInclusive<Duration> {
        Duration::ZERO..=self.longest
    }

    fn served_by(&self) -> Option<String> {
        self.links.served_by("")
    }

    fn works_in_children(&self) -> bool {
        true
    }
}

/// The keys of that pattern at one server.
async fn scan(mut node: RedisConnection, pattern: &str) -> RedisResult<Vec<String>> {
    let (mut keys, mut cursor) = (Vec::new(), String::from("0"));
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let (next, found) = scan.query_async::<(String, Vec<Vec<u8>>)>(&mut node.commands).await?;
        keys.extend(found.into_iter().filter_map(|key| String::from_utf8(key).ok()));
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}

async fn renewed(
    link: &Arc<Link<RedisServer>>,
    connected: &mut Connected<RedisConnection>,
    renewals: &[Renewal],
) -> Result<Vec<Renewed>, LockError> {
    let keys: Vec<_> = renewals.iter().flat_map(|renewal| renewal.keys.clone()).collect();
    let arguments: Vec<_> = renewals.iter().flat_map(Renewal::arguments).collect();
    let value = call(link, connected, |scripts| &scripts.renew, &keys, &arguments).await?;
    reply::renewed(value).map_err(|error| error.with_backend(&link.name))
}

/// Renews each by itself: while a slot moves, some keys are at one node and some at another, and no
/// script takes both. One that fails, or is not answered within `patience`, costs the others
/// nothing.
///
/// # Errors
/// That of the last, if all have failed.
async fn each_renewed(
    link: &Arc<Link<RedisServer>>,
    connected: &Connected<RedisConnection>,
    renewals: Vec<Renewal>,
    patience: Duration,
) -> Result<Vec<Renewed>, LockError> {
    let begin = |renewal| {
        let (link, connected) = (link.clone(), connected.clone());
        tokio::spawn(tokio::time::timeout(patience, async move {
            renewed_alone(&link, connected, renewal).await
        }))
    };
    let begun: Vec<_> = renewals.into_iter().map(begin).collect();
    let (mut answers, mut failed) = (Vec::with_capacity(begun.len()), None);
    for renewal in begun {
        answers.push(match renewal.await {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(error))) => {
                failed = Some(error);
                Renewed::Unknown
            }
            Ok(Err(_)) | Err(_) => Renewed::Unknown,
        });
    }
    let failed = failed.filter(|_| answers.iter().all(|answer| *answer == Renewed::Unknown));
    failed.map_or(Ok(answers), Err)
}

/// Renews a hold, key by key if its keys are apart. If one of them is gone, the hold is, and those
/// that were renewed end with their leases.
async fn renewed_alone(
    link: &Arc<Link<RedisServer>>,
    mut connected: Connected<RedisConnection>,
    renewal: Renewal,
) -> Result<Renewed, LockError> {
    let whole = renewed(link, &mut connected, std::slice::from_ref(&renewal)).await;
    if whole.is_ok() || renewal.keys.len() < 2 {
        return whole.map(worst);
    }
    let mut answers = Vec::with_capacity(renewal.keys.len());
    for key in &renewal.keys {
        let one = Renewal { keys: vec![key.clone()], ..renewal.clone() };
        answers.extend(renewed(link, &mut connected, &[one]).await?);
    }
    Ok(worst(answers))
}

/// What the answers come to together.
fn worst(answers: Vec<Renewed>) -> Renewed {
    answers.into_iter().find(|answer| *answer != Renewed::Kept).unwrap_or(Renewed::Kept)
}

async fn ended(
    link: &Arc<Link<RedisServer>>,
    connected: &mut Connected<RedisConnection>,
    keys: &[String],
    arguments: &[String],
) -> Result<bool, LockError> {
    let value = call(link, connected, |scripts| &scripts.end, keys, arguments).await?;
    reply::ended(value).map_err(|error| error.with_backend(&link.name))
}

async fn listed(
    link: &Arc<Link<RedisServer>>,
    connected: &mut Connected<RedisConnection>,
    layout: &RedisLayout,
    keys: &[String],
) -> Result<Vec<LeaseEntry>, LockError> {
    let value = call(link, connected, |scripts| &scripts.list, keys, &[]).await?;
    let name = |key: &String| layout.name(key).unwrap_or(key).to_owned();
    reply::entries(value, &keys.iter().map(name).collect::<Vec<_>>())
}
