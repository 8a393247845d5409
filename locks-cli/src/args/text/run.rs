//! What the help of `locks run` says beyond its arguments.

use super::Section;

pub(in crate::args) const RUN_ABOUT: &str = "\
Runs a command while it holds a lock.

The lock is acquired, the command is run, and when it has ended the lock is released: processes \
that it has left behind are not waited for. Nothing is printed on success.";

pub(in crate::args) const RUN: &[Section] = &[
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
            "the machine is too busy for that. Where a lease keeps the lock (`locks://`, `redis:`, `etcd:`,",
            "`postgres:`) and cannot be renewed, the group gets TERM `--kill-after` before its end, and KILL at it.",
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
