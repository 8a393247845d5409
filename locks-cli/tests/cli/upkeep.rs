//! `locks release`, `locks clean` and `locks ping`.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::kit::{Place, errors, words};

#[test]
fn releasing_what_nobody_holds_is_told() {
    let place = Place::new();
    let output = place.output(["release", "a"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), "locks: nobody holds `a`\n");
    let output = place.output(["release", "--json", "a"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), said), (Some(1), json!({"key": "a", "released": []})));
}

#[test]
fn who_holds_it_by_flock_is_named_and_keeps_it() {
    let place = Place::new();
    assert!(place.output(["run", "a", "--", "true"]).status.success());
    let mut flock = Command::new("flock");
    flock.arg(place.path("locks/a.lock")).args(["sh", "-c", "echo; read end"]);
    let mut flock = flock.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    flock.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let output = place.output(["release", "a"]);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = format!("locks: `a` is held by `flock` (process {})", flock.id());
    assert!(text.starts_with(&expected), "{text}");
    drop(flock.stdin.take());
    flock.wait().unwrap();
}

#[test]
fn a_token_names_one_hold() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let listed = place.listed();
    let token = listed[0]["holders"][0]["token"].as_u64().unwrap();
    let other = (token + 1).to_string();
    let output = place.output(["release", "a", "--token", &other]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert_eq!(place.listed().len(), 1);
    let output = place.output(["release", "a", "--token", &token.to_string()]);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
    assert_eq!(holder.end().status.code(), Some(124));
    let output = place.output(["run", "--no-wait", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn ping_says_what_answers_and_what_it_can_do() {
    let place = Place::new();
    let output = place.output(["ping"]);
    let text = words(&output);
    assert!(text.starts_with("file:") && text.contains("by the kernel"), "{text}");
    let said: Value = serde_json::from_slice(&place.output(["ping", "--json"]).stdout).unwrap();
    assert_eq!(said["can"]["shared"], json!(true), "{said}");
}

#[test]
fn f4_clean_removes_what_nobody_has_used_and_nothing_else() {
    let place = Place::new();
    let _holder = place.hold(&["held"]);
    for key in ["old", "older"] {
        assert!(place.output(["run", key, "--", "true"]).status.success());
    }
    let clean = |line: &[&str]| {
        let output = place.output(["clean", "--json"].iter().chain(line).copied());
        assert_eq!(errors(&output), "");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(clean(&[]), json!({"removed": 0, "kept": 3}), "they were used today");
    assert_eq!(clean(&["--older-than", "0s"]), json!({"removed": 2, "kept": 1}));
    assert_eq!(place.listed()[0]["key"], json!("held"));
    let quiet = place.output(["clean"]);
    assert_eq!((quiet.status.code(), words(&quiet).as_str()), (Some(0), ""));
}

#[test]
fn c14_a_reservation_is_released_like_a_hold() {
    let place = Place::new();
    let output =
        place.output(["run", "--hold-at-least", "1h", "a", "--", "printenv", "LOCKS_TOKEN"]);
    let token = words(&output).trim().to_owned();
    let listed = place.listed();
    assert!(listed[0]["reserved_ms"].as_u64().is_some_and(|left| left > 3_500_000), "{listed:?}");
    assert!(words(&place.output(["ls"])).contains("reserved"));
    assert_eq!(listed[0]["reserved_by"].to_string(), format!("[{token}]"));
    assert!(words(&place.output(["ls"])).contains(&token));
    for asked in [&["release", "a", "--token", &token][..], &["release", "a"]] {
        let output = place.output(asked.iter().copied());
        assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
        let again = place.output(["run", "-n", "--hold-at-least", "1h", "a", "--", "true"]);
        assert_eq!(again.status.code(), Some(0));
    }
}
