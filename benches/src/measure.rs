//! Interleaved measurement.
//!
//! A figure on its own depends on the machine and on what else it does just then; the quotient
//! of two figures taken a few milliseconds apart hardly does. So the contestants of a row run
//! in turn, a slice of time each, again and again; a round is some turns, its figure for a
//! contestant is the median of the contestant's slices, and quotients are formed within it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::report::{Figure, median};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Figures per contestant, each from slices of its own.
    pub rounds: usize,
    /// Slices of a contestant in one round.
    pub turns: usize,
    /// How long a slice should take.
    pub slice: Duration,
}

impl Pace {
    /// The same rounds, each of `turns` slices of `slice`.
    #[must_use]
    pub fn with(self, turns: usize, slice: Duration) -> Self {
        Self { turns: self.turns.min(turns), slice, ..self }
    }
}

/// One of those that are measured against each other.
pub struct Contestant<'a> {
    name: String,
    /// Does so many operations and says how long they took.
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl<'a> Contestant<'a> {
    /// Repeats `operation` on this thread.
    pub fn repeat(name: &str, mut operation: impl FnMut() + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                operation();
            }
            start.elapsed()
        })
    }

    /// Runs `run`, which does so many operations and says how long they took.
    pub fn timed(name: &str, run: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }

    /// Nanoseconds per operation in one slice.
    fn slice(&mut self, times: u64) -> f64 {
        (self.run)(times).as_secs_f64() * 1e9 / times as f64
    }

    /// How many operations fill `slice`. Finding that out also warms everything up.
    ///
    /// The quickest of three tries counts: one alone may have been interrupted, and a figure of a
    /// few operations says nothing.
    fn calibrate(&mut self, slice: Duration) -> u64 {
        let mut times = 1;
        loop {
            let mut took = (self.run)(times);
            for _ in 0..2 {
                if took * 4 >= slice {
                    took = took.min((self.run)(times));
                }
            }
            if took * 4 >= slice {
                let fill = times as f64 * slice.as_secs_f64() / took.as_secs_f64();
                return (fill as u64).max(1);
            }
            times *= 2;
        }
    }
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Measures all of them in turn; the figures are nanoseconds per operation.
pub fn race(pace: Pace, mut contestants: Vec<Contestant<'_>>) -> Vec<Figure> {
    let times = contestants.iter_mut().map(|each| each.calibrate(pace.slice)).collect::<Vec<u64>>();
    let mut figures =
        contestants.iter().map(|each| Figure::new(&each.name)).collect::<Vec<Figure>>();
    for _ in 0..pace.rounds {
        let mut slices = vec![Vec::with_capacity(pace.turns); contestants.len()];
        for turn in 0..pace.turns {
            for step in 0..contestants.len() {
                // Backwards every other time, so that nobody always runs after the same one.
                let at = if turn % 2 == 0 { step } else { contestants.len() - 1 - step };
                slices[at].push(contestants[at].slice(times[at]));
            }
        }
        for (figure, slices) in figures.iter_mut().zip(slices) {
            figure.rounds.push(median(&slices));
        }
    }
    figures
}

/// What each contestant does while it holds the lock: nothing, in a way that the compiler has
/// to leave between lock and unlock.
#[inline(always)]
pub fn body() {
    black_box(());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0, 5.0, 6.0]), 5.5);
    }

    #[test]
    fn a_race_tells_fast_from_slow() {
        // Both report a made-up time, so that the outcome does not hang on the machine.
        let pace = Pace { rounds: 3, turns: 4, slice: Duration::from_micros(100) };
        let fast = Contestant::timed("fast", |times| Duration::from_nanos(20) * times as u32);
        let slow = Contestant::timed("slow", |times| Duration::from_nanos(50) * times as u32);
        let figures = race(pace, vec![fast, slow]);
        assert_eq!(figures.len(), 2);
        for (figure, expected) in figures.iter().zip([20.0, 50.0]) {
            assert_eq!(figure.rounds.len(), 3);
            assert!(figure.rounds.iter().all(|ns| (ns - expected).abs() < 1e-6), "{figure:?}");
        }
    }
}
