//! What the help of `locks ls` says beyond its arguments.

use super::{BACKENDS, Section, URLS};

pub(in crate::args) const LIST: &[Section] = &[
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
