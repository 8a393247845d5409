//! `locks ping`: whether the backend answers, and what it can do.

use std::fmt::Write;
use std::time::{Duration, Instant};

use locks::backend::{BackendInfo, Capabilities, Exclusion, Query, TokenScope, WaiterOrder};
use locks::net::Status as ServerStatus;
use serde_json::{Value, json};

use crate::args::PingArgs;
use crate::out;
use crate::shown::shown;
use crate::status::{Failure, Status};

/// Asks the backend something, and says what it is.
pub(crate) fn ping(asked: &PingArgs) -> Result<Status, Failure> {
    let looked = asked.backend.look()?;
    let backend = looked.backend;
    let about = backend.about();
    // First of all, so that what it takes to get there does not count as its answer.
    let status = looked.server.map(|server| server.status().block()).transpose()?;
    let asked_at = Instant::now();
    if about.capabilities.listing {
        // A key like any other; it need not be held.
        backend.inspect(Query::Key("ping".into())).block()?;
    }
    let took = about.capabilities.listing.then(|| asked_at.elapsed());
    let behind = backend.served_by();
    let text = match asked.json {
        true => json(about, took, status.as_ref(), behind),
        false => words(about, took, status.as_ref(), behind),
    };
    out::print(&text).map(|()| Status::Done)
}

fn words(
    about: &BackendInfo,
    took: Option<Duration>,
    server: Option<&ServerStatus>,
    behind: Option<String>,
) -> String {
    let can = &about.capabilities;
    let mut text = shown(&about.name);
    match took {
        Some(took) => _ = writeln!(text, " answered in {:.1} ms", took.as_secs_f64() * 1e3),
        None => text.push_str(" can be opened; it has no listing to ask for\n"),
    }
    if let Some(server) = server {
        let since = lasting(server.serving_for);
        let (process, version) = (shown(&server.process), shown(&server.version));
        let pid = server.pid;
        _ = writeln!(text, "served by  {process} (pid {pid}), version {version}, for {since}");
        let (sessions, keys, waiters) = (server.sessions, server.keys, server.waiters);
        _ = writeln!(text, "serves     sessions: {sessions}, keys: {keys}, waiters: {waiters}");
    }
    if let Some(behind) = behind {
        _ = writeln!(text, "served by  {}", shown(&behind));
    }
    _ = writeln!(text, "exclusion  {}", exclusion(can.exclusion));
    _ = writeln!(text, "tokens     {}", tokens(can.tokens));
    _ = writeln!(text, "waiters    {}", order(can.order));
    let (yes, no): (Vec<_>, Vec<_>) = abilities(can).into_iter().partition(|(_, able)| *able);
    let list =
        |of: &[(&str, bool)]| of.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    _ = writeln!(text, "can        {}", list(&yes));
    if !no.is_empty() {
        _ = writeln!(text, "cannot     {}", list(&no));
    }
    text
}

/// In the greatest unit of which it has one.
fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn json(
    about: &BackendInfo,
    took: Option<Duration>,
    server: Option<&ServerStatus>,
    behind: Option<String>,
) -> String {
    let can = &about.capabilities;
    let abilities = abilities(can).into_iter();
    let abilities = abilities.map(|(name, able)| (name.to_owned(), json!(able))).collect::<Value>();
    let object = json!({
        "name": about.name,
        "answered_ms": took.map(|took| took.as_secs_f64() * 1e3),
        "server": server.map(|server| json!({
            "pid": server.pid,
            "process": server.process,
            "version": server.version,
            "serving_for_ms": u64::try_from(server.serving_for.as_millis()).unwrap_or(u64::MAX),
            "sessions": server.sessions,
            "keys": server.keys,
            "waiters": server.waiters,
        })),
        "served_by": behind,
        "exclusion": exclusion(can.exclusion),
        "tokens": tokens(can.tokens),
        "waiters": order(can.order),
        "can": abilities,
    });
    format!("{object:#}\n")
}

fn exclusion(of: Exclusion) -> &'static str {
    match of {
        Exclusion::Process => "within one process",
        Exclusion::Kernel => "by the kernel of this machine",
        Exclusion::Arbiter => "by an arbiter that knows when a holder is gone",
        Exclusion::Lease => "by lease",
        Exclusion::LeaseUnlessDataIsLost => "by lease, unless the store loses data",
        _ => "in a way that this version has no word for",
    }
}

fn tokens(of: TokenScope) -> &'static str {
    match of {
        TokenScope::Process => "grow as long as the process lives",
        TokenScope::Directory => "grow as long as the directory is kept",
        TokenScope::WhileDataIsKept => "grow as long as the arbiter keeps its data",
        TokenScope::Durable => "grow for ever",
        _ => "grow for a time that this version has no word for",
    }
}

fn order(of: WaiterOrder) -> &'static str {
    match of {
        WaiterOrder::None => "in no order",
        WaiterOrder::WithinProcess => "first come, first served within a process",
        WaiterOrder::All => "first come, first served",
        _ => "in an order that this version has no word for",
    }
}

fn abilities(can: &Capabilities) -> [(&'static str, bool); 14] {
    [
        ("shared", can.shared),
        ("permits", can.permits),
        ("take", can.several_permits),
        ("steal", can.steal),
        ("reentrant", can.reentrant),
        ("shared_owner", can.shared_owner),
        ("upgrade", can.upgrade),
        ("bounds", can.bounds),
        ("several keys", can.several_keys),
        ("deadlock detection", can.deadlock_detection),
        ("listing", can.listing),
        ("listing of waiters", can.listing_waiters),
        ("ages", can.ages),
        ("release by others", can.evict),
    ]
}
