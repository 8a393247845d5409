//! Whether it pays to look a few more times before one falls asleep.

use std::time::Duration;

use locks_core::fork::Inherited;

/// For how long one looks: being woken takes about as long.
pub(crate) const SPELL: Duration = Duration::from_micros(20);

/// Whether looking on for a [spell](SPELL) has paid lately. An answer that comes while one still
/// looks spares two threads a sleep; one that does not has cost a spell of a processor that others
/// may want.
#[derive(Debug)]
pub(crate) struct AdaptiveSpin {
    credit: u8,
    /// Spells that were not tried since the last one.
    passed: u8,
}

/// What a spell that has paid is worth, in those that have not.
const WORTH: u8 = 3;

const MOST: u8 = 12;

/// So often it is tried where it does not pay.
const TRIAL: u8 = 32;

/// With one processor whoever is to answer waits for whoever looks.
fn has_processors() -> bool {
    static HAS: Inherited<bool> = Inherited::new();
    *HAS.get_or_init(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

impl Default for AdaptiveSpin {
    fn default() -> Self {
        Self { credit: WORTH, passed: 0 }
    }
}

impl AdaptiveSpin {
    /// Whether to look on this time.
    pub(crate) fn begin(&mut self) -> bool {
        if !has_processors() {
            return false;
        }
        if self.credit > 0 {
            return true;
        }
        self.passed = (self.passed + 1) % TRIAL;
        self.passed == 0
    }

    /// How a spell ended that was begun.
    pub(crate) fn end(&mut self, has_paid: bool) {
        if has_paid {
            self.credit = (self.credit + WORTH).min(MOST);
        } else {
            self.credit = self.credit.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pay_is_tried_now_and_then() {
        if !has_processors() {
            return;
        }
        let mut spin = AdaptiveSpin::default();
        let mut tried = 0;
        for _ in 0..10 * u32::from(TRIAL) {
            if spin.begin() {
                tried += 1;
                spin.end(false);
            }
        }
        assert!((9..=14).contains(&tried), "{tried}");
        while !spin.begin() {}
        spin.end(true);
        for _ in 0..WORTH {
            assert!(spin.begin());
            spin.end(false);
        }
        assert!(!spin.begin());
    }
}
