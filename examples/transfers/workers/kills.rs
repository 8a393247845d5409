//! Who is killed when.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::dice::Dice;

/// How often workers are killed in a run, for each of them.
const KILLS: usize = 8;

/// Who is killed when. By what has been done and not by the clock, so that a run comes to its end
/// however slow the machine is.
pub(super) struct Kills {
    dice: Dice,
    /// How many transfers lie between two kills; 0 if there are none.
    every: usize,
    next: usize,
    /// How many have been due.
    due: usize,
}

impl Kills {
    pub(super) fn new(planned: bool, processes: usize, transfers: usize) -> Self {
        let every = if planned { (transfers / (processes * KILLS + 1)).max(1) } else { 0 };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { dice: Dice(u64::from(now.subsec_nanos())), every, next: every, due: 0 }
    }

    pub(super) fn is_due(&mut self, applied: usize) -> bool {
        let due = self.every > 0 && applied >= self.next;
        if due {
            self.due += 1;
            self.next = applied + 1 + self.dice.below(self.every * 2);
        }
        due
    }

    /// Whether the one that is due now is for whoever serves.
    pub(super) fn is_for_a_server(&self) -> bool {
        self.due.is_multiple_of(2)
    }

    /// One of those who are at work.
    pub(super) fn choose(&mut self, at_work: &[usize]) -> Option<usize> {
        at_work.get(self.dice.below(at_work.len().max(1))).copied()
    }
}
