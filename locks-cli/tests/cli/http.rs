//! `locks serve --http`: metrics, health, the page and what it asks for (N9, N12).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use locks::net::NetBackend;
use locks::{Backend, LostCause};
use serde_json::{Value, json};

use crate::kit::{PATIENCE, Place, Process, errors, until};
use crate::serving::{command, refusal, socket};

/// A server with a page.
struct Watched {
    place: Place,
    address: String,
    token: String,
    _process: Process,
}

/// What was answered.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Watched {
    fn start(arguments: &[&str]) -> Self {
        let place = Place::new();
        let url = format!("unix://{}", place.path("locks.sock").display());
        let place = place.with_url(url);
        let socket = socket(&place);
        let mut serve = command(&place, &["--listen", &socket, "--http", "127.0.0.1:0", "--json"]);
        let mut process = Process::start(serve.args(arguments).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["http"]["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let file = said["http"]["token_file"].as_str().unwrap();
        let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "N12");
        let token = fs::read_to_string(file).unwrap().trim().to_owned();
        Self { place, address, token, _process: process }
    }

    fn client(&self, label: &str) -> Backend {
        let backend = NetBackend::unix(self.place.path("locks.sock")).label(label);
        backend.build().unwrap().into_backend()
    }

    /// A request with these headers and no others but the length.
    fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers = headers.collect::<String>();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Answer { status, headers: headers.collect(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[("host", &self.address)], "")
    }

    fn api(&self, path: &str) -> Value {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("host", &*self.address), ("authorization", &*bearer)];
        let answer = self.raw("GET", path, &headers, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Once what was seen last is over.
    fn fresh(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        until("the page shows it", || Some(self.api("/api/locks")).filter(&is_so))
    }

    fn release(&self, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("host", &*self.address),
            ("authorization", &*bearer),
            ("content-type", "application/json"),
        ];
        let answer = self.raw("POST", "/api/release", &headers, &body.to_string());
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// The samples of `/metrics`, once `is_so`.
    fn metrics(&self, is_so: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
        until("it is counted", || {
            let answer = self.get("/metrics");
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
            Some(linted(&answer.body)).filter(&is_so)
        })
    }
}

/// The samples of a text in Prometheus' format, after a look at its rules.
fn linted(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && text.is_ascii(), "lines end, and names are plain");
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let (mut samples, mut families, mut help) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && words.ends_with('.'), "{line}");
            assert!(help.insert(name.to_owned()), "one HELP for each family: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(help.contains(name), "HELP comes before TYPE: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(!["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "{line}");
            assert_eq!(families.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            name.clone_into(&mut current);
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let name = sample.split('{').next().unwrap();
            let kind = families.get(&current).expect("TYPE comes before samples");
            let family = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .expect(line),
                _ => name,
            };
            assert_eq!(family, current, "samples of a family stand together");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let inside = labels.strip_prefix("{").and_then(|it| it.strip_suffix("}"));
                for label in inside.expect(line).split(',') {
                    let (label, text) = label.split_once('=').expect(line);
                    assert!(
                        is_name(label) && text.starts_with('"') && text.ends_with('"'),
                        "{line}"
                    );
                    assert_eq!(label == "le", name.ends_with("_bucket"), "{line}");
                }
            }
            let value: f64 = value.parse().expect(line);
            assert!(value >= 0.0, "{line}");
            assert_eq!(samples.insert(sample.to_owned(), value), None, "each sample once: {line}");
        }
    }
    assert_eq!(families.len(), help.len());
    for (family, kind) in &families {
        if kind == "histogram" {
            let mut below = 0.0;
            for line in text.lines().filter(|line| line.starts_with(&format!("{family}_bucket"))) {
                let (_, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap();
                assert!(value >= below, "buckets are cumulative: {line}");
                below = value;
            }
            let all = samples[&format!("{family}_bucket{{le=\"+Inf\"}}")];
            assert_eq!(all, samples[&format!("{family}_count")], "{family}");
            assert!(samples.contains_key(&format!("{family}_sum")));
        }
    }
    samples
}

#[test]
fn n12_metrics_agree_with_a_counted_workload() {
    let watched = Watched::start(&[]);
    let (one, two) = (watched.client("one"), watched.client("two"));
    for _ in 0..7 {
        drop(one.named("k").acquire().unwrap());
    }
    let held = one.named("k").acquire().unwrap();
    for _ in 0..3 {
        two.named("k").wait(false).acquire().unwrap_err();
    }
    two.named("k").wait(Duration::from_millis(1)).acquire().unwrap_err();
    let thief = two.named("k").wait(false).steal_after(Duration::ZERO).acquire().unwrap();
    assert!(matches!(
        held.check().unwrap_err().kind(),
        locks::ErrorKind::Lost { cause: LostCause::Stolen }
    ));
    let shared =
        [one.named("s").shared().acquire().unwrap(), two.named("s").shared().acquire().unwrap()];
    let permit = one.named("p").permits(2).acquire().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| drop(one.named("k").acquire().unwrap()));
        let status = || watched.metrics(|it| it["locks_waiters"] == 1.0);
        let seen = status();
        assert_eq!(
            (seen["locks_keys"], seen["locks_holds"], seen["locks_sessions"]),
            (3.0, 4.0, 2.0)
        );
        drop(thief);
        waits.join().unwrap();
    });
    let seen = watched.metrics(|it| it["locks_releases_total"] == 9.0);
    for (name, expected) in [
        ("locks_grants_total{mode=\"exclusive\"}", 10.0),
        ("locks_grants_total{mode=\"shared\"}", 2.0),
        ("locks_grants_total{mode=\"permit\"}", 1.0),
        ("locks_refusals_total{reason=\"contended\"}", 3.0),
        ("locks_refusals_total{reason=\"timeout\"}", 1.0),
        ("locks_refusals_total{reason=\"deadlock\"}", 0.0),
        ("locks_losses_total{cause=\"stolen\"}", 1.0),
        ("locks_losses_total{cause=\"expired\"}", 0.0),
        ("locks_waits_total", 2.0),
        ("locks_evictions_total", 0.0),
        ("locks_sessions_total", 2.0),
        ("locks_sessions_connected", 2.0),
        ("locks_waiters", 0.0),
        ("locks_holds", 3.0),
        ("locks_ready", 1.0),
        ("locks_wait_duration_seconds_count", 1.0),
        ("locks_hold_duration_seconds_count", 10.0),
    ] {
        assert_eq!(seen[name], expected, "{name}");
    }
    let labels = seen.keys().filter(|name| name.contains('{')).count();
    assert!(
        labels < 64 && !seen.keys().any(|name| name.contains("\"k\"")),
        "labels from fixed sets"
    );
    drop((shared, permit));
}

/// The fields of a lock that stand still while it is held.
fn still(lock: &Value) -> Value {
    let mut lock = lock.clone();
    let fields = lock.as_object_mut().unwrap();
    fields.remove("at");
    fields.remove("reserved_by_text");
    for people in ["holders", "waiters"] {
        for person in lock[people].as_array_mut().unwrap() {
            let fields = person.as_object_mut().unwrap();
            for moving in ["age_ms", "waited_ms", "token_text"] {
                fields.remove(moving);
            }
        }
    }
    lock
}

#[test]
fn n12_the_page_and_ls_agree_on_ten_thousand_locks_and_a_contended_one() {
    const MANY: usize = 10_000;
    let watched = Watched::start(&[]);
    let (one, two) = (watched.client("one"), watched.client("two"));
    let hostile =
        ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "\u{202e}\"&'\n"];
    let mut held =
        hostile.map(|key| one.named(key).acquire().unwrap()).into_iter().collect::<Vec<_>>();
    held.extend(
        (held.len()..MANY).map(|number| one.named(format!("key:{number:05}")).acquire().unwrap()),
    );
    let contended = "key:07777";
    std::thread::scope(|scope| {
        scope.spawn(|| drop(two.named(contended).acquire().unwrap()));
        watched.metrics(|it| it["locks_waiters"] == 1.0);
        let listed = watched.place.listed();
        assert_eq!(listed.len(), MANY);
        let first =
            watched.fresh(|seen| seen["matching"] == MANY && seen["totals"]["waiters"] == 1);
        assert_eq!((&first["pages"], &first["totals"]["keys"]), (&json!(200), &json!(MANY)));
        let mut paged = Vec::new();
        for page in 1..=10 {
            let seen = watched.api(&format!("/api/locks?per_page=1000&page={page}"));
            paged.extend(seen["locks"].as_array().unwrap().iter().map(still));
        }
        let listed = listed.iter().map(still).collect::<Vec<_>>();
        assert!(paged == listed, "the page and `locks ls` differ");

        let worst = watched.api("/api/locks?sort=waiters&per_page=1");
        assert_eq!(worst["locks"][0]["key"], contended);
        assert_eq!(worst["locks"][0]["waiters"][0]["label"], "two");
        let found = watched.api("/api/locks?search=KEY%3A0777&state=held");
        assert_eq!(
            (&found["matching"], &found["locks"][0]["key"]),
            (&json!(10), &json!("key:07770"))
        );
        assert_eq!(watched.api("/api/locks?state=waited")["matching"], 1);
        assert_eq!(watched.api("/api/locks?search=onerror")["locks"][0]["key"], hostile[0]);
        let last = watched.api("/api/locks?order=reverse&per_page=1&page=99999");
        assert_eq!((&last["page"], &last["pages"]), (&json!(MANY), &json!(MANY)));

        let graph = watched.api("/api/graph");
        assert_eq!((&graph["contended"], graph["nodes"].as_array().unwrap().len()), (&json!(1), 3));
        let edges = graph["edges"].as_array().unwrap();
        let kinds = edges.iter().map(|edge| edge["kind"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(kinds, ["waits", "held"]);
        let clients = watched.api("/api/clients");
        let counts = clients["clients"].as_array().unwrap().iter();
        let counts = counts.map(|client| {
            (client["label"].clone(), client["holds"].clone(), client["waits"].clone())
        });
        let expected = [(json!("two"), json!(0), json!(1)), (json!("one"), json!(MANY), json!(0))];
        assert_eq!(counts.collect::<Vec<_>>(), expected);
        drop(held);
    });
}

#[test]
fn n12_all_but_health_and_metrics_takes_the_token_and_says_who_may_show_it() {
    let watched = Watched::start(&[]);
    let host = &*watched.address;
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/page.js", 200),
        ("/nothing", 404),
        ("/api/locks", 401),
        ("/api/clients", 401),
        ("/api/graph", 401),
        ("/api/nothing", 401),
    ] {
        let answer = watched.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let policy = &answer.headers["content-security-policy"];
        for rule in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http:"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers.get("set-cookie"), None);
        assert_eq!(answer.headers.get("access-control-allow-origin"), None);
    }
    let wrong = format!("Bearer {}", "0".repeat(64));
    for said in [&*wrong, "Bearer", "Basic x", &watched.token] {
        let answer =
            watched.raw("GET", "/api/locks", &[("host", host), ("authorization", said)], "");
        assert_eq!((answer.status, &*answer.headers["www-authenticate"]), (401, "Bearer"));
        assert!(answer.body.contains("the token is in the file"), "{}", answer.body);
    }
    // The token is no cookie, nor anything behind a question mark.
    let cookie = format!("token={}", watched.token);
    assert_eq!(
        watched.raw("GET", "/api/locks", &[("host", host), ("cookie", &cookie)], "").status,
        401
    );
    assert_eq!(watched.get(&format!("/api/locks?token={}", watched.token)).status, 401);
    assert_eq!(watched.raw("POST", "/api/locks", &[("host", host)], "").status, 405);
    assert_eq!(watched.raw("GET", "/api/release", &[("host", host)], "").status, 405);
}

#[test]
fn n12_other_names_and_the_pages_of_other_sites_are_refused() {
    let watched = Watched::start(&["--http-host", "locks.example"]);
    let bearer = format!("Bearer {}", watched.token);
    let host = &*watched.address;
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        watched.raw("GET", path, &headers, "").status
    };
    for path in ["/", "/metrics", "/healthz", "/api/locks"] {
        assert_eq!(ask(path, &[("host", "evil.example")]), 421, "{path}");
        assert_eq!(ask(path, &[("host", "locks.example")]), 200, "{path}");
        assert_eq!(ask(path, &[("host", host), ("origin", "http://evil.example")]), 403, "{path}");
        assert_eq!(ask(path, &[("host", host), ("origin", "null")]), 403, "{path}");
        assert_eq!(
            ask(path, &[("host", host), ("origin", &format!("http://{host}"))]),
            200,
            "{path}"
        );
    }
}

#[test]
fn n9_a_release_takes_the_token_the_hold_and_its_confirmation() {
    let watched = Watched::start(&[]);
    let (one, two) = (watched.client("one"), watched.client("two"));
    let guard = one.named("k").acquire().unwrap();
    let token = guard.token().get();
    for (body, why) in [
        (json!({}), "names `key`"),
        (json!({ "key": "k", "token": token }), "`confirm`"),
        (json!({ "key": "k", "token": token, "confirm": "K" }), "`confirm`"),
        (json!({ "key": "k", "token": -1, "confirm": "k" }), "names `key`"),
        (json!("k"), "names `key`"),
    ] {
        let (status, said) = watched.release(&body);
        assert_eq!(status, 400, "{body}");
        assert!(said["error"].as_str().unwrap().contains(why), "{body}: {said}");
    }
    let host = ("host", &*watched.address);
    let body = json!({ "key": "k", "token": token, "confirm": "k" });
    let bearer = format!("Bearer {}", watched.token);
    let json = ("content-type", "application/json");
    assert_eq!(watched.raw("POST", "/api/release", &[host, json], &body.to_string()).status, 401);
    let plain = [host, ("authorization", &*bearer), ("content-type", "text/plain")];
    assert_eq!(watched.raw("POST", "/api/release", &plain, &body.to_string()).status, 415);
    let long = format!("{body}{}", " ".repeat(20_000));
    let known = [host, ("authorization", &*bearer), json];
    assert_eq!(watched.raw("POST", "/api/release", &known, &long).status, 400);
    guard.check().unwrap();
    let other = json!({ "key": "k", "token": token + 1, "confirm": "k" });
    assert_eq!(watched.release(&other), (200, json!({ "released": false })));
    guard.check().unwrap();

    assert_eq!(watched.release(&body), (200, json!({ "released": true })));
    let next = two.named("k").wait(PATIENCE).acquire().unwrap();
    until("the holder hears of it", || guard.check().err());
    // In digits, for those who have no whole numbers of that size.
    let digits = json!({ "key": "k", "token": next.token().to_string(), "confirm": "k" });
    assert_eq!(watched.release(&digits), (200, json!({ "released": true })));
}

#[test]
fn n12_nonsense_in_a_query_is_refused_and_none_of_it_ignored() {
    let watched = Watched::start(&[]);
    let bearer = format!("Bearer {}", watched.token);
    let headers = [("host", &*watched.address), ("authorization", &*bearer)];
    for (query, why) in [
        ("sort=size", "`sort` is one of `key`, `age`"),
        ("order=up", "`order` is one of"),
        ("state=free", "`state` is one of"),
        ("page=0", "`page` is a number from 1"),
        ("per_page=1001", "from 1 to 1000"),
        ("serch=x", "no parameter `serch`"),
    ] {
        let answer = watched.raw("GET", &format!("/api/locks?{query}"), &headers, "");
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(why), "{query}: {}", answer.body);
    }
}

/// Keys are put into the page as text nodes alone.
#[test]
fn n12_the_page_makes_no_markup_of_what_it_is_told_and_loads_nothing_from_elsewhere() {
    let watched = Watched::start(&[]);
    for path in ["/page.js", "/graph.js"] {
        let script = watched.get(path).body;
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "createContextualFragment",
            ".cookie",
            "localStorage",
        ] {
            assert!(!script.contains(way), "{path}: {way}");
        }
    }
    for path in ["/", "/page.css", "/page.js", "/graph.js"] {
        let text = watched.get(path).body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("url("),
            "{path}"
        );
    }
    let page = watched.get("/").body;
    assert!(
        !page.contains("onclick") && !page.contains("style=") && page.contains("name=\"viewport\"")
    );
    assert!(watched.get("/page.css").body.contains("prefers-color-scheme: dark"));
}

#[test]
fn n12_who_has_no_tls_stays_on_this_machine_and_a_token_that_others_can_read_is_refused() {
    let place = Place::new();
    let said =
        refusal(&mut command(&place, &["--listen", &socket(&place), "--http", "0.0.0.0:7421"]));
    assert!(
        said.contains("other machines reach `0.0.0.0:7421`") && said.contains("ssh -L"),
        "{said}"
    );
    fs::write(place.path("token"), "a7".repeat(32)).unwrap();
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let listen = socket(&place);
    let arguments = ["--listen", &listen, "--http", "127.0.0.1:0", "--http-token-file", "token"];
    let said = refusal(&mut command(&place, &arguments));
    assert!(said.contains("can be read or written by others"), "{said}");
}

#[test]
fn n12_a_token_is_kept_over_a_restart_and_many_may_look_at_a_time() {
    let watched = Watched::start(&[]);
    let guard = watched.client("one").named("k").acquire().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(watched.api("/api/locks")["matching"], 1));
        }
        // Those who say nothing are in nobody's way.
        let _silent =
            (0..20).map(|_| TcpStream::connect(&watched.address).unwrap()).collect::<Vec<_>>();
        assert_eq!(watched.get("/healthz").body, "ok\n");
    });
    drop(guard);
    let file = watched.place.path("state/http.token");
    assert_eq!(fs::read_to_string(file).unwrap().trim(), watched.token);
    let output = watched.place.output(["ls"]);
    assert!(output.status.success(), "{}", errors(&output));
}

/// They need no token for that.
#[test]
fn f18_who_does_not_read_or_asks_for_nothing_keeps_nobody_out() {
    let watched = Watched::start(&[]);
    let ask = format!("GET /page.js HTTP/1.1\r\nhost: {}\r\n\r\n", watched.address);
    let asks = ask.repeat(50);
    let mut deaf = Vec::new();
    for count in [64, 200] {
        while deaf.len() < count {
            let mut stream = TcpStream::connect(&watched.address).unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            // Until its own requests are not read any more, or it is closed for that.
            while stream.write_all(asks.as_bytes()).is_ok() {}
            deaf.push(stream);
        }
        assert_eq!(watched.get("/healthz").body, "ok\n", "{count} do not read");
        assert_eq!(watched.get("/").status, 200);
        watched.metrics(|_| true);
        watched.api("/api/locks");
    }
    let _silent =
        (0..400).map(|_| TcpStream::connect(&watched.address).unwrap()).collect::<Vec<_>>();
    assert_eq!(watched.get("/healthz").body, "ok\n", "and many say nothing");
}
