//! The clean build of a hello world whose `main` calls one annotated function.

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::package::{self, Package};

const OURS: &str = "#[lock]";
const PEER: &str = "tracing's #[instrument]";

struct Hello {
    name: &'static str,
    package: Package,
}

fn hellos() -> [Hello; 3] {
    let hello = |name, package, dependency: &str, attribute| {
        let program = format!(
            "{attribute}\nfn hello() {{\n    println!(\"hello\");\n}}\n\n\
             fn main() {{\n    hello();\n}}\n"
        );
        Hello { name, package: Package::new(package, dependency, &program) }
    };
    [
        hello(PEER, "hello-instrument", "tracing = \"0.1\"", "#[tracing::instrument]"),
        hello(OURS, "hello-lock", &package::locks(), "#[locks::lock(\"hello\")]"),
        hello("no dependency (floor)", "hello-bare", "", ""),
    ]
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let hellos = hellos();
    let mut seconds = hellos.iter().map(|hello| Figure::new(hello.name)).collect::<Vec<_>>();
    let (mut processor, mut crates) = (seconds.clone(), seconds.clone());
    for (hello, crates) in hellos.iter().zip(&mut crates) {
        crates.rounds.push(hello.package.crates());
    }
    // A build takes seconds; more rounds than five would take longer than all other rows.
    for _ in 0..pace.rounds.min(5) {
        for (at, hello) in hellos.iter().enumerate() {
            let took = hello.package.build();
            hello.package.clean();
            seconds[at].rounds.push(took.seconds);
            processor[at].rounds.extend(took.processor);
        }
    }
    let report = |compares: &str, unit, figures, goals| Report {
        row: "build",
        compares: compares.into(),
        unit,
        figures,
        goals,
    };
    let goal = Goal::ratio(OURS, PEER, Bound::AtMost(1.0));
    let mut reports = vec![report(
        "clean debug build of a hello world, all downloaded",
        "s",
        seconds,
        vec![goal],
    )];
    if processor.iter().all(|figure| !figure.rounds.is_empty()) {
        let compares = "processor time of that build, on all cores together";
        reports.push(report(compares, "s", processor, Vec::new()));
    }
    let compares = "crates in that build, the hello world included";
    reports.push(report(compares, "crates", crates, Vec::new()));
    reports
}
