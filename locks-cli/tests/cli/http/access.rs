//! Who may ask the page for what, and from where (N9, N12).

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::Watched;
use crate::kit::{Place, errors};
use crate::serving::{command, refusal, socket};

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
