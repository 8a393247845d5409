//! Room for keys (N6).

use std::time::Duration;

use locks_core::Moment;

use super::Arbiter;

/// How many more keys may come into use. Counting those that are takes as long as there are keys,
/// so it is not done for each request.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// So many may be asked for before they are counted again: no others come into use.
    left: usize,
    /// There is none by a count of all that are in use, which is not made again before this.
    full_until: Option<Moment>,
}

/// What there is to be done between two counts, for each key: several times what counting it takes.
/// So a client that asks and asks where there is no room takes no more than a part of the server's
/// time.
const PER_KEY: Duration = Duration::from_micros(1);

impl Arbiter {
    /// Whether these keys may come into use, if they are not.
    pub(super) fn has_room_for(&mut self, keys: &[String]) -> bool {
        if self.has_room(keys.len()) {
            return true;
        }
        let new = keys.iter().filter(|key| !self.is_in_use(key)).count();
        new == 0 || self.has_room(new)
    }

    fn has_room(&mut self, keys: usize) -> bool {
        if self.room.left < keys {
            let most = self.setup.limits.keys;
            // Those in use are among the known ones, which are counted faster.
            self.room.left = most.saturating_sub(self.engine.known_keys());
            let now = self.now();
            if self.room.left < keys && self.room.full_until.is_none_or(|until| until <= now) {
                let live = self.engine.live_keys();
                self.room.left = most.saturating_sub(live);
                let pause = PER_KEY * u32::try_from(live).unwrap_or(u32::MAX);
                self.room.full_until = (self.room.left < keys).then(|| now.after(pause));
            }
        }
        let fits = keys <= self.room.left;
        if fits {
            self.room.left -= keys;
        }
        fits
    }
}
