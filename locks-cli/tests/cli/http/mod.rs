//! `locks serve --http`: metrics, health, the page and what it asks for (N9, N12).

mod access;
mod metrics;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use locks::Backend;
use locks::net::NetBackend;
use serde_json::{Value, json};

use crate::kit::{PATIENCE, Place, Process, until};
use crate::serving::{command, socket};

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
            Some(metrics::linted(&answer.body)).filter(&is_so)
        })
    }
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
