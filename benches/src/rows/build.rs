//! The clean build of a hello world whose `main` calls one annotated function.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

const OURS: &str = "#[lock]";
const PEER: &str = "tracing's #[instrument]";

struct Hello {
    name: &'static str,
    /// Its directory, and the name of its package.
    package: &'static str,
    dependency: String,
    program: &'static str,
}

fn hellos() -> [Hello; 3] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`benches` lies in the root");
    [
        Hello {
            name: PEER,
            package: "hello-instrument",
            dependency: "tracing = \"0.1\"".into(),
            program: "#[tracing::instrument]\nfn hello() {\n    println!(\"hello\");\n}\n\n\
                      fn main() {\n    hello();\n}\n",
        },
        Hello {
            name: OURS,
            package: "hello-lock",
            dependency: format!("locks = {{ path = {:?} }}", root.display().to_string()),
            program: "#[locks::lock(\"hello\")]\nfn hello() {\n    println!(\"hello\");\n}\n\n\
                      fn main() {\n    hello();\n}\n",
        },
        Hello {
            name: "no dependency (floor)",
            package: "hello-bare",
            dependency: String::new(),
            program: "fn hello() {\n    println!(\"hello\");\n}\n\nfn main() {\n    hello();\n}\n",
        },
    ]
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let directory = std::env::temp_dir().join(format!("locks-hello-{}", std::process::id()));
    let hellos = hellos();
    let mut seconds = hellos.iter().map(|hello| Figure::new(hello.name)).collect::<Vec<_>>();
    let mut crates = seconds.clone();
    for (hello, crates) in hellos.iter().zip(&mut crates) {
        let package = hello.write(&directory);
        cargo(&package, &["fetch"]);
        crates.rounds.push(count(&package));
    }
    // A build takes seconds; more rounds than five would take longer than all other rows.
    for _ in 0..pace.rounds.min(5) {
        for (hello, seconds) in hellos.iter().zip(&mut seconds) {
            seconds.rounds.push(build(&directory.join(hello.package)));
        }
    }
    if let Err(error) = fs::remove_dir_all(&directory) {
        eprintln!("{} stays behind: {error}", directory.display());
    }
    let report = |compares: &str, unit, figures, goals| Report {
        row: "build",
        compares: compares.into(),
        unit,
        figures,
        goals,
    };
    let goal = Goal::ratio(OURS, PEER, Bound::AtMost(1.0));
    vec![
        report("clean debug build of a hello world, all downloaded", "s", seconds, vec![goal]),
        report("crates in that build, the hello world included", "crates", crates, Vec::new()),
    ]
}

impl Hello {
    /// Writes the package and returns its directory.
    fn write(&self, directory: &Path) -> PathBuf {
        let package = directory.join(self.package);
        let manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{}\n\n[workspace]\n",
            self.package, self.dependency
        );
        let written = fs::create_dir_all(package.join("src"))
            .and_then(|()| fs::write(package.join("Cargo.toml"), manifest))
            .and_then(|()| fs::write(package.join("src/main.rs"), self.program));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", package.display()));
        package
    }
}

/// The seconds that a build from nothing takes.
fn build(package: &Path) -> f64 {
    let start = Instant::now();
    cargo(package, &["build", "--offline"]);
    let took = start.elapsed().as_secs_f64();
    fs::remove_dir_all(package.join("target")).expect("cargo built into it");
    took
}

/// How many crates the build takes on this platform.
fn count(package: &Path) -> f64 {
    let tree = cargo(package, &["tree", "--offline", "--prefix=none", "--edges=normal,build"]);
    let mut crates = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect::<Vec<_>>();
    crates.sort_unstable();
    crates.dedup();
    crates.len() as f64
}

/// Runs cargo in `package`, as a user would: settings of the build of this program do not count.
fn cargo(package: &Path, arguments: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args(arguments)
        .arg("--quiet")
        .current_dir(package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()
        .expect("`cargo` is installed: it built this program");
    assert!(output.status.success(), "`cargo {}` failed: its error is above", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo prints text")
}
