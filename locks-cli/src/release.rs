//! `locks release`: takes a lock away from whoever holds it.

use locks::backend::Query;
use locks::{Backend, LockError, Token};
use serde_json::json;

use crate::args::ReleaseArgs;
use crate::out;
use crate::status::{Failure, Status, say};

/// Ends one hold of the key, or all.
pub(crate) fn release(asked: &ReleaseArgs) -> Result<Status, Failure> {
    let backend = asked.backend.look()?.backend;
    let tokens = match asked.token {
        Some(token) => vec![token],
        None => holds(&backend, &asked.key)?,
    };
    let mut released = Vec::new();
    for token in tokens {
        if backend.evict(&asked.key, token).block()? {
            released.push(token.get());
        }
    }
    if asked.json {
        out::print(&format!("{}\n", json!({ "key": asked.key, "released": released })))?;
    }
    if !released.is_empty() {
        return Ok(Status::Done);
    }
    if !asked.json {
        say(explain(&backend, asked)?);
    }
    Ok(Status::Nothing)
}

/// The tokens of those who hold the key now, and of those who have left it reserved.
fn holds(backend: &Backend, key: &str) -> Result<Vec<Token>, LockError> {
    let found = backend.inspect(Query::Key(key.to_owned())).block()?;
    let holders = found.iter().flat_map(|lock| &lock.holders);
    let reserved = found.iter().flat_map(|lock| &lock.reserved_by).copied();
    Ok(holders.filter_map(|holder| holder.token).chain(reserved).collect())
}

/// Why there was nothing to release.
fn explain(backend: &Backend, asked: &ReleaseArgs) -> Result<String, LockError> {
    let key = &asked.key;
    if let Some(token) = asked.token {
        return Ok(format!("`{key}` is not held with token {token}"));
    }
    let found = backend.inspect(Query::Key(key.clone())).block()?;
    let mut holders = found.iter().flat_map(|lock| &lock.holders);
    Ok(match holders.find(|holder| holder.token.is_none()) {
        Some(stranger) if stranger.party.unseen => format!(
            "`{key}` is held by {stranger}, of which nothing but that can be told: release it where that \
             process can be seen, outside of its container for one"
        ),
        Some(stranger) => format!(
            "`{key}` is held by {stranger}, who is no user of `locks` and would not notice: end that \
             process, or take the lock by `locks run --steal-after`"
        ),
        None => format!("nobody holds `{key}`"),
    })
}
