//! What the help of `locks hold` says beyond its arguments.

use super::Section;

pub(in crate::args) const HOLD_ABOUT: &str = "\
Holds a lock for the rest of a shell script.

It returns once the lock is held, and leaves a process behind, the keeper, which holds it until the process that \
has called `locks hold` ends, however that ends. Nothing is printed on success.";

pub(in crate::args) const HOLD: &[Section] = &[
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
            "has started is its own to end. With `--hold-at-most` the signal comes `--kill-after` before the end,",
            "and so it does before the end of a lease (`locks://`, `redis:`, `etcd:`, `postgres:`) that cannot be",
            "renewed.",
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
