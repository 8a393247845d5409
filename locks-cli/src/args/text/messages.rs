//! What the help of `locks publish` and `locks messages` says beyond their arguments.

use super::Section;

pub(in crate::args) const PUBLISH: &[Section] = &[
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

pub(in crate::args) const MESSAGES: &[Section] = &[
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
