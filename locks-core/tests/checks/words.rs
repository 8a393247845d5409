//! What errors and lists say to a person (C12).

use std::time::Duration;

use locks_core::{ErrorKind, HolderInfo, LockError, LockInfo, Mode, OwnerId, WaiterInfo};

use crate::polled::{Polled, engine};

fn holder(age: Duration) -> HolderInfo {
    let mut holder = HolderInfo::new(Mode::Exclusive);
    (holder.who, holder.age, holder.token) = (Some("thread `main`".into()), Some(age), None);
    holder
}

fn timeout(waited: Duration, age: Duration) -> String {
    let error = LockError::new(ErrorKind::Timeout, "k").with_waited(waited);
    error.with_holders(vec![holder(age)]).to_string()
}

#[test]
fn c12_a_timeout_reads_as_a_sentence() {
    let (nothing, short, long) =
        (Duration::ZERO, Duration::from_micros(20), Duration::from_millis(3_200));
    assert_eq!(
        timeout(long, long),
        "gave up waiting for `k` after 3.2 s: it is held by thread `main`, for 3.2 s (exclusive)"
    );
    assert_eq!(
        timeout(nothing, short),
        "gave up waiting for `k` at once: it is held by thread `main`, since just now (exclusive)"
    );
}

#[test]
fn c12_a_reservation_reads_as_a_sentence() {
    let error = |left| LockError::new(ErrorKind::Contended, "k").with_reserved_for(Some(left));
    let (short, long) = (Duration::from_nanos(5), Duration::from_secs(90));
    let (short, long) = (error(short).to_string(), error(long).to_string());
    assert_eq!(short, "`k` is reserved for another moment by `hold_at_least` or `once_per`");
    assert_eq!(long, "`k` is reserved for another 1 min 30 s by `hold_at_least` or `once_per`");
}

#[test]
fn c12_a_list_reads_as_a_sentence() {
    let mut info = LockInfo::new("k");
    assert_eq!(info.to_string(), "`k`: free");
    info.holders.push(holder(Duration::ZERO));
    info.waiters.push(WaiterInfo::new(Mode::Shared, Duration::from_secs(3600)));
    info.reserved_for = Some(Duration::ZERO);
    assert_eq!(
        info.to_string(),
        "`k`: held by thread `main`, since just now (exclusive); reserved for another moment; \
         wanted by a task of this process, for 1 h (shared)"
    );
}

#[test]
fn c12_no_error_of_a_hold_just_granted_tells_of_nothing() {
    let (_engine, backend, clock) = engine();
    let held = backend.named("k").owner(7).acquire().unwrap().into_owned();
    let contended = backend.named("k").wait(false).acquire().unwrap_err();
    let own = backend.named("k").owner(7).acquire().unwrap_err();
    let mut waiting = Polled::waiting(backend.named("k").wait(Duration::from_micros(1)));
    clock.advance(Duration::from_micros(1));
    let timeout = waiting.outcome().unwrap_err();
    let list = backend.list().unwrap().remove(0);
    for text in [&contended, &own, &timeout].map(LockError::to_string) {
        assert!(text.contains("owner 7, since just now, at "), "{text}");
        assert!(!text.contains("µs"), "{text}");
    }
    assert!(list.to_string().contains("since just now"), "{list}");
    clock.advance(Duration::from_millis(1));
    let contended = backend.named("k").wait(false).acquire().unwrap_err();
    assert!(contended.to_string().contains("owner 7, for 1 ms, at "), "{contended}");
    assert_eq!(contended.holders()[0].owner, Some(OwnerId::from(7)));
    assert_eq!(contended.holders()[0].token, Some(held.token()));
    drop(held);
}

/// Who prints an error with all that lie behind it, as `anyhow` does by `{:#}`, says nothing twice.
#[test]
fn c12_an_error_and_those_behind_it_are_told_once_each() {
    use std::error::Error;
    use std::{fmt, io};

    #[derive(Debug)]
    struct Behind(&'static str, Option<Box<Self>>);

    impl fmt::Display for Behind {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Behind {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|behind| behind as _)
        }
    }

    let behind = || Behind("the line is cut", Some(Box::new(Behind("by a digger", None))));
    let said = LockError::new(ErrorKind::Io, "k").with_message("no luck: the line is cut (again)");
    let unsaid = LockError::new(ErrorKind::Io, "k").with_message("no luck");
    let kinds = [
        ErrorKind::Contended,
        ErrorKind::Timeout,
        ErrorKind::Deadlock,
        ErrorKind::InvalidKey,
        ErrorKind::Unavailable,
        ErrorKind::Protocol,
        ErrorKind::Io,
    ];
    let errors = kinds.map(|kind| LockError::new(kind, "k"));
    for error in errors.into_iter().chain([said, unsaid]) {
        let kind = error.kind();
        let error = error.with_source(behind());
        assert!(error.inner().is_some_and(|inner| inner.is::<Behind>()));
        let errors: [Box<dyn Error>; 2] = [
            Box::new(io::Error::from(error)),
            Box::new({
                LockError::unavailable("b", LockError::new(kind, "k").with_source(behind()))
            }),
        ];
        for error in errors {
            let mut told = error.to_string();
            let mut next = error.source();
            while let Some(source) = next {
                told += &format!(": {source}");
                next = source.source();
            }
            for part in ["the line is cut", "by a digger"] {
                assert_eq!(told.matches(part).count(), 1, "{told}");
            }
        }
    }
    let plain = LockError::new(ErrorKind::Io, "k");
    assert!(plain.source().is_none() && plain.inner().is_none());
}

/// Whatever it is made of, such as what a client has sent: one line of a log stays one.
#[test]
fn c12_a_label_is_one_line_and_not_long() {
    let (_, backend, _) = engine();
    let label = |text: &str| {
        let _held = backend.named("k").label(text).acquire().unwrap();
        backend.list().unwrap().remove(0).holders.remove(0).label.unwrap()
    };
    assert_eq!(label("order 17"), "order 17");
    assert_eq!(label("order 17\n`root` logged in \u{1b}[2J"), "order 17 `root` logged in  [2J");
    assert_eq!(label(&"x".repeat(10_000_000)), "x".repeat(120));
    assert_eq!(label(&"é".repeat(120)), "é".repeat(60));
    assert_eq!(label(&format!("x{}", "é".repeat(120))), format!("x{}", "é".repeat(59)));
}
