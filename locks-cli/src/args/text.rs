//! What the help and the manual pages say beyond the arguments.

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

pub(super) const SERVE_ABOUT: &str = "\
Serves locks to the processes that connect, until TERM or INT tell it to stop.

Clients name it in LOCKS_URL: `unix:///path` or `locks://host:7420?secret_file=/path`. A server that \
is stopped, killed or started anew loses no lock: its journal has them. On a Unix socket clients keep \
their locks as long as they live; on TCP, as long as they renew their lease.";

pub(super) const SERVE: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks serve",
            "    for the programs of this user that say LOCKS_URL=unix:",
            "locks serve --listen unix:/run/locks/locks.sock --state /var/lib/locks --allow-user 33",
            "    for those of two users: LOCKS_URL=unix:///run/locks/locks.sock",
            "locks secret --out ~/locks.secret",
            "locks serve --listen tcp:0.0.0.0:7420 --secret-file ~/locks.secret",
            "    for other machines: LOCKS_URL='locks://host:7420?secret_file=/home/me/locks.secret'",
        ],
    },
    Section {
        title: "Settings",
        lines: &[
            "What a flag does not say, a variable of the environment does; else the file; else the",
            "default. Lists are taken as a whole, limits one by one.",
            "flag           variable                 in the file",
            "--listen       LOCKS_SERVE_LISTEN       listen = [\"unix:/path\", \"tcp:127.0.0.1:7420\"]",
            "--secret-file  LOCKS_SERVE_SECRET_FILE  secret_file = \"/path\"",
            "--clients      LOCKS_SERVE_CLIENTS      clients = \"/path\"",
            "--cert         LOCKS_SERVE_CERT         cert = \"/path\"",
            "--key          LOCKS_SERVE_KEY          key = \"/path\"",
            "--client-ca    LOCKS_SERVE_CLIENT_CA    client_ca = \"/path\"",
            "--state        LOCKS_SERVE_STATE        state = \"/dir\"",
            "--allow-user   LOCKS_SERVE_ALLOW_USER   allow_user = [33]",
            "--lease        LOCKS_SERVE_LEASE        lease = \"10s\"",
            "--limit        LOCKS_SERVE_LIMITS       [limits], and lines such as keys = 100000",
            "--log          LOCKS_SERVE_LOG          log = \"/path\"",
            "--log-level    LOCKS_SERVE_LOG_LEVEL    log_level = \"warn\"",
            "--http         LOCKS_SERVE_HTTP         http = \"127.0.0.1:7421\"",
            "--http-token-file",
            "               LOCKS_SERVE_HTTP_TOKEN_FILE",
            "                                        http_token_file = \"/path\"",
            "--http-host    LOCKS_SERVE_HTTP_HOST    http_host = [\"locks.example.org\"]",
            "--config       LOCKS_SERVE_CONFIG",
            "Lists in variables have white space between.",
        ],
    },
    Section {
        title: "Clients on TCP",
        lines: &[
            "All is by TLS 1.3. Whoever knows the secret of `--secret-file` may do everything. `--clients` names",
            "a file with a table for each client that may do less, or has a secret of its own:",
            "    [deploy]",
            "    secret_files = [\"deploy.secret\"]   made by `locks secret --name deploy`; two, while one is replaced",
            "    certificates = [\"<sha256>\"]        of certificates that an authority of `--client-ca` has signed",
            "    namespace = \"deploy/\"             all its keys begin so; it sees no others",
            "    rights = [\"steal\", \"admin\"]      `steal_after`; releasing what others hold",
            "Without `--clients`, a certificate of `--client-ca` is as good as the secret.",
        ],
    },
    Section {
        title: "Limits",
        lines: &[
            "sessions              clients, connected or not (4096)",
            "newcomers             connections that are no client's yet (256)",
            "keys                  keys that are held, waited for or reserved (1000000)",
            "waiters               requests that wait (100000)",
            "requests_per_session  requests of one client that wait or hold (1000000)",
            "frame                 bytes that a client says at once (262144)",
            "write_buffer          bytes that wait for one client to read them (4194304)",
            "message               bytes of one message of `locks publish`, and 64 for it (65536)",
            "messages_per_client, message_bytes_per_client",
            "                      messages that one client has not taken yet (1000, 1048576)",
            "messages, message_bytes",
            "                      those of all clients together (100000, 67108864)",
            "patience              for a connection to say who it is, and to read and write (10s)",
            "shortest_lease, longest_lease",
            "                      what leases a client may ask for (1s, 1h)",
            "longest_hold          after which every hold ends (no limit)",
        ],
    },
    Section {
        title: "The page",
        lines: &[
            "With `--http 127.0.0.1:7421` there are",
            "/         a page that shows live who holds what, who waits for whom, the clients and rates;",
            "          holds can be taken away there, as by `locks release`",
            "/metrics  what was counted, for Prometheus",
            "/healthz  200 while the server answers",
            "/readyz   200 while it grants new locks, too",
            "/api/locks, /api/clients, /api/graph",
            "          what the page shows, in JSON; `search`, `state`, `sort`, `order`, `page` and `per_page`",
            "          behind a `?`; locks as `locks ls --json` has them",
            "/api/release",
            "          POST {\"key\": KEY, \"token\": TOKEN, \"confirm\": KEY} takes a hold away",
            "All of /api takes the token in the file that is named at the start: type it into the page, open",
            "  xdg-open \"http://127.0.0.1:7421/#$(cat ~/.local/state/locks/serve/http.token)\"",
            "or say `authorization: Bearer TOKEN`. It is not encrypted, so it is for this machine alone: let a",
            "proxy with TLS, or `ssh -L 7421:127.0.0.1:7421 host`, bring others there; a proxy that keeps its",
            "own name in `Host` is allowed by `--http-host`.",
        ],
    },
    Section {
        title: "When it is ready",
        lines: &[
            "It prints `listening on URL`, a line for each address, with `--json` one object with",
            "`listening`, `pid` and, for a page, `http` with `url` and `token_file`. It writes a newline to `--ready-fd`, and tells systemd (`Type=notify`).",
        ],
    },
    Section {
        title: "Signals",
        lines: &[
            "TERM and INT stop it: clients are told, sockets removed. They keep their locks, and connect",
            "to the next server. A second one ends it at once, which loses no lock either. HUP opens the",
            "file of `--log` anew, for what rotates logs, and reads anew who comes in over TCP: the files of",
            "`--secret-file`, `--clients`, `--cert`, `--key` and `--client-ca`, with the files that they name.",
            "Who may come in no more is cut off; a name that is gone loses what it holds. If a file is",
            "wrong, all stays as it was, and a line on standard error says why.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "0      stopped by a signal",
            "125    it could not be started, or could not go on; told on standard error",
            "128+n  a second signal n ended it, or a first one before it listened",
        ],
    },
];

pub(super) const SECRET: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks secret --out ~/locks.secret",
            "    a new file; one that is there is left alone",
            "locks secret | ssh host 'umask 077; cat >locks.secret'",
            "    for a file elsewhere, without showing it",
        ],
    },
    Section {
        title: "What it is",
        lines: &[
            "256 bits, as 64 hexadecimal digits. The file has to be its user's or root's, and closed to all",
            "others. Never put a secret into a URL or an argument: lists of processes show those.",
        ],
    },
];

pub(super) const PUBLISH: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks publish prices reload",
            "    to all clients of the server that want messages",
            "locks publish --to web --to worker --timeout 1m --replace config \"$(cat config.json)\"",
            "    to those two; of use for a minute, in place of what they have about `config`",
            "tar c . | locks publish --to web files -",
            "    from standard input",
        ],
    },
    Section {
        title: "Who gets it",
        lines: &[
            "Clients that have opened a mailbox: `locks messages`, or a program by `NetBackend::messages`. The",
            "server keeps nothing: who comes later gets none. Whoever has no room left, since it has not taken",
            "what it got before, gets none either. `--json` prints `delivered` and `full`, how many did and did not.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "0    somebody got it",
            "1    nobody did",
            "125  the server was not reached, or the message was refused; told on standard error",
        ],
    },
];

pub(super) const MESSAGES: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks messages --name web",
            "    what is published to `web` or to all, a line each, until Ctrl-C",
            "locks messages --name web --count 1 --timeout 10s --json",
            "    the first one within ten seconds",
        ],
    },
    Section {
        title: "JSON",
        lines: &[
            "`--json` prints an object on a line for each: `subject`; `content`, or `content_hex` where that is no",
            "text; `expires_ms`, or null; `from` with `label`, `process`, `pid` and `host`.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "0    it has printed as many as it should, or whoever read them has gone",
            "1    `--timeout` has passed without one",
            "125  the server was not reached; told on standard error",
        ],
    },
];
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

pub(super) const PING: &[Section] = &[
    Section {
        title: "JSON",
        lines: &[
            "`--json` prints one object: name, answered_ms, served_by (what answers behind the backend, if it",
            "is a server of others), exclusion, tokens, waiters, can, and for a lock server `server` with",
            "pid, process, version, serving_for_ms, sessions, keys and waiters.",
        ],
    },
    URLS,
    BACKENDS,
];

pub(super) const RUN: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks run backup -- tar czf /backup/home.tgz /home",
            "    wait until no other backup runs",
            "locks run -n -q -E 0 mirror -- rsync -a a/ b/",
            "    in a crontab: skip this time, without a word, if the last one still runs",
            "locks run --wait=30s account_3 account_7 -- ./transfer",
            "    both locks or none; give up after half a minute",
            "locks run --hold-at-least 50s -n report -- ./report",
            "    at most once in 50 seconds, however soon it is done",
            "locks run --steal-after 2h nightly -- ./nightly",
            "    take over from a run that has been stuck for two hours",
            "locks run --backend net: --hand-over deploy -- ./deploy",
            "    whatever ./deploy runs by `locks run deploy` is in at once, and everybody else waits until all is done",
            "locks run db -- sh -c 'psql -v token=$LOCKS_TOKEN -f migrate.sql'",
            "    a store that refuses old tokens is safe even from a holder that has lost its lock",
        ],
    },
    Section {
        title: "Keys",
        lines: &[
            "The first key ends the options: in `locks run a \"$key\" -- …` the second is a key whatever it begins",
            "with. For the first one write `--key \"$key\"`, as often as there are keys.",
        ],
    },
    Section {
        title: "Environment",
        lines: &[
            "LOCKS_URL    the backend, where `--backend` does not say; without either, `file:`",
            "LOCKS_SECRET the secret of a server on TCP, where the URL names no file",
            "for the command:",
            "LOCKS_KEY    the key; several, as given, with a newline between them",
            "LOCKS_TOKEN  the fencing token: greater with each grant of the key",
            "LOCKS_WITHIN tokens and keys of all locks around it, a line for each: a `locks run` within that asks",
            "             for one of them is refused at once, for waiting would never end",
            "LOCKS_OWNER  with `--hand-over`: what it takes to enter the lock. A `locks run` or `locks hold` within",
            "             does so, where it asks for keys that were handed over; a program of one's own by",
            "             `SharedOwner::from_env`. Those who enter do not exclude each other, and a second",
            "             `--hand-over` within hands over its own lock alone",
        ],
    },
    Section {
        title: "Signals",
        lines: &[
            "While it waits, INT, TERM, HUP and QUIT end it at once: it leaves the queue. USR1, USR2 and",
            "ALRM are for the command, and forgotten if there is none yet.",
            "While the command runs, INT, TERM, HUP, QUIT, USR1, USR2, ALRM, WINCH, TSTP and CONT are",
            "passed on to the command's process group, each time; what it does with them is up to it.",
            "Signals that were ignored when it started (`nohup`) are left alone. The command finds them ignored, and",
            "those blocked that were, but for PIPE, which is never ignored there.",
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
            "the machine is too busy for that. Where a lease keeps the lock (`locks://`) and cannot be renewed,",
            "the group gets TERM `--kill-after` before its end, and KILL at it.",
        ],
    },
    Section {
        title: "In its place",
        lines: &[
            "With `--no-fork` the command takes the place of `locks run`: it has the same process number, and the",
            "lock until it, and whatever it has started, has ended or closed the lock's file. Nobody sees then to",
            "bounds or leases, hears of a loss or passes signals on, so it takes `file:`, without",
            "`--hold-at-least`, `--hold-at-most` and `--lease`.",
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

pub(super) const HOLD_ABOUT: &str = "\
Holds a lock for the rest of a shell script.

It returns once the lock is held, and leaves a process behind, the keeper, which holds it until the process that \
has called `locks hold` ends, however that ends. Nothing is printed on success.";

pub(super) const HOLD: &[Section] = &[
    Section {
        title: "Examples",
        lines: &[
            "locks hold -n nightly || exit",
            "    in a script: not if it runs already; from here on nobody else runs it",
            "locks hold -w 30s account_3 account_7",
            "    both locks or none; exit status 75 after half a minute",
            "trap 'echo lost; exit 1' TERM; locks hold nightly",
            "    to put things in order when the lock is lost",
            "locks hold --pid $$ nightly",
            "    where the caller is a subshell and the lock is for the whole script",
        ],
    },
    Section {
        title: "When the lock is lost",
        lines: &[
            "The script gets TERM, or what `--signal` says, and its standard error a line that says why. What it",
            "has started is its own to end. With `--hold-at-most` the signal comes `--kill-after` before the end.",
        ],
    },
    Section {
        title: "The keeper",
        lines: &[
            "`locks ls` shows it as the holder, by the script's name. It takes no part in the terminal or in the",
            "script's process group, and renews leases. TERM has it let go of the lock before the script ends.",
            "Where `$LOCKS_TOKEN` would be needed, `--json` prints the token, the keys and the keeper's number.",
        ],
    },
    Section {
        title: "Exit status",
        lines: &[
            "0      the lock is held",
            "75     somebody else has the lock, or had it until the timeout (`-E` changes it)",
            "125    the lock could not be asked for, or the arguments are wrong",
            "128+n  signal n ended the wait for the lock",
        ],
    },
];

pub(super) const LIST: &[Section] = &[
    Section {
        title: "JSON",
        lines: &[
            "`--json` prints one array, with `--watch` one a line each time. Its objects:",
            "key          the key",
            "holders      mode (`exclusive`, `shared`, `permit`), permits (how many there are), take (how",
            "             many of them it has, or asks for), token, who (thread or task), label, host, pid,",
            "             process, command, site (where in its source), depth (how many guards it has, one",
            "             within the other), age_ms",
            "waiters      the same, with waited_ms instead of token and age_ms; first come first",
            "reserved_ms  how long `hold-at-least` still keeps it, though nobody holds it",
            "reserved_by  the tokens of the holds that have left it so",
            "at           when this was so, in seconds since 1970",
            "What is not known is null. `command` is what the process was started as, where it runs on",
            "this machine and may be looked at.",
        ],
    },
    URLS,
    BACKENDS,
];

pub(super) const RELEASE: &[Section] = &[
    Section {
        title: "What happens",
        lines: &[
            "Over a server's socket it takes the user who runs the server, or root.",
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
