//! Applies a ledger of transfers with many threads and tasks at once, in one process or in several,
//! and checks that no cent was lost. See `--help`.
//!
//! The heart is `apply.rs`: two functions under `#[lock]`, which are the same for one process and
//! for several. `files.rs` is a store that outlives whoever is killed over it, and `workers.rs`
//! starts processes and kills them. The rest reads, counts and reports.

mod apply;
mod args;
mod dice;
mod files;
mod generate;
mod journal;
mod ledger;
mod outcome;
mod progress;
mod report;
mod store;
mod words;
mod workers;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::{self, ExitCode};
use std::sync::Arc;

use locks::Backend;

use crate::apply::Run;
use crate::args::{Command, Plan};
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::report::Report;
use crate::store::Memory;
use crate::workers::Share;

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
        Command::Work { plan, directory, share } => workers::work(&plan, &directory, share)?,
        Command::Serve { directory } => workers::serve(&directory)?,
        Command::Apply(plan) => {
            if plan.processes == 0 && std::env::var_os("LOCKS_URL").is_none() {
                // Nobody else is concerned, so it need not be files, which are the default here.
                locks::install(Backend::process())?;
            }
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
    let ledger = Arc::new(Ledger::read(&plan.ledger)?);
    let outcome = match plan.processes {
        0 => apply_here(plan, &ledger)?,
        _ => workers::apply_ledger(plan, &ledger, itself)?,
    };
    Ok(Report::new(plan, &ledger, outcome))
}

/// Applies the ledger in this process alone, in memory.
fn apply_here(plan: &Plan, ledger: &Arc<Ledger>) -> Result<Outcome, Failure> {
    let store = Memory::new(&ledger.opening_balances());
    let run = Run::new(Arc::clone(ledger), store, plan.locked, Share::WHOLE);
    let progress = Progress::show(ledger.transfers.len(), {
        let run = Arc::clone(&run);
        move || run.applied()
    });
    let took = run.go(plan.threads, plan.tasks);
    progress.finish();
    run.outcome(took?)
}

fn itself(arguments: Vec<OsString>) -> Result<process::Command, Failure> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}
