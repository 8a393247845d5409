//! C12: who holds, who waits, since when and where.

use super::subject::Subject;
use locks_core::{CallSite, ErrorKind, Mode, OwnerId, ProcessInfo, Query, scope};

/// Asserts that a backend that lists nothing says so.
pub(super) fn assert_listing_unsupported(subject: &Subject) {
    let listed = subject.drive("the list", subject.backend().inspect(Query::All));
    let error = listed.expect_err("listing is not declared");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

/// The call site lies in this kit: in the program, or as text from another process.
#[track_caller]
pub(super) fn assert_here(site: Option<CallSite>, party: &ProcessInfo) {
    let text = site.map(|site| site.to_string()).or_else(|| party.site.clone());
    let text = text.expect("the call site is known");
    assert!(text.contains("conformance"), "`{text}` is not where it was asked for");
}

/// Whether the backend lists; if not, asserts that it says so.
fn lists(subject: &Subject) -> bool {
    if !subject.can().listing {
        assert_listing_unsupported(subject);
    }
    subject.can().listing
}

pub(super) fn c12_contended_says_who_where_and_since_when(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let (told, line) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let holding = subject.thread("the-holder", move |subject| {
        let guard = subject.lock("k").acquire().expect("it is free");
        // Nobody may be listening any more: then the case has failed already.
        let _ = told.send((line!() - 2, guard.token()));
        let _ = gone.recv_timeout(subject.patience());
    });
    let (line, token) = line.recv_timeout(subject.patience()).expect("it holds the lock");
    subject.advance(subject.unit());
    let error = subject.contended(subject.theirs("k"));
    let [holder] = error.holders() else { panic!("one holds it: {error:?}") };
    assert_here(holder.site, &holder.party);
    assert_eq!(holder.mode, Mode::Exclusive);
    assert_eq!(holder.token, Some(token));
    let age = holder.age.expect("it says since when");
    assert!(age + subject.late() >= subject.unit(), "{age:?} of {:?}", subject.unit());
    let text = error.to_string();
    for part in ["`k`", "the-holder", &format!("holders.rs:{line}"), &token.to_string()] {
        assert!(text.contains(part), "`{part}` is missing in «{text}»");
    }
    drop(go);
    holding.finish();
}

pub(super) fn c12_timeout_says_who_it_waited_for(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let guard = subject.take(subject.lock("k").owner(7));
    let (unit, since) = (subject.unit(), subject.now());
    let waiting = subject.queue_until(subject.theirs("k").wait(unit), since, unit);
    let error = waiting.due(subject, since, unit).expect_err("it is held");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let [holder] = error.holders() else { panic!("one holds it: {error:?}") };
    assert_eq!(holder.token, Some(guard.token()));
    assert_here(holder.site, &holder.party);
    assert!(error.to_string().contains("holders.rs:"), "{error}");
}

/// Every holder is listed, with mode, token and owner, and every waiter in the queue's order.
pub(super) fn c12_the_list_tells_who_holds_and_who_waits(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    assert!(subject.list("k").is_none(), "nobody has asked for it yet");
    let guard = subject.take(subject.lock("k").owner(7));
    let waiting = [1_u64, 2, 3].map(|owner| subject.queue(subject.lock("k").owner(owner)));
    subject.advance(subject.unit());
    let info = subject.list("k").expect("it is held");
    let [holder] = info.holders.as_slice() else { panic!("one holds it: {info:?}") };
    assert_eq!((holder.mode, holder.token), (Mode::Exclusive, Some(guard.token())));
    assert_here(holder.site, &holder.party);
    let process = subject.can().exclusion == locks_core::Exclusion::Process;
    if process {
        assert_eq!(holder.owner, Some(OwnerId::from(7)));
    }
    assert!(holder.age.expect("it says since when") + subject.late() >= subject.unit());
    if subject.can().listing_waiters {
        assert_eq!(info.waiters.len(), 3, "{info:?}");
        for (waiter, owner) in info.waiters.iter().zip([1_u64, 2, 3]) {
            assert_eq!(waiter.mode, Mode::Exclusive);
            assert_here(waiter.site, &waiter.party);
            assert!(waiter.waited + subject.late() >= subject.unit(), "{waiter:?}");
            if process {
                assert_eq!(waiter.owner, Some(OwnerId::from(owner)), "{info:?}");
            }
        }
    }
    drop((guard, waiting));
    subject.assert_free("k");
}

/// Readers and permits are listed one by one, as what they are.
pub(super) fn c12_the_list_tells_how_it_is_held(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let readers = [0, 1, 2].map(|turn| subject.take(subject.turns(turn, "k").shared()));
    let mut tokens = readers.each_ref().map(|reader| Some(reader.token()));
    let holders = subject.holders("k");
    assert!(holders.iter().all(|holder| holder.mode == Mode::Shared), "{holders:?}");
    let mut listed = Vec::from_iter(holders.iter().map(|holder| holder.token));
    tokens.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, tokens);
    if subject.can().permits {
        let _permit = subject.take(subject.lock("p").permits(3));
        assert_eq!(subject.holders("p")[0].mode, Mode::Permit { take: 1, of: 3 });
    }
    if subject.can().several_permits {
        let _permits = subject.take(subject.lock("q").permits(3).take(2));
        assert_eq!(subject.holders("q")[0].mode, Mode::Permit { take: 2, of: 3 });
    }
}

/// The list can be asked for everything, a prefix, or one key.
pub(super) fn c12_the_list_can_be_narrowed(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let keys = ["a", "ab", "abc", "b", "A"];
    let held = keys.map(|key| subject.take(subject.lock(key)));
    let asked = |query: Query| {
        let infos = subject.drive("the list", subject.backend().inspect(query));
        let infos = infos.expect("it lists");
        let mut keys = Vec::from_iter(infos.into_iter().map(|info| info.key));
        keys.sort_unstable();
        keys
    };
    assert_eq!(asked(Query::All), ["A", "a", "ab", "abc", "b"]);
    assert_eq!(asked(Query::Prefix("ab".into())), ["ab", "abc"]);
    assert_eq!(asked(Query::Key("ab".into())), ["ab"]);
    assert!(asked(Query::Key("x".into())).is_empty());
    drop(held);
    assert!(asked(Query::All).is_empty());
}

/// A scope is called a scope.
pub(super) fn c12_a_scope_is_named_as_one(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let held = scope(async {
        let _guard = subject.try_lock("k").acquire().expect("it is free");
        let holders = subject.holders("k");
        let [holder] = holders.as_slice() else { panic!("one holds it: {holders:?}") };
        let text = holder.to_string();
        assert!(text.contains("scope"), "«{text}» does not say that it is a scope");
    });
    subject.drive("the scope", held);
}

/// The age is that of the hold, and `refresh` makes it young.
pub(super) fn c12_the_age_is_that_of_the_hold(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let guard = subject.take(subject.lock("k"));
    let age = || subject.holders("k")[0].age.expect("it says since when");
    subject.advance(unit * 2);
    let old = age();
    assert!(old + subject.late() >= unit * 2, "{old:?}");
    assert!(old <= subject.now() - since + subject.late(), "{old:?}");
    let since = subject.now();
    subject.refresh(&guard);
    let young = age();
    assert!(young <= subject.now() - since + subject.late(), "{young:?} after a refresh");
}

pub(super) fn c12_labels_are_told(subject: &Subject) {
    if !lists(subject) {
        return;
    }
    let guard = subject.take(subject.lock("k").label("order 17"));
    let error = subject.contended(subject.theirs("k"));
    assert!(error.to_string().contains("`order 17`"), "{error}");
    let [holder] = &subject.holders("k")[..] else { panic!("one holds it") };
    assert_eq!(holder.label.as_deref(), Some("order 17"), "{holder:?}");
    let waiting = subject.queue(subject.theirs("k").label("order 18"));
    if subject.waiters("k").is_some() {
        let info = subject.list("k").expect("it is held");
        assert_eq!(info.waiters[0].label.as_deref(), Some("order 18"), "{info:?}");
    }
    subject.release(guard);
    subject.release(waiting.granted(subject));
    subject.release(subject.take(subject.lock("k")));
    let guard = subject.take(subject.lock("k"));
    let [holder] = &subject.holders("k")[..] else { panic!("one holds it") };
    assert_eq!(holder.label, None, "a label is the request's");
    drop(guard);
}

pub(super) fn c12_the_list_tells_how_deep_a_nest_is(subject: &Subject) {
    if !lists(subject) || !super::reentry::nests(subject) {
        return;
    }
    let depth = || subject.list("k").map(|info| info.holders[0].depth);
    let outer = subject.take(subject.lock("k").owner(1));
    assert_eq!(depth(), Some(1));
    let inner = subject.take(subject.lock("k").owner(1).reentrant());
    assert_eq!(depth(), Some(2));
    subject.release(inner);
    assert_eq!(depth(), Some(1));
    subject.release(outer);
}
