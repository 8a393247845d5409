//! The build of a program with 200 annotated functions, half of them async, when all that it
//! depends on is built.

use std::fmt::Write as _;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::package::{self, Package};

const OURS: &str = "#[lock(\"key_{id}\")]";
const PEER: &str = "tracing's #[instrument]";
const FUNCTIONS: usize = 200;

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let contestants = [
        (PEER, "functions-instrument", "tracing = \"0.1\"".to_owned(), "#[tracing::instrument]"),
        (OURS, "functions-lock", package::locks(), "#[locks::lock(\"key_{id}\")]"),
        ("no attribute (floor)", "functions-bare", String::new(), ""),
    ];
    let mut packages = contestants.map(|(name, package, dependency, attribute)| {
        let program = program(attribute);
        let package = Package::new(package, &dependency, &program);
        package.build();
        (Figure::new(name), package, program)
    });
    for round in 0..pace.rounds.min(5) {
        for (figure, package, program) in &mut packages {
            // Cargo builds again what has changed.
            package.program(&format!("{program}// round {round}\n"));
            figure.rounds.push(package.build().seconds);
        }
    }
    vec![Report {
        row: "functions",
        compares: format!("debug build of {FUNCTIONS} annotated functions, dependencies built"),
        unit: "s",
        figures: packages.map(|(figure, ..)| figure).into(),
        goals: vec![Goal::ratio(OURS, PEER, Bound::AtMost(1.0))],
    }]
}

/// Functions under `attribute`, all of them in use: what is not is never made into machine code.
fn program(attribute: &str) -> String {
    let (mut functions, mut calls) = (String::new(), String::new());
    for at in 0..FUNCTIONS {
        let (asyncness, call) = match at % 2 {
            0 => ("", format!("f{at}(id);")),
            _ => ("async ", format!("let _: Polled = Box::pin(f{at}(id));")),
        };
        write!(
            functions,
            "{attribute}\n{asyncness}fn f{at}(id: u64) -> u64 {{\n    id + {at}\n}}\n\n"
        )
        .and_then(|()| writeln!(calls, "    {call}"))
        .expect("a string takes it all");
    }
    format!(
        "type Polled = std::pin::Pin<Box<dyn Future<Output = u64>>>;\n\n{functions}\
         fn main() {{\n    let id = std::env::args().count() as u64;\n{calls}}}\n"
    )
}
