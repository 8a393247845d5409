use std::fs::File;
use std::os::fd::AsRawFd;

use super::Nanos;

/// Locks on single bytes of an open file, which belong to whoever has opened it, and end with that.
pub(crate) struct Places<'a>(&'a File);

impl<'a> Places<'a> {
    pub(crate) fn of(file: &'a File) -> Self {
        Self(file)
    }

    /// Locks one. Where that cannot be done there is no place.
    pub(crate) fn take(&self, place: Nanos) {
        let _ = self.ask(libc::F_OFD_SETLK, libc::F_WRLCK, place, 1);
    }

    /// Unlocks all that were locked.
    pub(crate) fn leave(&self) {
        let _ = self.ask(libc::F_OFD_SETLK, libc::F_UNLCK, 0, 0);
    }

    /// The first from `from` on and before `to` that somebody else has locked.
    pub(crate) fn first_taken(&self, from: Nanos, mut to: Nanos) -> Option<Nanos> {
        let mut first = None;
        // The kernel tells of any, and a length of 0 would mean all behind.
        while from < to
            && let Some(found) = self.ask(libc::F_OFD_GETLK, libc::F_WRLCK, from, to - from)
            // One on the whole file is what some file systems make of `flock`.
            && found.l_type != libc::F_UNLCK as _ && found.l_len == 1
        {
            to = found.l_start.try_into().ok()?;
            first = Some(to);
        }
        first
    }

    #[expect(unsafe_code, reason = "the standard library has no locks on parts of a file")]
    fn ask(&self, what: i32, kind: i32, start: Nanos, len: Nanos) -> Option<libc::flock> {
        // SAFETY: all zeros are a lock, of nothing.
        let mut lock = unsafe { std::mem::zeroed::<libc::flock>() };
        lock.l_type = kind.try_into().ok()?;
        lock.l_whence = libc::SEEK_SET.try_into().ok()?;
        lock.l_start = start.try_into().ok()?;
        // The last byte that there can be is numbered by the greatest number.
        lock.l_len = len.min(i64::MAX as u64 - start).try_into().ok()?;
        // SAFETY: the descriptor is open, and these commands read and write one lock, which lives.
        let done = unsafe { libc::fcntl(self.0.as_raw_fd(), what, &raw mut lock) };
        (done == 0).then_some(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_seen_by_those_behind_it_until_it_is_left_or_closed() {
        let path = std::env::temp_dir().join(format!("locks-places-{}", std::process::id()));
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let [first, second, third] = [(); 3].map(|()| open().unwrap());
        let found = |file: &File, to| Places::of(file).first_taken(0, to);
        assert_eq!(found(&third, Nanos::MAX), None);
        Places::of(&second).take(1_000_000_000_000);
        Places::of(&first).take(1_000);
        assert_eq!(found(&first, 1_000), None, "nobody is behind itself");
        assert_eq!(found(&second, 1_000_000_000_000), Some(1_000));
        assert_eq!(found(&third, Nanos::MAX), Some(1_000));
        assert_eq!(found(&third, 1_000), None);
        assert_eq!(Places::of(&third).first_taken(1_001, Nanos::MAX), Some(1_000_000_000_000));
        Places::of(&first).leave();
        assert_eq!(found(&second, 1_000_000_000_000), None);
        Places::of(&first).take(2_000);
        drop(first);
        assert_eq!(found(&third, Nanos::MAX), Some(1_000_000_000_000));
        std::fs::remove_file(&path).unwrap();
    }
}
