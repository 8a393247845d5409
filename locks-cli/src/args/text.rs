//! What the help and the manual pages say beyond the arguments.

/// A section of either.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: &'static [&'static str],
}

pub(super) const ABOUT: &str = "\
Runs a command while it holds a named lock, and shows who holds what.

Locks have names. By default they are those of the user on this machine, in \
`~/.local/state/locks`: a cron job, a service and a shell of one user meet there. Programs that \
use the Rust library `locks` with the same backend take the same locks.";

pub(super) const RUN_ABOUT: &str = "\
Runs a command while it holds a lock.

The lock is acquired, the command is run, and when it has ended the lock is released: processes \
that it has left behind are not waited for. Nothing is printed on success.";

pub(super) const MAIN: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks run -n backup -- tar czf /backup/home.tgz /home",
            "    back up, unless a backup is running",
            "locks ls",
            "    who holds what, and who waits",
        ],
    },
    URLS,
    Section {
        title: "More",
        lines: &[
            "locks man [COMMAND] | man -l -   the manual page of `locks`, or of a command",
            "locks completions SHELL          what a shell completes: bash, zsh, fish, elvish, powershell",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "0    done",
            "1    `locks release`: nobody held it",
            "125  something is wrong; it is told on standard error",
            "`locks run` has more: see `locks run --help`",
        ],
    },
];

const URLS: Section = Section {
    title: "Environment",
    lines: &["LOCKS_URL  the backend, where `--backend` does not say; without either, `file:`"],
};

pub(super) const RUN: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks run backup -- tar czf /backup/home.tgz /home",
            "    wait until no other backup runs",
            "locks run -n -q -E 0 mirror -- rsync -a a/ b/",
            "    in a crontab: skip this time, without a word, if the last one still runs",
            "locks run -w 30s account_3 account_7 -- ./transfer",
            "    both locks or none; give up after half a minute",
            "locks run --hold-at-least 50s -n report -- ./report",
            "    at most once in 50 seconds, however soon it is done",
            "locks run --steal-after 2h nightly -- ./nightly",
            "    take over from a run that has been stuck for two hours",
            "locks run db -- sh -c 'psql -v token=$LOCKS_TOKEN -f migrate.sql'",
            "    a store that refuses old tokens is safe even from a holder that has lost its lock",
        ],
    },
    Section {
        title: "Environment",
        lines: &[
            "LOCKS_URL    the backend, where `--backend` does not say; without either, `file:`",
            "for the command:",
            "LOCKS_KEY    the key; several, as given, with a newline between them",
            "LOCKS_TOKEN  the fencing token: greater with each grant of the key",
        ],
    },
    Section {
        title: "Signals",
        lines: &[
            "While it waits, INT, TERM, HUP and QUIT end it at once: it leaves the queue. USR1, USR2 and",
            "ALRM are for the command, and forgotten if there is none yet.",
            "While the command runs, INT, TERM, HUP, QUIT, USR1, USR2, ALRM, WINCH, TSTP and CONT are",
            "passed on to the command's process group, each time; what it does with them is up to it.",
            "Signals that were ignored when it started (`nohup`) are left alone.",
            "The command has a process group of its own and gets the terminal when it needs it. In a script",
            "that is when it reads from it, and from then on Ctrl-C ends the command alone.",
            "If `locks run` itself is killed, so is the command (on Linux, and unless it is set-uid), an",
            "instant after the lock has become free; processes that the command has started are not.",
        ],
    },
    Section {
        title: "When the lock is lost",
        lines: &[
            "When somebody takes the lock over (`--steal-after`, `locks release`), the command's process",
            "group gets KILL at once. Until then both may have run: only tokens protect against that.",
            "With `--hold-at-most` the end is known: the group gets TERM `--kill-after` before it, and KILL",
            "half of that, at most half a second, before it. So it is gone when the lock passes on, unless",
            "the machine is too busy for that.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "that of the command, if it ended by itself; otherwise",
            "75     somebody else has the lock, or had it until the timeout (`-E` changes it)",
            "124    the lock was lost, or `--hold-at-most` was over; the command was ended",
            "125    the lock could not be asked for, or the arguments are wrong",
            "126    the command could not be executed",
            "127    there is no such command",
            "128+n  signal n ended the command, or the wait for the lock",
        ],
    },
];

pub(super) const LIST: &[Section] = &[
    Section {
        title: "JSON",
        lines: &[
            "`--json` prints one array, with `--watch` one a line each time. Its objects:",
            "key          the key",
            "holders      mode (`exclusive`, `shared`, `permit`), permits (how many there are), token,",
            "             who (thread or task), label, host, pid, process, command, site (where in its",
            "             source), age_ms",
            "waiters      the same, with waited_ms instead of token and age_ms; first come first",
            "reserved_ms  how long `hold-at-least` still keeps it, though nobody holds it",
            "reserved_by  the tokens of the holds that have left it so",
            "at           when this was so, in seconds since 1970",
            "What is not known is null. `command` is what the process was started as, where it runs on",
            "this machine and may be looked at.",
        ],
    },
    URLS,
];

pub(super) const RELEASE: &[Section] = &[
    Section {
        title: "What happens",
        lines: &[
            "The lock is free at once; its holder finds out that it is lost, as after a steal. A",
            "`locks run` kills its command then. Other holders may go on for a while: prefer to end them.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &["0    released", "1    nobody held it", "125  something is wrong"],
    },
];

pub(super) const CLEAN: &[Section] = &[Section {
    title: "What is removed",
    lines: &[
        "Lock files stay behind when a lock is released; they are small, and locks are faster with",
        "them. This removes those of locks that nobody has used for a while, and no others: it may",
        "run at any time.",
    ],
}];

pub(super) const COMPLETIONS: &[Section] = &[Section {
    title: "Examples",
    lines: &[
        "locks completions bash >~/.local/share/bash-completion/completions/locks",
        "locks completions fish >~/.config/fish/completions/locks.fish",
    ],
}];

pub(super) fn sections_of(command: &str) -> &'static [Section] {
    match command {
        "run" => RUN,
        "ls" => LIST,
        "release" => RELEASE,
        "clean" => CLEAN,
        _ => &[],
    }
}

/// The sections as the end of a help text.
pub(super) fn help(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        text.push_str(section.title);
        text.push_str(":\n");
        for line in section.lines {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}
