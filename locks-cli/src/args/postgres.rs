//! `locks postgres schema`.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::text;
use crate::status::Failure;

pub(super) fn command() -> Command {
    Command::new("postgres")
        .about("What a PostgreSQL server needs for locks")
        .after_long_help(text::help(text::POSTGRES))
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("schema")
                .about("Prints the SQL that makes the schema of locks, for a role that may create it")
                .arg(
                    Arg::new("schema")
                        .long("schema")
                        .value_name("NAME")
                        .default_value("locks")
                        .help("The schema's name, as in `?schema=` of the clients' URLs"),
                )
                .arg(Arg::new("durable").long("durable").action(ArgAction::SetTrue).help(
                    "With rows that stand after a crash, for clients with `?durable=` in their URLs",
                )),
        )
}

/// The SQL that was asked for.
pub(super) fn schema(asked: &ArgMatches) -> Result<String, Failure> {
    let (_, asked) = asked.subcommand().expect("one is required");
    let name = asked.get_one::<String>("schema").expect("it has a default");
    let sql = locks::engines::postgres::schema(name, asked.get_flag("durable"));
    sql.map_err(|error| Failure::during("`--schema`", error))
}
