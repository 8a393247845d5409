use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use locks_benches::measure::Pace;

use crate::rows::{ROWS, Row};

/// What to measure, and how much of it.
#[derive(Debug)]
pub(crate) struct Options {
    /// Empty for all rows.
    names: Vec<String>,
    pub(crate) pace: Pace,
    /// Where to put files and sockets.
    pub(crate) directory: PathBuf,
    /// Whether a goal that is missed makes the program fail.
    pub(crate) strict: bool,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Wanted {
    Run(Options),
    Text(String),
}

impl Options {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let wanted = |row: &&Row| self.names.is_empty() || self.names.iter().any(|n| n == row.name);
        ROWS.iter().filter(wanted)
    }
}

/// Reads the arguments.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let pace = Pace { rounds: 7, turns: 15, slice: Duration::from_millis(2) };
    let mut options =
        Options { names: Vec::new(), pace, directory: std::env::temp_dir(), strict: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" | "--list" => return Ok(Wanted::Text(help())),
            "--strict" => options.strict = true,
            "--quick" => {
                options.pace = Pace { rounds: 1, turns: 1, slice: Duration::from_micros(100) };
            }
            "--rounds" => {
                let rounds = arguments.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                options.pace.rounds = rounds.ok_or("`--rounds` takes a number from 1")?;
            }
            "--dir" => {
                let directory = arguments.next().map(PathBuf::from).filter(|path| path.is_dir());
                options.directory = directory.ok_or("`--dir` takes a directory that is there")?;
            }
            name if ROWS.iter().any(|row| row.name == name) => {
                options.names.push(argument);
            }
            other => return Err(format!("there is no row or option `{other}`")),
        }
    }
    Ok(Wanted::Run(options))
}

fn help() -> String {
    let mut text = String::from(
        "usage: locks-benches [ROW…] [--rounds N] [--dir PATH] [--quick] [--strict]\n\n\
         Measures `locks` side by side with what one would pick instead; all rows if none is named.\n\n  \
         --rounds N   figures per contestant (7); their median counts\n  \
         --dir PATH   where to put files and sockets (the system's directory for temporary files)\n  \
         --quick      one short round: shows that everything runs, the figures mean nothing\n  \
         --strict     exit with 1 if a goal is missed\n\nrows:\n",
    );
    for row in ROWS {
        writeln!(text, "  {:<16} {}", row.name, row.about).expect("a `String` takes everything");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Wanted, String> {
        parse(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn rows_and_rounds_can_be_chosen() {
        let Ok(Wanted::Run(options)) = run(&["literal", "--rounds", "9", "async"]) else {
            panic!("these arguments are fine");
        };
        assert_eq!(options.pace.rounds, 9);
        assert_eq!(options.rows().map(|row| row.name).collect::<Vec<_>>(), ["literal", "async"]);
    }

    #[test]
    fn an_unknown_row_is_refused() {
        assert!(run(&["litteral"]).unwrap_err().contains("`litteral`"));
        assert!(run(&["--dir", "/no/such/place"]).unwrap_err().contains("--dir"));
        assert!(run(&["--rounds", "0"]).unwrap_err().contains("--rounds"));
    }
}
