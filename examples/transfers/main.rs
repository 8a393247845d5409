//! Applies a ledger of transfers with many threads and tasks at once, and checks that no cent was
//! lost. See `--help`.
//!
//! The heart is `apply.rs`: two functions under `#[lock]`. The rest reads, counts and reports.

mod apply;
mod args;
mod generate;
mod ledger;
mod progress;
mod report;
mod store;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use crate::apply::Run;
use crate::args::{Command, Plan};
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::report::Report;
use crate::store::Memory;

/// Whatever keeps the program from its job; a refused lock is one of the reasons.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match args::parse().and_then(obey) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("transfers: {error}");
            ExitCode::from(2)
        }
    }
}

fn obey(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Help => print!("{}", args::HELP),
        Command::Generate { rows, accounts, seed } => {
            let mut out = BufWriter::new(io::stdout().lock());
            generate::write(&mut out, rows, accounts, seed)?;
            out.flush()?;
        }
        Command::Apply(plan) => {
            let report = apply_ledger(&plan)?;
            print!("{report}");
            if plan.locked && !report.is_sound() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn apply_ledger(plan: &Plan) -> Result<Report, Failure> {
    let ledger = Ledger::read(&plan.ledger)?;
    let before = ledger.opening_balances();
    let run = Run::new(ledger, Memory::new(&before), plan.locked);
    let progress = Progress::show(run.clone());
    let took = run.go(plan.threads, plan.tasks);
    progress.finish();
    Report::new(plan, &run, &before, took?)
}
