//! Errors in words: one sentence for a person, and everything for a log.

use std::fmt;

use super::{ErrorKind, Failure, LockError, LostCause};
use crate::brief::{After, Left};

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &*self.0;
        if let Some(message) = &failure.message {
            return f.write_str(message);
        }
        let key = &failure.key;
        match failure.kind {
            ErrorKind::Contended => {
                write!(f, "`{key}` ")?;
                failure.write_in_the_way(f)
            }
            ErrorKind::Timeout => {
                write!(f, "gave up waiting for `{key}`")?;
                if let Some(waited) = failure.waited {
                    write!(f, " {}", After(waited))?;
                }
                f.write_str(": it ")?;
                failure.write_in_the_way(f)
            }
            ErrorKind::Deadlock => failure.write_deadlock(f),
            ErrorKind::Lost { cause } => failure.write_lost(f, cause),
            ErrorKind::InvalidKey => write!(f, "{key:?} cannot be a key"),
            ErrorKind::Unavailable => write!(f, "{} cannot be reached", failure.whose()),
            kind => write!(f, "{}: {}", failure.whose(), kind.summary()),
        }?;
        if !matches!(failure.kind, ErrorKind::Contended | ErrorKind::Timeout)
            && let Some(source) = &failure.source
        {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl Failure {
    fn write_in_the_way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(holder) = self.holders.first() {
            write!(f, "is held by {holder}")?;
            match self.holders.len() - 1 {
                0 => {}
                1 => f.write_str(" and one other")?,
                others => write!(f, " and {others} others")?,
            }
        } else if let Some(left) = self.reserved_for {
            write!(f, "is reserved for {} by `hold_at_least` or `once_per`", Left(left))?;
        } else if let Some(waiter) = self.waiters.first() {
            write!(f, "is promised to {waiter}")?;
        } else {
            f.write_str("is held by somebody else")?;
        }
        let ahead = self.waiting;
        if ahead > 0 && (!self.holders.is_empty() || self.reserved_for.is_some()) {
            write!(f, "; {ahead} more waiting")?;
        }
        Ok(())
    }

    fn write_deadlock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cycle.as_slice() {
            [] => write!(f, "waiting for `{}` would never end", self.key),
            [only] => write!(
                f,
                "waiting for `{}` would deadlock: whoever asks holds it already, as {}; \
                 `reentrant` lets it nest",
                only.wants, only.holder
            ),
            steps => {
                write!(f, "waiting for `{}` would deadlock", self.key)?;
                for (index, step) in steps.iter().enumerate() {
                    let (before, is) = match index {
                        0 => (": ", "is "),
                        _ => (", who waits for ", ""),
                    };
                    write!(f, "{before}`{}` {is}held by {}", step.wants, step.holder)?;
                }
                f.write_str(", who is asking; take the keys in one request, or always in one order")
            }
        }
    }

    fn write_lost(&self, f: &mut fmt::Formatter<'_>, cause: LostCause) -> fmt::Result {
        f.write_str("the lock")?;
        if !self.key.is_empty() {
            write!(f, " on `{}`", self.key)?;
        }
        if let Some(token) = self.token {
            write!(f, " (token {token})")?;
        }
        write!(f, " was lost: {}", cause.summary())?;
        if let Some(holder) = self.holders.first() {
            write!(f, "; it is now held by {holder}")?;
        }
        Ok(())
    }

    fn whose(&self) -> String {
        match (&self.backend, self.key.as_str()) {
            (Some(backend), "") => format!("`{backend}`"),
            (Some(backend), key) => format!("`{key}` at `{backend}`"),
            (None, "") => "the lock backend".into(),
            (None, key) => format!("`{key}`"),
        }
    }
}

impl fmt::Debug for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &*self.0;
        write!(f, "{:?}: {self}", failure.kind)?;
        if let Some(site) = failure.site {
            write!(f, "\n  asked at {site}")?;
        }
        if let Some(backend) = &failure.backend {
            write!(f, "\n  backend {backend}")?;
        }
        for holder in &failure.holders {
            write!(f, "\n  held by {holder}")?;
        }
        for waiter in &failure.waiters {
            write!(f, "\n  wanted by {waiter}")?;
        }
        for step in &failure.cycle {
            write!(f, "\n  {} wants `{}`, held by {}", step.waiter, step.wants, step.holder)?;
        }
        if let Some(source) = &failure.source {
            write!(f, "\n  source: {source:?}")?;
        }
        Ok(())
    }
}
