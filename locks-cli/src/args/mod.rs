//! What the command is asked to do.

mod forgotten;
mod hold;
mod keys;
mod list;
mod lock;
mod messages;
mod pages;
mod postgres;
mod run;
mod serve;
mod text;
mod upkeep;

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use locks::duration;

pub(crate) use self::hold::HoldArgs;
use self::keys::Words;
pub(crate) use self::list::ListArgs;
pub(crate) use self::lock::LockArgs;
pub(crate) use self::messages::{MessagesArgs, PublishArgs};
pub(crate) use self::run::RunArgs;
pub(crate) use self::serve::{SecretArgs, ServeArgs};
pub(crate) use self::upkeep::{CleanArgs, PingArgs, ReleaseArgs};
use crate::backend_choice::BackendChoice;
use crate::status::Failure;

/// One of the things that the command does.
#[derive(Debug)]
pub(crate) enum Task {
    Run(RunArgs),
    Hold(HoldArgs),
    List(ListArgs),
    Clean(CleanArgs),
    Release(ReleaseArgs),
    Ping(PingArgs),
    Publish(PublishArgs),
    Messages(MessagesArgs),
    Serve(ServeArgs),
    Secret(SecretArgs),
    /// Help, the version, a manual page, completions.
    Print(String),
}

/// The task that `given` asks for, the program's own name first.
pub(crate) fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Task, Failure> {
    let given = given.into_iter().collect::<Vec<_>>();
    let (head, words) = given.split_at(given.len().min(2));
    let keyed = match head.get(1).and_then(|name| name.to_str()) {
        Some("run") => Some(run::command()),
        Some("hold") => Some(hold::command()),
        _ => None,
    };
    let keyed = keyed.as_ref().map(|subcommand| (subcommand, Words::of(subcommand, words)));
    let spelled = keyed.as_ref().map_or_else(|| words.to_vec(), |(_, words)| words.spelled());
    let mut matches = match command().try_get_matches_from(head.iter().chain(&spelled)) {
        Ok(matches) => matches,
        Err(error) => return explain(&error, keyed.as_ref().map(|(_, words)| words)),
    };
    let (name, mut of) = matches.remove_subcommand().expect("one is required");
    let like_options = keyed.map(|(subcommand, words)| words.like_options(subcommand));
    let like_options = like_options.unwrap_or_default();
    Ok(match name.as_str() {
        "run" => Task::Run(RunArgs::read(&mut of, like_options)?),
        "hold" => Task::Hold(HoldArgs::read(&mut of, like_options)?),
        "ls" => Task::List(ListArgs::read(&mut of)?),
        "clean" => Task::Clean(CleanArgs::read(&mut of)?),
        "release" => Task::Release(ReleaseArgs::read(&mut of)?),
        "ping" => Task::Ping(PingArgs::read(&mut of)?),
        "publish" => Task::Publish(PublishArgs::read(&mut of)?),
        "messages" => Task::Messages(MessagesArgs::read(&mut of)?),
        "serve" => Task::Serve(ServeArgs::read(&mut of)),
        "secret" => Task::Secret(SecretArgs::read(&mut of)),
        "postgres" => Task::Print(postgres::schema(&of)?),
        "completions" => Task::Print(pages::completions(command(), &of)),
        "man" => Task::Print(pages::manual(command(), &of)?),
        other => unreachable!("`{other}` is not among the commands"),
    })
}

fn command() -> Command {
    Command::new("locks")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a command while it holds a named lock, shows who holds what, and serves")
        .long_about(text::ABOUT)
        .after_long_help(text::help(text::MAIN))
        .max_term_width(100)
        .subcommand_required(true)
        .subcommand_value_name("COMMAND")
        .disable_help_subcommand(true)
        .args_override_self(true)
        .subcommand(run::command())
        .subcommand(hold::command())
        .subcommand(list::command())
        .subcommand(upkeep::release())
        .subcommand(upkeep::clean())
        .subcommand(upkeep::ping())
        .subcommand(messages::publish())
        .subcommand(messages::messages())
        .subcommand(serve::serve())
        .subcommand(serve::secret())
        .subcommand(postgres::command())
        .subcommand(pages::completions_command())
        .subcommand(pages::manual_command())
}

/// Help that was asked for, or what is wrong.
fn explain(error: &clap::Error, keyed: Option<&Words<'_>>) -> Result<Task, Failure> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Task::Print(text)),
        kind => {
            let lacks = kind == ErrorKind::MissingRequiredArgument;
            let lacking = keyed.filter(|_| lacks).and_then(forgotten::part);
            let text = lacking.unwrap_or(text);
            Err(Failure::in_lines(text.trim_start_matches("error: ").trim_end()))
        }
    }
}

/// What `--help` says of a command.
#[cfg(test)]
pub(crate) fn help_of(name: &str) -> String {
    let mut command = command();
    command.build();
    let found = command.find_subcommand_mut(name).expect("a command");
    found.render_long_help().to_string()
}

fn backend() -> Arg {
    Arg::new("backend").long("backend").value_name("URL").help(
        "The backend to ask: `file:` (the user's own directory), `file:///dir`, `net:`, `unix:///path`, \
         `locks://127.0.0.1:7420`, …; default: LOCKS_URL, else `file:`",
    )
}

fn json() -> Arg {
    Arg::new("json").long("json").action(clap::ArgAction::SetTrue).help("Answer in JSON")
}

fn backend_choice(matches: &mut ArgMatches) -> Result<BackendChoice, Failure> {
    BackendChoice::choose(matches.remove_one("backend"))
}

/// Durations as everywhere else in `locks`: `500ms`, `1m30s`.
fn lasting() -> ValueParser {
    ValueParser::new(duration::parse)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(line: &[&str]) -> Result<Task, String> {
        let line = ["locks"].iter().chain(line).map(OsString::from);
        parse(line).map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn the_description_of_the_arguments_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_forgotten_separator_is_told_with_what_to_write() {
        for (line, expected) in [
            (&["run", "backup", "tar", "cf", "x"][..], "locks run backup -- tar cf x"),
            (&["run", "-n", "backup", "tar", "-czf", "x"], "locks run -n backup -- tar -czf x"),
            (&["run", "--timeout", "5s", "a", "sleep", "1"], "locks run --timeout 5s a -- sleep 1"),
            (&["run", "a", "sh", "-c", "a b"], "locks run a -- sh -c 'a b'"),
            (&["run", "backup"], "locks run backup -- COMMAND"),
            (&["run", "backup", "--"], "locks run backup -- COMMAND"),
            (&["run", "--", "tar"], "locks run KEY -- tar"),
            (&["run", "-n", "--", "tar"], "locks run -n KEY -- tar"),
            (&["run"], "locks run KEY -- COMMAND"),
        ] {
            let text = read(line).unwrap_err();
            assert!(text.contains(&format!("`{expected}`")), "{line:?}: {text}");
        }
    }

    #[test]
    fn other_mistakes_are_told_as_they_are() {
        for (line, expected) in [
            (&["run", "--no-wait", "--timeout", "1s", "a", "--", "b"][..], "cannot be used with"),
            (&["run", "--timeout", "5", "a", "--", "b"], "as in `500ms`"),
            (&["run", "--timeout", "0.5s", "a", "--", "b"], "as `500ms` instead of `0.5s`"),
            (&["run", "--wait", "18446744073709551615s", "a", "--", "b"], "it is too long"),
            (&["run", "--wait", "5", "a", "--", "b"], "it is `true`, `false` or a duration"),
            (&["run", "--shared", "--permits", "3", "a", "--", "b"], "cannot be used with"),
            (&["run", "--permits", "0", "a", "--", "b"], "0"),
            (&["run", "--permits", "2", "--take", "3", "a", "--", "b"], "give at most 2"),
            (&["run", "--take", "3", "a", "--", "b"], "--permits"),
            (&["run", "-E", "256", "a", "--", "b"], "256"),
            (&["run", "--steel-after", "1s", "a", "--", "b"], "--steal-after"),
            (&["list"], "list"),
            (&["ls", "--watch", "0s"], "0s"),
        ] {
            let text = read(line).unwrap_err();
            assert!(text.contains(expected), "{line:?}: {text}");
        }
    }

    /// What stands in their blocks for shells, and what runs a command in a sentence.
    #[test]
    fn the_command_lines_of_manual_and_readme_are_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let pages = std::fs::read_dir(root.join("src/manual")).unwrap();
        let pages = pages.map(|page| page.unwrap().path()).chain([root.join("README.md")]);
        let mut read_lines = 0;
        for page in pages {
            let text = std::fs::read_to_string(&page).unwrap();
            let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
            let inline = text.split('`').skip(1).step_by(2);
            let inline = inline.filter(|code| code.contains(" -- ") && !code.contains(['…', '\n']));
            for line in blocks.flat_map(str::lines).chain(inline) {
                let words = line.split_whitespace();
                let words = words.take_while(|word| !["|", "||", "&", "#"].contains(word));
                let words = words.map(|word| word.trim_matches('\'')).collect::<Vec<_>>();
                if let ["locks", words @ ..] = words.as_slice() {
                    let read = read(words);
                    assert!(read.is_ok(), "{}: `{line}`: {}", page.display(), read.unwrap_err());
                    read_lines += 1;
                }
            }
        }
        assert!(read_lines > 15, "{read_lines}");
    }

    #[test]
    fn help_and_pages_name_every_exit_status() {
        for line in [&["run", "--help"][..], &["man", "run"]] {
            let Ok(Task::Print(text)) = read(line) else { panic!("{line:?} prints") };
            for status in ["75", "124", "125", "126", "127", "128"] {
                assert!(text.contains(status), "{line:?} does not name {status}: {text}");
            }
        }
    }

    #[test]
    fn the_schema_of_a_database_is_printed() {
        let Ok(Task::Print(sql)) = read(&["postgres", "schema", "--schema", "mine"]) else {
            panic!("it prints")
        };
        assert!(sql.contains("CREATE UNLOGGED TABLE IF NOT EXISTS \"mine\".entry"), "{sql}");
        let Ok(Task::Print(sql)) = read(&["postgres", "schema", "--durable"]) else {
            panic!("it prints")
        };
        assert!(sql.contains("locks.entry") && !sql.contains("UNLOGGED"), "{sql}");
        let text = read(&["postgres", "schema", "--schema", "a-b"]).unwrap_err();
        assert!(text.contains("small letters"), "{text}");
        assert!(read(&["postgres"]).is_err());
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let Ok(Task::Print(text)) = read(&["completions", shell]) else { panic!("{shell}") };
            assert!(text.contains("steal-after") && text.contains("release"), "{shell}");
        }
    }

    #[test]
    fn what_is_read_is_what_is_meant() {
        let Ok(Task::Run(asked)) = read(&[
            "run", "-w", "2s", "-s", "-E", "3", "a", "b", "--", "sh", "-c", "exit 0", "--", "-n",
        ]) else {
            panic!("it is a run")
        };
        assert_eq!(asked.lock.keys, ["a", "b"]);
        assert_eq!(asked.command, ["sh", "-c", "exit 0", "--", "-n"]);
        assert_eq!(asked.lock.options.wait, Some(locks::Wait::AtMost(Duration::from_secs(2))));
        assert_eq!((asked.lock.options.mode, asked.lock.conflict), (locks::Mode::Shared, 3));
        assert_eq!(asked.lock.like_options, [""; 0]);
    }

    #[test]
    fn a_key_that_begins_with_a_dash_is_no_option() {
        let keys = |line: &[&str]| match read(line) {
            Ok(Task::Run(asked)) => {
                assert_eq!(asked.lock.options.steal_after, None, "{line:?}");
                (asked.lock.keys, asked.lock.like_options)
            }
            other => panic!("{line:?} is no run: {other:?}"),
        };
        let (all, warned) = keys(&["run", "a", "--steal-after=0s", "-x", "--", "true"]);
        assert_eq!((all.len(), warned), (3, vec!["--steal-after=0s".to_owned()]));
        assert_eq!(keys(&["run", "--key", "-n", "--", "true"]).0, ["-n"]);
        assert_eq!(
            keys(&["run", "--key=--steal-after=0s", "a", "--", "b"]).0[0],
            "--steal-after=0s"
        );
        assert_eq!(keys(&["run", "--key", "--", "--", "b"]).0, ["--"]);
        // Alone it is taken for an option, and there is no key: nothing is stolen or run.
        for alone in ["--steal-after=0s", "-n", "--backend=file:///tmp"] {
            let text = read(&["run", alone, "--", "true"]).unwrap_err();
            assert!(text.contains("the key is missing"), "{text}");
        }
    }

    #[test]
    fn wait_is_spelled_as_in_the_attribute() {
        let wait = |line: &[&str]| match read(line) {
            Ok(Task::Run(asked)) => (asked.lock.keys.join(","), asked.lock.options.wait),
            other => panic!("{line:?} is no run: {other:?}"),
        };
        let seconds = |seconds| Some(locks::Wait::AtMost(Duration::from_secs(seconds)));
        let (forever, no) = (Some(locks::Wait::Forever), Some(locks::Wait::Try));
        for (options, expected) in [
            (&["--wait=5s"][..], seconds(5)),
            (&["--wait", "5s"], seconds(5)),
            (&["-w", "5s"], seconds(5)),
            (&["-w5s"], seconds(5)),
            (&["--timeout", "5s"], seconds(5)),
            (&["--wait=true"], forever),
            (&["--wait", "true"], forever),
            (&["--wait=false"], no),
            (&["-n"], no),
            (&[], None),
        ] {
            let line = [&["run"][..], options, &["x", "--", "true"]].concat();
            assert_eq!(wait(&line), ("x".to_owned(), expected), "{options:?}");
        }
        for value in ["5", "x", "yes", ""] {
            let text = read(&["run", "--wait", value, "x", "--", "true"]).unwrap_err();
            assert!(text.contains("`true`, `false` or a duration"), "{value}: {text}");
        }
    }
}
