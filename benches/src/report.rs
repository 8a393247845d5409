//! Tables: what was measured, against what, and whether a goal is met.

use std::fmt;

/// What one contestant achieved, round by round.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Who.
    pub name: String,
    /// One value per round; the unit is the report's.
    pub rounds: Vec<f64>,
}

/// One table: contestants that were measured together.
#[derive(Debug)]
pub struct Report {
    /// The row's name on the command line.
    pub row: &'static str,
    /// What is compared, in a sentence without its full stop.
    pub compares: String,
    /// The unit of every figure.
    pub unit: &'static str,
    /// The contestants.
    pub figures: Vec<Figure>,
    /// What ours should achieve.
    pub goals: Vec<Goal>,
}

/// Something that one of our figures should achieve.
#[derive(Debug)]
pub struct Goal {
    /// Whose figure.
    ours: String,
    /// The figure to divide it by, if it is not judged by itself.
    against: Option<String>,
    bound: Bound,
}

/// A limit to a figure or a quotient.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// More is a miss.
    AtMost(f64),
    /// Less is a miss.
    AtLeast(f64),
}

/// A goal after the measurement.
#[derive(Debug)]
pub struct Verdict {
    /// The row's name.
    pub row: &'static str,
    /// Whose figure was judged.
    pub ours: String,
    /// The goal as a person would say it.
    pub goal: String,
    /// The quotient or the figure, round by round.
    pub rounds: Vec<f64>,
    /// Whether the median keeps the bound.
    pub met: bool,
}

impl Figure {
    /// No rounds yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new() }
    }

    /// The same figure in another unit.
    #[must_use]
    pub fn map(mut self, convert: impl Fn(f64) -> f64) -> Self {
        for value in &mut self.rounds {
            *value = convert(*value);
        }
        self
    }
}

impl Goal {
    /// The figure of `ours`, divided by that of `against` round by round, keeps `bound`.
    pub fn ratio(ours: &str, against: &str, bound: Bound) -> Self {
        Self { ours: ours.to_owned(), against: Some(against.to_owned()), bound }
    }

    /// The figure of `ours` keeps `bound`.
    pub fn absolute(ours: &str, bound: Bound) -> Self {
        Self { ours: ours.to_owned(), against: None, bound }
    }

    fn judge(&self, report: &Report) -> Verdict {
        let ours = report.figure(&self.ours);
        let (rounds, of) = match &self.against {
            Some(against) => (quotients(ours, report.figure(against)), format!("× {against}")),
            None => (ours.rounds.clone(), report.unit.to_owned()),
        };
        let met = self.bound.admits(median(&rounds));
        let goal = format!("{} {of}", self.bound);
        Verdict { row: report.row, ours: self.ours.clone(), goal, rounds, met }
    }
}

impl Bound {
    fn admits(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "≤ {most}"),
            Bound::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

impl Report {
    /// The goals, judged.
    ///
    /// # Panics
    /// If a goal names a contestant that is not in the report.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.goals.iter().map(|goal| goal.judge(self)).collect()
    }

    fn figure(&self, name: &str) -> &Figure {
        let found = self.figures.iter().find(|figure| figure.name == name);
        found.unwrap_or_else(|| panic!("no contestant is called `{name}`"))
    }
}

/// One figure divided by another, round by round.
fn quotients(one: &Figure, other: &Figure) -> Vec<f64> {
    one.rounds.iter().zip(&other.rounds).map(|(one, other)| one / other).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}; {}", self.row, self.compares, self.unit)?;
        let Some(first) = self.figures.first() else {
            return writeln!(f, "  there is nobody to measure");
        };
        let head = format!("÷ {}", first.name);
        writeln!(f, "  {:<38} {:>9}   {:<21} {head}", "", "median", "min – max")?;
        for figure in &self.figures {
            let middle = amount(median(&figure.rounds));
            let range = range(&figure.rounds, amount);
            let quotient = median(&quotients(figure, first));
            write!(f, "  {:<38} {middle:>9}   {range:<21} ", figure.name)?;
            if quotient.is_finite() {
                writeln!(f, "{quotient:.2}")?;
            } else {
                writeln!(f, "–")?;
            }
        }
        for verdict in self.verdicts() {
            writeln!(f, "  goal: {verdict}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = if self.met { "met" } else { "MISSED" };
        let middle = amount(median(&self.rounds));
        let range = range(&self.rounds, amount);
        write!(f, "{}: {}, is {middle} ({range}): {met}", self.ours, self.goal)
    }
}

/// All verdicts, one line each.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a [Verdict]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["row", "ours", "goal", "median", "min – max", ""];
        let mut lines = vec![heads.map(str::to_owned)];
        for verdict in self.0 {
            lines.push([
                verdict.row.to_owned(),
                verdict.ours.clone(),
                verdict.goal.clone(),
                amount(median(&verdict.rounds)),
                range(&verdict.rounds, amount),
                if verdict.met { "met" } else { "MISSED" }.to_owned(),
            ]);
        }
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        };
        for line in &lines {
            for (column, cell) in line.iter().enumerate() {
                write!(f, "{cell:<width$}  ", width = width(column))?;
            }
            writeln!(f)?;
        }
        let met = self.0.iter().filter(|verdict| verdict.met).count();
        writeln!(f, "{met} of {} goals met", self.0.len())
    }
}

fn range(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} – {}", show(least), show(most))
}

/// Three digits or so, which is more than a measurement is good for.
fn amount(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.0} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The median; of an even number, the mean of the two in the middle.
///
/// # Panics
/// If there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(bound: Bound) -> Report {
        let figure =
            |name: &str, rounds: [f64; 3]| Figure { name: name.into(), rounds: rounds.into() };
        Report {
            row: "row",
            compares: "this with that".into(),
            unit: "ns",
            // The machine slows down from round to round; the quotient stays 1.2.
            figures: vec![figure("ours", [12.0, 24.0, 48.0]), figure("peer", [10.0, 20.0, 40.0])],
            goals: vec![Goal::ratio("ours", "peer", bound)],
        }
    }

    #[test]
    fn quotients_are_formed_round_by_round() {
        let verdict = report(Bound::AtMost(1.25)).verdicts().remove(0);
        assert!(verdict.rounds.iter().all(|quotient| (quotient - 1.2).abs() < 1e-9));
        assert!(verdict.met);
    }

    #[test]
    fn a_goal_that_is_missed_is_shown_as_missed() {
        for missed in [Bound::AtMost(1.1), Bound::AtLeast(1.3)] {
            let shown = report(missed).to_string();
            assert!(shown.contains("MISSED"), "{shown}");
        }
        assert!(!report(Bound::AtLeast(1.1)).to_string().contains("MISSED"));
    }
}
