//! What the help of `locks serve` and `locks secret` says beyond their arguments.

use super::Section;

pub(in crate::args) const SERVE_ABOUT: &str = "\
Serves locks to the processes that connect, until TERM or INT tell it to stop.

Clients name it in LOCKS_URL: `unix:///path` or `locks://host:7420?secret_file=/path`. A server that \
is stopped, killed or started anew loses no lock: its journal has them. On a Unix socket clients keep \
their locks as long as they live; on TCP, as long as they renew their lease.";

pub(in crate::args) const SERVE: &[Section] = &[
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

pub(in crate::args) const SECRET: &[Section] = &[
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
