//! Prints one table per row and a summary: what was compared, the figures, and which goals are
//! met. See `README.md` for how to run and read it.

mod options;
mod rows;

use std::process::ExitCode;

use locks_benches::report::Summary;
use options::Wanted;
use rows::Run;

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    #[cfg(unix)]
    if arguments.first().is_some_and(|first| first == rows::file::child::COMMAND) {
        return rows::file::child::main(&arguments[1..]);
    }
    #[cfg(unix)]
    if arguments.first().is_some_and(|first| first == rows::server::child::COMMAND) {
        return rows::server::child::main(&arguments[1..]);
    }
    let options = match options::parse(arguments.into_iter()) {
        Ok(Wanted::Run(options)) => options,
        Ok(Wanted::Text(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}; `--help` lists what there is");
            return ExitCode::from(2);
        }
    };
    // The rows that name no backend are about the engine, whatever the environment says.
    locks::install(locks::Backend::process()).expect("nothing has been locked yet");
    println!("{}\n", machine());
    let mut verdicts = Vec::new();
    for row in options.rows() {
        eprintln!("measuring {} …", row.name);
        let reports = match row.run {
            Run::Anywhere(run) => run(options.pace),
            Run::In(run) => run(options.pace, &options.directory),
        };
        for report in reports {
            println!("{report}");
            verdicts.extend(report.verdicts());
        }
    }
    println!("{}", Summary(&verdicts));
    let missed = verdicts.iter().any(|verdict| !verdict.met);
    if missed && options.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The processor, and whether anything else keeps it busy.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let target = (std::env::consts::ARCH, std::env::consts::OS);
    let cpu = cpu.unwrap_or("processor unknown");
    format!("{cpu}, {cores} cores, {} {}, load before the run {load}", target.0, target.1)
}
