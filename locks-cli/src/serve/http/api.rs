//! What the page asks for, and scripts: locks, clients, who waits for whom; and the release of a
//! hold.

use std::time::Duration;

use hyper::StatusCode;
use locks::Token;
use locks::net::{ClientInfo, Observation};
use serde_json::{Map, Value, json};

use super::graph;
use super::response::{Answer, failure, in_json};
use super::seen::{Seen, Snapshot};
use crate::list::json::lock;
use crate::list::select::{Selection, Sort, State};

/// How many entries a page has, unless it is asked for more or less.
const PER_PAGE: usize = 50;

/// How many it may have.
const MOST: usize = 1000;

/// What is asked for, behind the question mark.
struct ListQuery {
    selection: Selection,
    page: usize,
    per_page: usize,
}

impl ListQuery {
    /// # Errors
    /// What is wrong with it: nothing is ignored.
    fn parse(query: &str, sorts: &[&str]) -> Result<Self, String> {
        let mut asked = Self { selection: Selection::default(), page: 1, per_page: PER_PAGE };
        let selection = &mut asked.selection;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let one_of = |names: &[&str]| format!("`{name}` is one of `{}`", names.join("`, `"));
            let number = |most: usize| {
                let number = value.parse().ok().filter(|number| (1..=most).contains(number));
                number.ok_or_else(|| format!("`{name}` is a number from 1 to {most}"))
            };
            match &*name {
                "search" => selection.text = Some(value.into_owned()),
                "state" if value.is_empty() => selection.state = None,
                "state" => {
                    let state = State::parse(&value).ok_or_else(|| one_of(&State::NAMES))?;
                    selection.state = Some(state);
                }
                "sort" => {
                    let sort = Sort::parse(&value).filter(|_| sorts.contains(&&*value));
                    selection.sort = sort.ok_or_else(|| one_of(sorts))?;
                }
                "order" => {
                    selection.reverse = match &*value {
                        "natural" => false,
                        "reverse" => true,
                        _ => return Err(one_of(&["natural", "reverse"])),
                    }
                }
                "page" => asked.page = number(usize::MAX)?,
                "per_page" => asked.per_page = number(MOST)?,
                _ => return Err(format!("there is no parameter `{name}`")),
            }
        }
        Ok(asked)
    }

    /// Those of the page, and what is to be said of all: the last page, if there are not so many.
    fn page<'a, T>(&self, all: &'a [T]) -> (&'a [T], Map<String, Value>) {
        let pages = all.len().div_ceil(self.per_page).max(1);
        let page = self.page.min(pages);
        let from = (page - 1) * self.per_page;
        let some = &all[from..all.len().min(from + self.per_page)];
        let said = json!({
            "matching": all.len(),
            "page": page,
            "pages": pages,
            "per_page": self.per_page,
        });
        (some, said.as_object().cloned().unwrap_or_default())
    }
}

/// `GET /api/locks`
pub(super) async fn locks(seen: &Seen, query: &str) -> Answer {
    let asked = match ListQuery::parse(query, &Sort::NAMES) {
        Ok(asked) => asked,
        Err(why) => return failure(StatusCode::BAD_REQUEST, &why),
    };
    answer(seen, |snapshot| {
        let chosen = asked.selection.of(&snapshot.observation.locks);
        let (some, mut said) = asked.page(&chosen);
        said.extend(summary(snapshot));
        let locks = some.iter().map(|info| exact(lock(info))).collect::<Vec<_>>();
        said.insert("locks".into(), locks.into());
        said.into()
    })
    .await
}

/// `GET /api/clients`
pub(super) async fn clients(seen: &Seen, query: &str) -> Answer {
    let asked = match ListQuery::parse(query, &["key"]) {
        Ok(asked) => asked,
        Err(why) => return failure(StatusCode::BAD_REQUEST, &why),
    };
    answer(seen, |snapshot| {
        let text = asked.selection.text.as_deref().unwrap_or_default().to_lowercase();
        let mut chosen = snapshot.observation.clients.iter().collect::<Vec<_>>();
        chosen.retain(|client| is_called(client, &text));
        // Those of whom there is most to be said.
        chosen.sort_by_key(|client| std::cmp::Reverse((client.waits, client.holds)));
        let (some, mut said) = asked.page(&chosen);
        said.insert("clients".into(), some.iter().map(|info| client(info)).collect());
        said.into()
    })
    .await
}

/// `GET /api/graph`
pub(super) async fn graph(seen: &Seen) -> Answer {
    answer(seen, |snapshot| graph::graph(&snapshot.observation.locks)).await
}

/// `POST /api/release`: `{"key": …, "token": …, "confirm": …}`, the last of which is the key once
/// more.
pub(super) async fn release(seen: &Seen, body: &[u8]) -> Answer {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let number = match &said["token"] {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    let (Some(key), Some(number)) = (said["key"].as_str(), number) else {
        let why = "a release names `key`, `token` and, once more, the key in `confirm`";
        return failure(StatusCode::BAD_REQUEST, why);
    };
    if said["confirm"].as_str() != Some(key) {
        let why = "nothing was released: `confirm` has to be the key once more";
        return failure(StatusCode::BAD_REQUEST, why);
    }
    match seen.release(key, Token::new(number)).await {
        Ok(released) => in_json(&json!({ "released": released })),
        Err(why) => failure(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

async fn answer(seen: &Seen, make: impl FnOnce(&Snapshot) -> Value) -> Answer {
    match seen.all().await {
        Ok(snapshot) => in_json(&make(&snapshot)),
        Err(why) => failure(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// Tokens as text, too: what reads JSON may have no whole numbers of that size.
fn exact(mut lock: Value) -> Value {
    if let Some(holders) = lock["holders"].as_array_mut() {
        for holder in holders {
            holder["token_text"] = holder["token"].as_u64().map(|token| token.to_string()).into();
        }
    }
    let reserved = lock["reserved_by"].as_array().into_iter().flatten();
    let reserved = reserved.map(ToString::to_string).collect::<Vec<_>>();
    lock["reserved_by_text"] = reserved.into();
    lock
}

/// What is said of the whole.
fn summary(snapshot: &Snapshot) -> Map<String, Value> {
    let Observation { status, figures, connected, holds, recovering, stalled, .. } =
        &*snapshot.observation;
    let said = json!({
        "age_ms": millis(snapshot.at.elapsed()),
        "server": {
            "pid": status.pid,
            "process": status.process,
            "version": status.version,
            "serving_for_ms": millis(status.serving_for),
            "recovering_ms": recovering.map(millis),
            "stalled": stalled,
        },
        "totals": {
            "keys": snapshot.observation.locks.len(),
            "holds": holds,
            "waiters": status.waiters,
            "clients": status.sessions,
            "connected": connected,
        },
        "counted": {
            "grants": figures.grants(),
            "waits": figures.waits,
            "contended": figures.refusals.contended,
            "timeouts": figures.refusals.timeout,
            "deadlocks": figures.refusals.deadlock,
            "releases": figures.releases,
            "stolen": figures.losses.stolen,
            "lost": figures.losses.total(),
            "evictions": figures.evictions,
        },
    });
    said.as_object().cloned().unwrap_or_default()
}

fn client(client: &ClientInfo) -> Value {
    let ClientInfo { number, party, connected, leased, lease, since, silent, holds, waits, .. } =
        client;
    json!({
        "number": number,
        "label": party.label,
        "process": party.process,
        "pid": party.pid,
        "host": party.host,
        "connected": connected,
        "kept_by": if *leased { "lease" } else { "process" },
        "lease_ms": millis(*lease),
        "since_ms": millis(*since),
        "silent_ms": millis(*silent),
        "holds": holds,
        "waits": waits,
    })
}

fn is_called(client: &ClientInfo, text: &str) -> bool {
    let party = &client.party;
    let names = [&party.label, &party.process, &party.host];
    let mut names = names.into_iter().flatten().map(|name| name.to_lowercase());
    names.any(|name| name.contains(text))
        || text.is_empty()
        || party.pid.is_some_and(|pid| pid.to_string() == text)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
