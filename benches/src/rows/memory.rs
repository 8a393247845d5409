//! Bytes per live key, of a guard, and left when all keys are gone.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

const OURS: &str = "locks";

/// The counting is done by `locks-memory`, a program of its own with an allocator of its own.
/// The figures hardly change from run to run, so one round is enough.
pub(super) fn run(_: Pace) -> Vec<Report> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args(["run", "--quiet", "--release", "--bin", "locks-memory", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .stderr(Stdio::inherit())
        .output()
        .expect("`cargo` is installed: it built this program");
    assert!(output.status.success(), "`locks-memory` failed: its error is above");
    let output = String::from_utf8(output.stdout).expect("`locks-memory` prints text");
    let report = |what: &str, compares: &str, most: f64| Report {
        row: "memory",
        compares: compares.into(),
        unit: "bytes",
        figures: figures(&output, what),
        goals: vec![Goal::absolute(OURS, Bound::AtMost(most))],
    };
    vec![
        report(
            "live key",
            "heap per live key beyond its text and its guard, from 60,000 to 110,000 keys",
            72.0,
        ),
        report("guard", "size of a guard", 32.0),
        report("left", "heap left after a million keys, one at a time", 32_768.0),
        report("left after the peak", "heap left after 100,000 keys held at once", 32_768.0),
    ]
}

/// The lines about `what`.
fn figures(output: &str, what: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    for line in output.lines() {
        let mut cells = line.split('\t');
        if cells.next() != Some(what) {
            continue;
        }
        let mut figure = Figure::new(cells.next().unwrap_or_default());
        let values = cells.next().unwrap_or_default().split(' ');
        figure.rounds.extend(values.filter_map(|value| value.parse::<f64>().ok()));
        figures.push(figure);
    }
    figures
}
