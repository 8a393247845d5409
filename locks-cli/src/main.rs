//! The command `locks`: runs a command while it holds a named lock, shows who holds what, and
//! serves.
#![forbid(unsafe_code)]

mod args;
mod backend_choice;
mod clean;
mod hold;
mod holding;
mod inherited;
mod list;
mod messages;
mod out;
mod ping;
mod quoted;
mod reexec;
mod release;
mod run;
mod secret;
mod serve;
mod shown;
mod status;

use std::process::ExitCode;

use args::Task;
use inherited::Inherited;
use status::Status;

fn main() -> ExitCode {
    let mut given = std::env::args_os().skip(1);
    // What it starts itself as, on the way to a command.
    if let Some(status) = given.next().and_then(|first| reexec::within(&first, given)) {
        return status.into();
    }
    let inherited = Inherited::take();
    let outcome = match args::parse(std::env::args_os()) {
        Ok(Task::Run(asked)) => run::run(asked, &inherited),
        Ok(Task::Hold(asked)) => hold::hold(&asked),
        Ok(Task::List(asked)) => list::list(&asked),
        Ok(Task::Clean(asked)) => clean::clean(&asked),
        Ok(Task::Release(asked)) => release::release(&asked),
        Ok(Task::Ping(asked)) => ping::ping(&asked),
        Ok(Task::Publish(asked)) => messages::publish(&asked),
        Ok(Task::Messages(asked)) => messages::messages(&asked),
        Ok(Task::Serve(asked)) => serve::serve(&asked, &inherited),
        Ok(Task::Secret(asked)) => secret::secret(&asked),
        Ok(Task::Print(text)) => out::print(&text).map(|()| Status::Done),
        Err(wrong) => Err(wrong),
    };
    outcome.unwrap_or_else(|failure| failure.report()).into()
}
