//! What the help of `locks release`, `locks clean` and `locks ping` says beyond their arguments.

use super::{BACKENDS, Section, URLS};

pub(in crate::args) const PING: &[Section] = &[
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

pub(in crate::args) const RELEASE: &[Section] = &[
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

pub(in crate::args) const CLEAN: &[Section] = &[Section {
    title: "What is removed",
    lines: &[
        "Lock files stay behind when a lock is released; they are small, and locks are faster with",
        "them. This removes those of locks that nobody has used for a while, and no others: it may",
        "run at any time.",
    ],
}];
