//! Whether whoever is in the way waits for this very process: then waiting would never end.

use std::env;

use locks::backend::Query;
use locks::{Backend, ErrorKind, HolderInfo, LockError, Mode, Token};

use super::family::{is_above, is_there};
use crate::args::LockArgs;
use crate::hold;
use crate::list::person::is_local;

/// The locks that are held around a command, for a `locks run` within: a line for each, token and
/// key.
pub(crate) const WITHIN: &str = "LOCKS_WITHIN";

/// What the variable says for a command that runs under `keys`.
pub(crate) fn within(keys: &[String], token: Token) -> String {
    let mut lines = env::var(WITHIN).unwrap_or_default();
    for key in keys {
        lines.push_str(&format!("{token} {key}\n"));
    }
    lines
}

/// Fails if one of the keys is held in such a way by a `locks run` or `locks hold` that this
/// process runs under.
///
/// # Errors
/// `Deadlock`, then.
pub(crate) async fn is_not_in_the_way(
    backend: &Backend,
    asked: &LockArgs,
) -> Result<(), LockError> {
    // A thief does not wait for its victim to let go.
    if asked.options.steal_after.is_some() || !backend.about().capabilities.listing {
        return Ok(());
    }
    for key in &asked.keys {
        // Whatever keeps it from being told is told by the acquisition, if it is in its way, too.
        let found = backend.inspect(Query::Key(key.clone())).await.unwrap_or_default();
        let holders = found.into_iter().flat_map(|lock| lock.holders).collect::<Vec<_>>();
        let is_shared = |holder: &HolderInfo| holder.mode == Mode::Shared;
        let mut around =
            holders.iter().filter_map(|holder| Some((holder, around_us(holder, key)?)));
        let Some((holder, which)) = (match asked.options.mode {
            Mode::Exclusive => around.next(),
            Mode::Shared => around.find(|(holder, _)| !is_shared(holder)),
            // Those of others can become free.
            Mode::Permit { take, of } => {
                let around = Vec::from_iter(around);
                let units = |holder: &HolderInfo| match holder.mode {
                    Mode::Permit { take, .. } => u64::from(take),
                    _ => 0,
                };
                let ours: u64 = around.iter().map(|(holder, _)| units(holder)).sum();
                around.into_iter().next().filter(|_| ours + u64::from(take) > u64::from(of))
            }
        }) else {
            continue;
        };
        let text = format!(
            "`{key}` is held by {holder}: that is the {which}, so waiting for it would never end; leave out \
             this one, or use another key"
        );
        return Err(LockError::new(ErrorKind::Deadlock, key.as_str()).with_message(text));
    }
    Ok(())
}

/// What of ours the holder is, if it is.
fn around_us(holder: &HolderInfo, key: &str) -> Option<&'static str> {
    let is_here = holder.party.host.as_deref().is_none_or(is_local);
    // On another machine there are others by these numbers.
    let pid = holder.party.pid.filter(|_| is_here).and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid
        && let Some(shell) = hold::kept_for(pid)
    {
        return is_above(shell).then_some("`locks hold` of this script");
    }
    let line = format!("{} {key}", holder.token?);
    let is_noted = env::var(WITHIN).is_ok_and(|lines| lines.lines().any(|noted| noted == line));
    // One that has let this process go on its own does not wait for it. One in another pid
    // namespace, or on another machine, cannot be looked for.
    let waits = pid.is_none_or(|pid| is_above(pid) || !is_there(pid));
    (is_noted && waits).then_some("`locks run` around this one, which waits for this one to end")
}
