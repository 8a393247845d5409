//! Locks as JSON, for programs. `locks ls --help` describes it.

use std::time::{Duration, UNIX_EPOCH};

use locks::{HolderInfo, LockInfo, Mode, ProcessInfo, WaiterInfo};
use serde_json::{Map, Value, json};

use super::person;

/// One array, for people as well.
pub(super) fn pretty(locks: &[LockInfo]) -> String {
    format!("{:#}\n", array(locks))
}

/// One array on a line of its own.
pub(super) fn line(locks: &[LockInfo]) -> String {
    format!("{}\n", array(locks))
}

fn array(locks: &[LockInfo]) -> Value {
    locks.iter().map(lock).collect()
}

/// One lock.
pub(crate) fn lock(lock: &LockInfo) -> Value {
    json!({
        "key": lock.key,
        "holders": lock.holders.iter().map(holder).collect::<Vec<_>>(),
        "waiters": lock.waiters.iter().map(waiter).collect::<Vec<_>>(),
        "reserved_ms": lock.reserved_for.map(millis),
        "reserved_by": lock.reserved_by.iter().map(|token| token.get()).collect::<Vec<_>>(),
        "at": lock.at.duration_since(UNIX_EPOCH).ok().map(|at| at.as_secs_f64()),
    })
}

fn holder(holder: &HolderInfo) -> Value {
    let site = person::holder_site(holder);
    let mut object = somebody(holder.mode, holder.who.as_deref(), &holder.party, site);
    object.insert("token".into(), json!(holder.token.map(|token| token.get())));
    object.insert("depth".into(), json!(holder.depth));
    object.insert("age_ms".into(), json!(holder.age.map(millis)));
    Value::Object(object)
}

fn waiter(waiter: &WaiterInfo) -> Value {
    let site = person::waiter_site(waiter);
    let mut object = somebody(waiter.mode, waiter.who.as_deref(), &waiter.party, site);
    object.insert("waited_ms".into(), json!(millis(waiter.waited)));
    Value::Object(object)
}

fn somebody(
    mode: Mode,
    who: Option<&str>,
    party: &ProcessInfo,
    site: Option<String>,
) -> Map<String, Value> {
    let mut somebody: Map<String, Value> = [
        ("mode", json!(person::mode(mode))),
        ("permits", json!(person::permits(mode).map(|(_, of)| of))),
        ("take", json!(person::permits(mode).map(|(take, _)| take))),
        ("who", json!(who)),
        ("label", json!(party.label)),
        ("host", json!(party.host)),
        ("pid", json!(party.pid)),
        ("process", json!(party.process)),
        ("command", json!(person::command(party))),
        ("site", json!(site)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    if party.unseen {
        // Its number is one of another pid namespace.
        somebody.insert("unseen".to_owned(), json!(true));
    }
    somebody
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use locks::Token;

    use super::*;

    #[test]
    fn the_fields_are_those_of_the_manual() {
        let mut held = HolderInfo::new(Mode::Permit { take: 2, of: 3 });
        held.token = Some(Token::new(u64::MAX));
        held.age = Some(Duration::from_millis(1_500));
        held.party.label = Some("nightly".into());
        let mut info = LockInfo::new("a\n\"b\"");
        info.holders.push(held);
        info.waiters.push(WaiterInfo::new(Mode::Exclusive, Duration::from_secs(2)));
        info.reserved_for = Some(Duration::from_secs(60));
        let read: Value = serde_json::from_str(&line(&[info])).unwrap();
        let lock = &read[0];
        assert_eq!((&lock["key"], &lock["reserved_ms"]), (&json!("a\n\"b\""), &json!(60_000)));
        assert!(lock["at"].as_f64().unwrap() > 1.7e9);
        let holder = &lock["holders"][0];
        assert_eq!((&holder["mode"], &holder["permits"]), (&json!("permit"), &json!(3)));
        assert_eq!(holder["take"], json!(2));
        assert_eq!((&holder["token"], &holder["age_ms"]), (&json!(u64::MAX), &json!(1_500)));
        assert_eq!((&holder["label"], &holder["host"]), (&json!("nightly"), &Value::Null));
        let waiter = &lock["waiters"][0];
        assert_eq!((&waiter["mode"], &waiter["waited_ms"]), (&json!("exclusive"), &json!(2_000)));
        assert_eq!(waiter.get("token"), None);
    }

    #[test]
    fn nothing_held_is_an_empty_array() {
        assert_eq!((pretty(&[]), line(&[])), ("[]\n".into(), "[]\n".into()));
    }
}
