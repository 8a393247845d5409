//! What the help and the manual pages say beyond the arguments.

mod hold;
mod list;
mod messages;
mod run;
mod serve;
mod upkeep;

pub(super) use self::hold::{HOLD, HOLD_ABOUT};
pub(super) use self::list::LIST;
pub(super) use self::messages::{MESSAGES, PUBLISH};
pub(super) use self::run::{RUN, RUN_ABOUT};
pub(super) use self::serve::{SECRET, SERVE, SERVE_ABOUT};
pub(super) use self::upkeep::{CLEAN, PING, RELEASE};

/// A section of either.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: &'static [&'static str],
}

pub(super) const ABOUT: &str = "\
Runs a command while it holds a named lock, shows who holds what, and serves.

Locks have names. By default they are those of the user on this machine, in \
`~/.local/state/locks`: a cron job, a service and a shell of one user meet there. Programs that \
use the Rust library `locks` with the same backend take the same locks.";

pub(super) const MAIN: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks run -n backup -- tar czf /backup/home.tgz /home",
            "    back up, unless a backup is running",
            "locks hold -n backup || exit",
            "    the same for the rest of a script",
            "locks ls",
            "    who holds what, and who waits",
            "locks serve",
            "    a lock server of the user's own, for programs that say LOCKS_URL=unix:",
        ],
    },
    URLS,
    BACKENDS,
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
    lines: &[
        "LOCKS_URL     the backend, where `--backend` does not say; without either, `file:`",
        "LOCKS_SECRET  the secret of a server on TCP, where the URL names no file",
        "LOCKS_PASSWORD",
        "              the password of a Redis, PostgreSQL or etcd server, where the URL names no file",
    ],
};

const BACKENDS: Section = Section {
    title: "Backends",
    lines: &[
        "file:, file:///dir           lock files, in the user's own directory or that one",
        "net:, net:///dir             the processes that use it run a server for each other",
        "unix:, unix:///path          a `locks serve` on this machine: the user's own, or that one",
        "locks://host:7420?secret_file=/path",
        "                             a `locks serve` on TCP",
        "redis://host:6379/0          a Redis server, or node of a cluster; `rediss:` by TLS",
        "redis://host1,host2?sentinel=NAME",
        "                             the primary that these Sentinels know by that name",
        "postgres://user@host/database",
        "                             a PostgreSQL server, with the password in PGPASSWORD",
        "`ls`, `ping` and `release`, where none is named, look where the programs that run now have their",
        "locks by default: `file:` or `net:`. No process begins to serve for being looked at.",
    ],
};

pub(super) const POSTGRES: &[Section] = &[Section {
    title: "Examples",
    lines: &[
        "locks postgres schema | psql billing",
        "    by an owner of the database; clients make the schema themselves where their role may",
        "psql billing -c 'GRANT USAGE ON SCHEMA locks TO app; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL",
        "    TABLES IN SCHEMA locks TO app; GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA locks TO app;",
        "    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA locks TO app'",
        "    what the role of the clients needs then",
        "locks ping --backend postgres://app@db.example/billing",
        "    whether it works; the password is in PGPASSWORD",
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
        "hold" => HOLD,
        "ls" => LIST,
        "release" => RELEASE,
        "clean" => CLEAN,
        "ping" => PING,
        "publish" => PUBLISH,
        "messages" => MESSAGES,
        "serve" => SERVE,
        "secret" => SECRET,
        "postgres" => POSTGRES,
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
