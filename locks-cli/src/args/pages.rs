//! What is printed for shells and for `man`.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::text;
use crate::status::Failure;

pub(super) fn completions_command() -> Command {
    Command::new("completions")
        .about("Prints what a shell completes")
        .hide(true)
        .after_long_help(text::help(text::COMPLETIONS))
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
}

pub(super) fn manual_command() -> Command {
    Command::new("man")
        .about("Prints a page of the manual, for `man -l -`")
        .hide(true)
        .arg(Arg::new("of").value_name("COMMAND").help("The page of this command"))
}

pub(super) fn completions(mut command: Command, asked: &ArgMatches) -> String {
    let shell = *asked.get_one::<Shell>("shell").expect("required");
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "locks", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The page `locks(1)`, or that of one of its commands.
pub(super) fn manual(command: Command, asked: &ArgMatches) -> Result<String, Failure> {
    let (page, sections) = match asked.get_one::<String>("of").map(String::as_str) {
        None => (command, text::MAIN),
        Some(name) => {
            let mut command = command;
            command.build();
            let page = command.find_subcommand(name).filter(|found| !found.is_hide_set());
            let page = page.ok_or_else(|| Failure::new(format!("no page on `{name}`")))?.clone();
            (page, text::sections_of(name))
        }
    };
    let has_commands = page.has_subcommands();
    let man = Man::new(page).source(concat!("locks ", env!("CARGO_PKG_VERSION"))).manual("locks");
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>| -> std::io::Result<()> {
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)?;
        if has_commands {
            man.render_subcommands_section(out)?;
        }
        let mut roff = Roff::new();
        for section in sections {
            roff.control("SH", [section.title.to_uppercase().as_str()]);
            roff.control("nf", []);
            for line in section.lines {
                roff.text([roman(*line)]);
            }
            roff.control("fi", []);
        }
        roff.to_writer(out)
    };
    write(&mut out).map_err(|error| Failure::during("the manual page", error))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
