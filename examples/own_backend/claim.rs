//! Who gets a key, and who has to wait for it.

use std::time::Duration;

use locks::backend::{Claimed, LeaseClaim, Refusal};
use locks::{ErrorKind, LockError, Mode, Reserve, Token};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::rows::{Row, nanos, permits, rows, units};
use crate::store::{GRACE, Refused};

/// How one of the keys stands.
enum Stand {
    /// To be had, by ending these.
    Free { victims: Vec<Row> },
    /// These are in the way.
    Held { by: Vec<Row> },
    /// Others come first; whether the first of them could have it now.
    Queued { behind_ready: bool },
}

fn room(mode: Mode) -> usize {
    permits(mode).map_or(1, |of| of as usize)
}

/// Grants all keys of the claim, or none.
pub(crate) fn claim(
    step: &Transaction<'_>,
    now: i64,
    asked: &LeaseClaim,
    client: &str,
) -> Result<Claimed, Refused> {
    let id = asked.id.to_string();
    // Claimed before, and the answer was lost: the same answer.
    let again = "SELECT token FROM locks WHERE id = ?1 AND token > 0 AND ends > ?2";
    let token = step.query_row(again, params![id, now], |row| row.get::<_, i64>(0)).optional()?;
    if let Some(token) = token {
        return Ok(Claimed::Granted(Token::new(token.unsigned_abs())));
    }
    let place = "SELECT min(since) FROM locks WHERE id = ?1";
    let placed: Option<i64> = step.query_row(place, [&id], |row| row.get(0))?;
    let waited = asked.place.map_or(Duration::ZERO, |place| place.waited);
    let since = placed.unwrap_or_else(|| now - nanos(waited));
    let mut stands = Vec::new();
    for key in &asked.keys {
        // This is the request that the place was kept for.
        step.execute("DELETE FROM locks WHERE key = ?1 AND id = ?2", [key.as_str(), client])?;
        let present = rows(step, "key = ?1 AND id <> ?2", &[key, &id])?;
        stands.push(stand(present, key, since, asked, now)?);
    }
    if stands.iter().any(|stand| !matches!(stand, Stand::Free { .. })) {
        return refuse(step, now, asked, client, stands);
    }
    let mut stolen = Vec::new();
    for stand in stands {
        let Stand::Free { victims } = stand else { continue };
        for victim in victims {
            // The loss of one key is the loss of all.
            step.execute("DELETE FROM locks WHERE id = ?1", [&victim.id])?;
            stolen.push(victim.entry(now));
        }
    }
    let next = "UPDATE machine SET token = token + 1 RETURNING token";
    let token: i64 = step.query_row(next, [], |row| row.get(0))?;
    let ends_by = asked.hold_at_most.map_or(i64::MAX, |most| now + nanos(most));
    let reserved = asked.hold_at_least.map_or(0, |least| now + nanos(least));
    let reserved = if asked.reserve == Reserve::IfDone { -reserved } else { reserved };
    let ends = ends_by.min(now + nanos(asked.lease));
    for key in &asked.keys {
        step.execute(
            "INSERT OR REPLACE INTO locks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, ?9, ?10)",
            params![
                key,
                id,
                token,
                units(asked.mode),
                now,
                ends,
                ends_by,
                reserved,
                client,
                asked.note
            ],
        )?;
    }
    let token = Token::new(token.unsigned_abs());
    Ok(match stolen.is_empty() {
        true => Claimed::Granted(token),
        false => Claimed::Stolen { token, from: stolen },
    })
}

/// How a key stands for one that has asked for it at `since`, with these present, the oldest first.
fn stand(
    present: Vec<Row>,
    key: &str,
    since: i64,
    asked: &LeaseClaim,
    now: i64,
) -> Result<Stand, Refused> {
    let (places, holds): (Vec<_>, Vec<_>) = present.into_iter().partition(Row::waits);
    let is_permit = permits(asked.mode).is_some();
    if holds.iter().any(|row| permits(row.mode).is_some() != is_permit) {
        return Err(Refused::ByStore(LockError::new(ErrorKind::PermitsMismatch, key)));
    }
    let in_its_way = |mode| holds.iter().filter(move |row| row.bars(mode, now)).count();
    let mut taken = in_its_way(asked.mode);
    let excess = (taken + 1).saturating_sub(room(asked.mode));
    if excess > 0 {
        let in_the_way = holds.into_iter().filter(|row| row.bars(asked.mode, now));
        let in_the_way: Vec<_> = in_the_way.collect();
        // The oldest that make room, all of them or none, and nothing that is reserved.
        let is_due = |row: &&Row| {
            let due = asked.steal_after.is_some_and(|after| now - row.since >= nanos(after));
            due && row.is_held(now) && row.reserved.abs() <= now
        };
        // A due steal goes ahead of the queue.
        if in_the_way.iter().filter(is_due).count() < excess {
            return Ok(Stand::Held { by: in_the_way });
        }
        let victims = in_the_way.into_iter().filter(|row| is_due(&row)).take(excess);
        return Ok(Stand::Free { victims: victims.collect() });
    }
    let ahead = places.iter().filter(|place| asked.place.is_some() && place.since < since);
    let mut ahead = ahead.map(|place| place.mode).peekable();
    let behind_ready = ahead.peek().is_some_and(|first| in_its_way(*first) < room(*first));
    for mode in ahead {
        if mode == Mode::Shared && asked.mode == Mode::Shared {
            continue;
        }
        // First come, first served: one that has no room yet keeps all behind it back.
        if !is_permit || taken >= room(mode) {
            return Ok(Stand::Queued { behind_ready });
        }
        taken += 1;
    }
    Ok(match is_permit && taken >= room(asked.mode) {
        true => Stand::Queued { behind_ready },
        false => Stand::Free { victims: Vec::new() },
    })
}

/// Gives the request its place, and says what is in its way.
fn refuse(
    step: &Transaction<'_>,
    now: i64,
    asked: &LeaseClaim,
    client: &str,
    stands: Vec<Stand>,
) -> Result<Claimed, Refused> {
    let id = asked.id.to_string();
    let place = asked.place.filter(|place| !place.keep.is_zero());
    let mut refusal = Refusal::new(Vec::new());
    refusal.placed = place.is_some();
    let mut again_at = Vec::new();
    for (key, stand) in asked.keys.iter().zip(stands) {
        if let Some(place) = place {
            let (since, until) = (now - nanos(place.waited), now + nanos(place.keep));
            step.execute(
                "INSERT INTO locks VALUES (?1, ?2, 0, ?3, ?4, ?5, 0, 0, NULL, ?6, ?7)
                 ON CONFLICT DO UPDATE SET ends = excluded.ends, called = NULL",
                params![key, id, units(asked.mode), since, until, client, asked.note],
            )?;
        }
        match stand {
            Stand::Free { .. } => {}
            Stand::Held { by } => {
                for row in by {
                    let due = asked.steal_after.map(|after| row.since + nanos(after));
                    again_at.extend(due.map(|due| due.max(row.reserved.abs())));
                    again_at.push(if row.is_held(now) { row.ends } else { row.reserved });
                    refusal.in_the_way.push(row.entry(now));
                }
            }
            Stand::Queued { behind_ready: false } => {}
            // It is the turn of the first, which looks soon, or is not there any more.
            Stand::Queued { behind_ready: true } => {
                step.execute(
                    "UPDATE locks SET called = ?2 WHERE key = ?1 AND called IS NULL AND id =
                     (SELECT id FROM locks WHERE key = ?1 AND token = 0 ORDER BY since LIMIT 1)",
                    params![key, now],
                )?;
                again_at.push(now + GRACE);
            }
        }
    }
    let again_in = again_at.into_iter().filter(|at| *at > now).min();
    refusal.again_in = again_in.map(|at| Duration::from_nanos((at - now).unsigned_abs()));
    Ok(Claimed::Refused(refusal))
}
